"""`runs ls`: the latest runs, and in which state each is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.commands.approvals import db_option
from orchestrator.cli.exits import Unusable
from orchestrator.cli.journals import open_record
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.progress import usd
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.journal.protocols import RunLine
    from orchestrator.journal.sqlite.journal import SqliteJournal

UNFINISHED = "unfinished"
"""A run that no process drives and that never ended: it was killed, or the machine went down."""
STATES = ("running", UNFINISHED, "waiting", "paused", "cancelled", "done", "failed", "rejected", "stopped")


def states_option(help_text: str) -> Callable[[Any], Any]:
    """Return the option that takes states, commas between them."""
    return click.option("--status", "states", metavar="STATE,...", default="", callback=_states, help=help_text)


def _states(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    states = tuple(filter(None, (part.strip() for part in value.split(","))))
    if unknown := [state for state in states if state not in STATES]:
        raise Unusable(f"--status {','.join(unknown)}: there is no such state", f"known: {', '.join(STATES)}")
    return states


@click.command("ls", cls=Command)
@click.option("--limit", type=click.IntRange(min=1), default=20, help="The latest so many (20).")
@states_option(f"Those in one of these states: {', '.join(STATES)}.")
@click.option("--squad", metavar="NAME", help="Those of this squad.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@db_option
@click.pass_context
def ls_command(
    context: click.Context, /, limit: int, states: tuple[str, ...], squad: str | None, as_json: bool, db: str | None
) -> None:
    """List the latest runs: id, squad, state, cost, when it began."""
    found = anyio.run(_list, settings_of(context), db, limit, states, squad)
    if as_json:
        print_json([{**line._asdict(), "status": state, "cost": _usd(line)} for line, state in found])
    else:
        click.echo(table_of(found))


async def _list(
    settings: Settings, db: str | None, limit: int, states: tuple[str, ...], squad: str | None
) -> list[tuple[RunLine, str]]:
    recorded = {"running" if state == UNFINISHED else state for state in states}
    # Which of those that have not ended are at work, only their locks tell: of none is it asked that is not shown.
    mixed = ("running" in states) != (UNFINISHED in states)
    async with open_record(settings, db) as journal:
        lines = await journal.runs(None if mixed else limit, statuses=recorded, squad=squad)
        found = ((line, state_of(journal, line.run, line.status)) for line in lines)
        return list(islice((one for one in found if not states or one[1] in states), limit))


def state_of(journal: SqliteJournal, run: str, status: str) -> str:
    """Return the run's state: what is recorded, but for a run that nobody drives any more."""
    return UNFINISHED if status == "running" and not journal.is_driven(run) else status


def table_of(found: Sequence[tuple[RunLine, str]]) -> str:
    rows = [(line.run, line.squad, state, usd(_usd(line)), when(line.created_at)) for line, state in found]
    return columns([("RUN", "SQUAD", "STATE", "COST", "BEGAN"), *(tuple(map(printable, row)) for row in rows)])


def _usd(line: RunLine) -> float | None:
    return None if line.cost is None else line.cost / 1e6


def when(at: float) -> str:
    """Return a moment (epoch seconds UTC) as people here read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
