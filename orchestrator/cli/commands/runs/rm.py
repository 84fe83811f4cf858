"""`runs rm`: take runs out of the record for good, by name or by age and state."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import click

from agents.confined import read_inside
from agents.errors import AgentError
from orchestrator.cli.app import Command, argument
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.journals import RecordedRuns, reads_runs, run_named
from orchestrator.cli.ui.arguments import DurationOption
from orchestrator.cli.ui.console import Console, count
from orchestrator.cli.ui.figures import usd
from orchestrator.cli.ui.run_list import cost_of, states_option, table_of
from orchestrator.journal.protocols import Journal, RunLine
from orchestrator.manifest import names_our_folder
from orchestrator.run.history import history_of
from orchestrator.run.standing import OVER, STATES, state_in
from providers.documents.unicode import printable

MOST_SHOWN = 20
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs are to go where none is named. `keep`: the latest so many stay, whatever else holds of them."""

    older_than: float | None
    states: tuple[str, ...]
    keep: int | None

    def __bool__(self) -> bool:
        return self.older_than is not None or bool(self.states) or self.keep is not None


@click.command("rm", cls=Command)
@argument("runs", nargs=-1, help="Ids of runs.")
@click.option("--older-than", type=DurationOption(), metavar="AGE", help="Runs that began longer ago: 12h, 30d.")
@states_option(f"Runs in one of these states ({','.join(OVER)}): {', '.join(STATES)}.")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the latest N runs, whatever their state.")
@click.option("--artifacts", is_flag=True, help="Also delete the files that they wrote, unless changed since.")
@click.option("--dry-run", is_flag=True, help="Only show which runs would go.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@reads_runs
async def rm_command(
    records: RecordedRuns,
    runs: tuple[str, ...],
    older_than: float | None,
    states: tuple[str, ...],
    keep: int | None,
    artifacts: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Remove the record of runs, named or chosen by age and state. A run that is at work is never removed.

    A removed run cannot be shown, resumed or forked any more, and `spending` no longer counts what it cost; its
    forks stay complete.
    """
    filters = Filters(older_than, states, keep)
    if bool(runs) == bool(filters):
        raise click.UsageError("which runs? name them, or choose them by --older-than, --status and --keep")
    chosen = await _named(records, runs) if runs else await _filtered(records, filters)
    for line, _ in [one for one in chosen if one[1] == "running"]:
        records.console.warn(f"{line.run} is at work: it is left alone")
    going = [(line, state) for line, state in chosen if state != "running"]
    if dry_run or not going:
        click.echo(table_of(going))
        if going:
            records.console.say(f"`spending` would no longer count {_cost(going)}")
        return Exit.DONE
    if not yes:
        _confirm(records.console, going)
    records.console.say(f"`spending` no longer counts {_cost(going)}")
    await _remove_all(records, [line.run for line, _ in going], artifacts=artifacts)
    return Exit.DONE


async def _named(records: RecordedRuns, names: Sequence[str]) -> list[tuple[RunLine, str]]:
    """Return these runs. Raise `NothingSelected`, before any is removed."""
    journal = records.journal
    meant = [await run_named(journal, name) for name in names]
    lines = {line.run: line for line in await journal.runs(None)}
    found = (lines[name] for name in dict.fromkeys(meant))
    return [(line, await state_in(journal, line.run, line.status)) for line in found]


async def _filtered(records: RecordedRuns, filters: Filters) -> list[tuple[RunLine, str]]:
    """Return the runs that all of the filters hold of, oldest first."""
    journal, states = records.journal, filters.states or OVER
    began_before = float("inf") if filters.older_than is None else time.time() - filters.older_than
    old = [line for line in (await journal.runs(None))[filters.keep or 0 :] if line.created_at < began_before]
    wanted = [(line, await state_in(journal, line.run, line.status)) for line in reversed(old)]
    return [(line, state) for line, state in wanted if state in states]


def _confirm(console: Console, going: Sequence[tuple[RunLine, str]]) -> None:
    """Show what goes, and raise `Unusable` where there is no terminal to ask at, `Abort` where the answer is no."""
    console.write(table_of(going[:MOST_SHOWN]))
    if len(going) > MOST_SHOWN:
        console.write(f"and {len(going) - MOST_SHOWN} more")
    if not sys.stdin.isatty():
        raise Unusable(f"{count(len(going), 'run')} would be removed, and there is no terminal to ask at", "give --yes")
    what = f"{count(len(going), 'run')} and {_cost(going)} out of `spending`"
    click.confirm(f"Remove {what} for good?", abort=True, err=True)


def _cost(going: Sequence[tuple[RunLine, str]]) -> str:
    """Return what these runs cost, in words."""
    known = [cost for line, _ in going if (cost := cost_of(line)) is not None]
    unknown = len(going) - len(known)
    parts = [usd(sum(known))] if known else []
    return " and ".join([*parts, *([f"the unknown cost of {count(unknown, 'run')}"] if unknown else [])])


async def _remove_all(records: RecordedRuns, names: Sequence[str], *, artifacts: bool) -> None:
    before = await records.journal.room()
    for start in range(0, len(names), AT_ONCE):
        await _remove(records.journal, names[start : start + AT_ONCE], artifacts=artifacts)
    freed, say = await records.journal.reclaim(), records.console.say
    room = f"{bytes_in_words(before)}, now {bytes_in_words(await records.journal.room())}"
    say(f"{count(len(names), 'run')} removed; {records.place}: {room}")
    if not freed:
        say("a run is at work: room on the disk is given back by the next `runs rm` that finds none at work")


async def _remove(journal: Journal, runs: Sequence[str], *, artifacts: bool) -> None:
    """Remove these runs, and write their names to stdout. They share their commits to disk."""

    async def remove(run: str) -> None:
        if artifacts:
            manifest = await journal.manifest(run)
            out, written = manifest.options.get("out"), await _written(journal, run)
            if out is not None and names_our_folder(journal, run, manifest):
                await anyio.to_thread.run_sync(delete_artifacts, Path(out), written)
        await journal.remove(run)

    async with anyio.create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(remove, run)
    for run in runs:
        click.echo(printable(run))


async def _written(journal: Journal, run: str) -> dict[str, str]:
    artifacts = history_of(await journal.events(run)).artifacts.values()
    return {written.path: written.sha256 for _, written in artifacts}


def delete_artifacts(out: Path, artifacts: dict[str, str]) -> None:
    """Delete the files (path in `out` -> SHA-256) that are as they were written, and the folders that are empty then.

    Any other file in the folder stays.
    """
    folders = {out}
    for path, sha256 in artifacts.items():
        with suppress(OSError, ValueError, AgentError):
            if hashlib.sha256(read_inside(out, path)).hexdigest() == sha256:
                (out / path).unlink()
                folders.update(folder for folder in (out / path).parents if out in folder.parents)
    for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
        with suppress(OSError):  # it is not empty, or not there
            folder.rmdir()


def bytes_in_words(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
