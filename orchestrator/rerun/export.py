"""One run as a file of its own: a journal that holds nothing else, to be shown, explained and replayed elsewhere."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import anyio

from orchestrator.errors import CannotWrite
from orchestrator.journal.protocols import Journal
from orchestrator.journal.sqlite.journal import SqliteJournal


async def export_run(journal: Journal, run: str, file: Path, *, overwrite: bool = False) -> int:
    """Write the run to `file`, whole or not at all, and return its size in bytes.

    Raise `RunNotFound`, and `CannotWrite` where there is such a file and it is not to be overwritten.
    """
    await journal.manifest(run)  # known before a file is made
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{file.name}-", dir=file.parent))
    except OSError as error:
        raise CannotWrite(str(file), error.strerror or str(error)) from error
    try:
        copy = folder / file.name
        async with SqliteJournal(copy) as target:
            await copy_run(journal, target, run)
        return await anyio.to_thread.run_sync(_put, copy, file, overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def copy_run(source: Journal, target: Journal, run: str) -> None:
    """Copy all that is recorded of a run, calls that were in flight among it."""
    manifests, events = await source.manifests(run), await source.events(run)
    steps = await source.steps(run)  # after the events: where the run goes on meanwhile, none of theirs is missing
    await target.create(run, manifests[0], events, [step for step in steps if step.done])
    for manifest in manifests[1:]:
        await target.edit(run, manifest, ())
    for step in steps:
        if step.in_flight:
            fence = await target.claim(run, step.unit, "export")
            if fence is not None:
                await target.begin(run, step.unit, step.key, step.request_hash, fence)
    for number, (name, value) in enumerate(await source.signals(run)):
        await target.signal(run, name, value, f"{name}/{number}")
    if await source.cancel_requested(run):
        await target.request_cancel(run)


def _put(copy: Path, file: Path, overwrite: bool) -> int:
    with copy.open("rb") as written:
        os.fsync(written.fileno())
    try:
        if overwrite:
            copy.replace(file)
        else:
            os.link(copy, file)  # unlike a rename, a link never replaces a file that is there
    except FileExistsError as error:
        raise CannotWrite(str(file), "there is such a file already; --force overwrites it") from error
    except OSError as error:
        raise CannotWrite(str(file), error.strerror or str(error)) from error
    return file.stat().st_size
