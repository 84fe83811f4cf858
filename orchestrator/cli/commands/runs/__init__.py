"""`runs`: what is recorded of runs, and what can be done with them. A file for each command."""

from __future__ import annotations

import click

from orchestrator.cli.app import LazyGroup

RUNS = {
    "ls": ("runs.ls", "List the latest runs: id, squad, state, cost, when it began."),
    "show": ("runs.show", "Show a run: its tasks, its cost, what to do next."),
    "watch": ("runs.watch", "Show a run's events until it ends."),
    "resume": ("runs.resume", "Continue one that was killed, interrupted or paused."),
    "conclude": ("runs.conclude", "Let a conversation end after the utterance at work."),
    "cancel": ("runs.cancel", "End a run for good."),
    "fork": ("runs.fork", "Begin a new run that takes over results of another."),
    "replay": ("runs.replay", "Run it again from its record, and compare."),
    "export": ("runs.export", "Write a run and all that it used to a file."),
    "rm": ("runs.rm", "Remove the record of runs."),
}


@click.command("runs", cls=LazyGroup, parts=RUNS)
def runs_command() -> None:
    """Show, resume, fork, replay or remove recorded runs."""
