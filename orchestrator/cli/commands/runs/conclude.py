"""`runs conclude`: let a conversation of a run come to its end."""

from __future__ import annotations

import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.journals import RecordedRuns, reads_runs, run_named
from orchestrator.errors import NotEndedOutside, OrchestratorError
from orchestrator.journal.protocols import RunManifest
from orchestrator.run.ended_outside import end_conversation
from orchestrator.squad.load import Squad
from orchestrator.squad.termination import listens
from providers.documents.problems import ProblemsFound


@click.command("conclude", cls=Command)
@argument("run", help="The run's id; `runs ls` lists them.")
@argument("conversation", help="The conversation's name.")
@reads_runs
async def conclude_command(records: RecordedRuns, run: str, conversation: str) -> None:
    """End CONVERSATION of RUN after the current utterance. Its terminate must have external: true."""
    run = await run_named(records.journal, run)
    _check(await records.journal.manifest(run), conversation)
    await end_conversation(records.journal, run, conversation)
    goes_on = "" if await records.journal.is_driven(run) else ", once the run goes on"
    records.console.say(f"{run}: {conversation} ends after the utterance at work{goes_on}")


def _check(manifest: RunManifest, conversation: str) -> None:
    """Raise `NotEndedOutside` where the conversation, as it is recorded, does not listen to such a word."""
    try:
        talks = Squad.from_text(manifest.text, manifest.file, where_gone=manifest.sources).outline().conversations
    except (OrchestratorError, ProblemsFound, OSError):
        return  # only the program that began it can read it, and it knows its squad
    if conversation in talks and not listens(talks[conversation].terminate):
        raise NotEndedOutside(conversation)
