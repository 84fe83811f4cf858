"""`runs conclude`: let a conversation of a run come to its end."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command
from orchestrator.cli.journals import RecordedRuns, reads_runs, run_named
from orchestrator.run.ended_outside import end_conversation


@click.command("conclude", cls=Command)
@click.argument("run")
@click.argument("conversation")
@reads_runs
async def conclude_command(records: RecordedRuns, run: str, conversation: str) -> None:
    """Let CONVERSATION of RUN end after the utterance at work. Its terminate must have external: true."""
    run = await run_named(records.journal, run)
    await end_conversation(records.journal, run, conversation)
    goes_on = "" if await records.journal.is_driven(run) else ", once the run goes on"
    records.console.say(f"{run}: {conversation} ends after the utterance at work{goes_on}")
