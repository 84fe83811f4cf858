"""`runs rm`: take runs out of the record for good, by name or by age and state."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.arguments import Duration
from orchestrator.cli.commands.approvals import db_option
from orchestrator.cli.commands.list_runs import STATES, state_of, states_option, table_of
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.journals import journal_file, open_record
from orchestrator.cli.ui.console import Console, count
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.journal.protocols import RunLine
    from orchestrator.journal.sqlite.journal import SqliteJournal

OVER = ("done", "failed", "rejected", "stopped")
"""The states that are meant where none is named: of these runs nothing is left to be done."""
MOST_SHOWN = 20
AT_ONCE = 100


class Order(NamedTuple):
    """Which runs are to go, and what with them. `keep`: the latest so many stay, whatever else holds of them."""

    names: tuple[str, ...]
    older_than: float | None
    states: tuple[str, ...]
    keep: int | None
    artifacts: bool
    dry_run: bool
    yes: bool


@click.command("rm", cls=Command)
@click.argument("runs", nargs=-1)
@click.option("--older-than", type=Duration(), metavar="AGE", help="Runs that began longer ago: 12h, 30d.")
@states_option(f"Runs in one of these states ({','.join(OVER)}): {', '.join(STATES)}.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the latest N runs, whatever their state.")
@click.option("--artifacts", is_flag=True, help="Delete the files that they wrote, too, where nobody changed them.")
@click.option("--dry-run", is_flag=True, help="Say which, no more.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@db_option
@click.pass_context
def rm_command(
    context: click.Context,
    /,
    runs: tuple[str, ...],
    older_than: float | None,
    states: tuple[str, ...],
    keep: int | None,
    artifacts: bool,
    dry_run: bool,
    yes: bool,
    db: str | None,
) -> int:
    """Remove the record of runs, named or chosen by age and state. A run that is at work is left alone.

    A removed run cannot be shown, resumed or forked any more; forks that were made of it stay whole.
    """
    filtered = older_than is not None or bool(states) or keep is not None
    if bool(runs) == filtered:
        raise click.UsageError("which runs? name them, or choose them by --older-than, --status and --keep")
    return anyio.run(_rm, settings_of(context), db, Order(runs, older_than, states, keep, artifacts, dry_run, yes))


async def _rm(settings: Settings, db: str | None, order: Order) -> Exit:
    talk, file = Console(settings), journal_file(settings, db)
    async with open_record(settings, db) as journal:
        chosen = await _named(journal, order.names) if order.names else await _filtered(journal, order)
        for line, _ in [one for one in chosen if one[1] == "running"]:
            talk.warn(f"{line.run} is at work: it is left alone")
        going = [(line, state) for line, state in chosen if state != "running"]
        if order.dry_run or not going:
            click.echo(table_of(going))
            return Exit.DONE
        if not order.yes:
            _confirm(talk, going)
        before = room_of(file)
        names = [line.run for line, _ in going]
        for start in range(0, len(names), AT_ONCE):
            await _remove(journal, names[start : start + AT_ONCE], artifacts=order.artifacts)
        freed = await journal.reclaim()
    talk.say(
        f"{count(len(going), 'run')} removed; {file}: {bytes_in_words(before)}, now {bytes_in_words(room_of(file))}"
    )
    if not freed:
        talk.say("a run is at work: room on the disk is given back by the next `runs rm` while none is")
    return Exit.DONE


async def _named(journal: SqliteJournal, names: Sequence[str]) -> list[tuple[RunLine, str]]:
    """Return these runs. Raise `RunNotFound`, before any is removed."""
    for name in names:
        await journal.about(name)
    lines = {line.run: line for line in await journal.runs(None)}
    return [(lines[name], state_of(journal, name, lines[name].status)) for name in dict.fromkeys(names)]


async def _filtered(journal: SqliteJournal, order: Order) -> list[tuple[RunLine, str]]:
    """Return the runs that all of the filters hold of, oldest first."""
    states = order.states or OVER
    began_before = float("inf") if order.older_than is None else time.time() - order.older_than
    old = [line for line in (await journal.runs(None))[order.keep or 0 :] if line.created_at < began_before]
    wanted = ((line, state_of(journal, line.run, line.status)) for line in reversed(old))
    return [(line, state) for line, state in wanted if state in states]


def _confirm(talk: Console, going: Sequence[tuple[RunLine, str]]) -> None:
    """Show what goes, and raise `Unusable` where nobody can be asked, `Abort` where the answer is no."""
    talk.write(table_of(going[:MOST_SHOWN]))
    if len(going) > MOST_SHOWN:
        talk.write(f"and {len(going) - MOST_SHOWN} more")
    if not sys.stdin.isatty():
        raise Unusable(f"{count(len(going), 'run')} would be removed, and nobody is here to be asked", "give --yes")
    click.confirm(f"Remove {count(len(going), 'run')} for good?", abort=True, err=True)


async def _remove(journal: SqliteJournal, runs: Sequence[str], *, artifacts: bool) -> None:
    """Remove these runs, and write their names to stdout. They share their commits to disk."""

    async def remove(run: str) -> None:
        if artifacts:
            out, written = (await journal.about(run)).options.get("out"), await _written(journal, run)
            if out is not None:
                await anyio.to_thread.run_sync(delete_artifacts, Path(out), written)
        await journal.remove(run)

    async with anyio.create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(remove, run)
    for run in runs:
        click.echo(printable(run))


async def _written(journal: SqliteJournal, run: str) -> dict[str, str]:
    from orchestrator.run.history import history_of

    artifacts = history_of(await journal.events(run)).artifacts.values()
    return {written.path: written.sha256 for _, written in artifacts}


def delete_artifacts(out: Path, artifacts: dict[str, str]) -> None:
    """Delete the files (path in `out` -> SHA-256) that are as they were written, and the folders that are empty then.

    What else stands there was made by somebody else, or changed: it stays.
    """
    from agents.toolbox.files import read_inside

    folders = {out}
    for path, sha256 in artifacts.items():
        with suppress(OSError, ValueError):
            if hashlib.sha256(read_inside(out, path)).hexdigest() == sha256:
                (out / path).unlink()
                folders.update(folder for folder in (out / path).parents if out in folder.parents)
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        with suppress(OSError):  # it is not empty, or not there
            folder.rmdir()


def room_of(file: Path) -> int:
    """Return the bytes that a journal takes on the disk."""
    return sum(part.stat().st_size for part in (file, file.with_name(f"{file.name}-wal")) if part.exists())


def bytes_in_words(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
