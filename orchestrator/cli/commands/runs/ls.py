"""`runs ls`: the latest runs, and in which state each is."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command
from orchestrator.cli.desk import RunList
from orchestrator.cli.desks import at_list
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.run_list import cost_of, states_option, table_of
from orchestrator.run.standing import STATES


@click.command("ls", cls=Command)
@click.option("--limit", type=click.IntRange(min=1), default=20, help="How many runs, the latest first (20).")
@states_option(f"Only runs in one of these states: {', '.join(STATES)}.")
@click.option("--squad", metavar="NAME", help="Only runs of this squad.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@at_list
async def ls_command(runs: RunList, limit: int, states: tuple[str, ...], squad: str | None, as_json: bool) -> None:
    """List the latest runs: id, squad, state, cost, when it began."""
    found = await runs.latest(limit, states, squad)
    if as_json:
        print_json([{**line._asdict(), "status": state, "cost": cost_of(line)} for line, state in found])
    else:
        click.echo(table_of(found))
