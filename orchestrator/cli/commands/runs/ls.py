"""`runs ls`: the latest runs, and in which state each is."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.run_list import cost_of, states_option, table_of
from orchestrator.journal.protocols import RunLine
from orchestrator.run.standing import OVER, RECORDED_AS, STATES, state_in


@click.command("ls", cls=Command)
@click.option("--limit", type=click.IntRange(min=1), default=20, help="How many runs, the latest first (20).")
@states_option(f"Only runs in one of these states: {', '.join(STATES)}.")
@click.option("--squad", metavar="NAME", help="Only runs of this squad.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@reads_runs
async def ls_command(
    records: RecordedRuns, limit: int, states: tuple[str, ...], squad: str | None, as_json: bool
) -> None:
    """List the latest runs: id, squad, state, cost, when it began."""
    found = await _latest(records, limit, states, squad)
    if as_json:
        print_json([{**line._asdict(), "status": state, "cost": cost_of(line)} for line, state in found])
    else:
        click.echo(table_of(found))


async def _latest(
    records: RecordedRuns, limit: int, states: tuple[str, ...], squad: str | None
) -> list[tuple[RunLine, str]]:
    recorded = {status for state in states for status in RECORDED_AS.get(state, (state,))}
    # Only a lock tells a run at work from one that was killed: locks are asked of as few runs as possible.
    is_exact = recorded <= {*OVER}
    journal = records.journal
    lines = await journal.runs(limit if is_exact else None, statuses=recorded, squad=squad)
    found: list[tuple[RunLine, str]] = []
    for line in lines:
        state = await state_in(journal, line.run, line.status)
        if not states or state in states:
            found.append((line, state))
        if len(found) == limit:
            break
    return found
