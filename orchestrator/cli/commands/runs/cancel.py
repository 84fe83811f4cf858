"""`runs cancel`: end a run for good."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command
from orchestrator.cli.exits import NothingSelected
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.run.history import history_of


@click.command("cancel", cls=Command)
@click.argument("run")
@reads_runs
async def cancel_command(records: RecordedRuns, run: str) -> None:
    """End a run for good: calls in flight may end, no new ones start, and the run cannot be resumed."""
    journal = records.journal
    await journal.manifest(run)
    past = history_of(await journal.events(run))
    if past.is_over:
        raise NothingSelected(f"the run {run} is over: {past.status}")
    await journal.request_cancel(run)
    records.console.say(f"{run}: {'asked to stop' if await journal.is_driven(run) else 'cancelled'}")
