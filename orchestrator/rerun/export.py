"""One run as a file of its own: a journal that holds nothing else, to be shown, explained and replayed elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import anyio

from orchestrator.errors import CannotWrite
from orchestrator.journal.protocols import Journal, RunManifest
from orchestrator.journal.sqlite.home import ELSEWHERE
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.lock import is_locked, locked

END, LOCK = ".export", "lock"


async def export_run(journal: Journal, run: str, file: Path, *, overwrite: bool = False) -> int:
    """Write the run to `file`, whole or not at all, and return its size in bytes.

    Raise `RunNotFound`, and `CannotWrite` where there is such a file and it is not to be overwritten.
    """
    await journal.manifest(run)  # known before a file is made
    try:
        _sweep(file)
        folder = Path(tempfile.mkdtemp(prefix=f".{file.name}-", suffix=END, dir=file.parent))
    except OSError as error:
        raise CannotWrite(str(file), error.strerror or str(error)) from error
    try:
        with locked(folder / LOCK, "the export"):
            copy = folder / file.name
            async with SqliteJournal(copy) as target:
                await copy_run(journal, target, run)
            return await anyio.to_thread.run_sync(_put, copy, file, overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(file: Path) -> None:
    """Remove what exports of this file left that were killed: folders of their name, which hold nothing but their files
    and a lock that no process holds."""
    is_ours = re.compile(rf"\.{re.escape(file.name)}-\w{{8}}{re.escape(END)}")
    known = {LOCK, *(f"{file.name}{end}" for end in ("", "-wal", "-shm", "-journal", "-locks"))}
    for folder in file.parent.iterdir():
        if is_ours.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            held = {path.name for path in folder.iterdir()}
            if LOCK in held <= known and not is_locked(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)


async def copy_run(source: Journal, target: Journal, run: str) -> None:
    """Copy all that is recorded of a run, calls that were in flight among it."""
    manifests, events = await source.manifests(run), await source.events(run)
    steps = await source.steps(run)  # after the events: where the run goes on meanwhile, none of theirs is missing
    await target.create(run, _from(manifests[0]), events, [step for step in steps if step.done])
    for manifest in manifests[1:]:
        await target.edit(run, _from(manifest), ())
    for step in steps:
        if step.in_flight:
            fence = await target.claim(run, step.unit, "export")
            if fence is not None:
                await target.begin(run, step.unit, step.key, step.request_hash, fence)
    for number, (name, value) in enumerate(await source.signals(run)):
        await target.signal(run, name, value, f"{name}/{number}")
    if await source.cancel_requested(run):
        await target.request_cancel(run)


def _from(manifest: RunManifest) -> RunManifest:
    """Return the manifest with marks: a copy must not pass for what was recorded where it is."""
    return replace(manifest, home=manifest.home or ELSEWHERE)


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
