"""`runs cancel`: end a run for good."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.desk import Desk
from orchestrator.cli.desks import at_desk


@click.command("cancel", cls=Command)
@argument("run", help="The run's id; `runs ls` lists them.")
@at_desk
async def cancel_command(desk: Desk, run: str) -> None:
    """End a run for good: calls in flight may end, no new ones start, and the run cannot be resumed."""
    is_at_work = await desk.cancel(run)
    desk.console.say(f"{run}: {'asked to stop' if is_at_work else 'cancelled'}")
