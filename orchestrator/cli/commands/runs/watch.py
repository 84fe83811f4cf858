"""`runs watch`: follow a run from another terminal."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import click

from agents.events import TurnEnded
from orchestrator.cli.app import Command
from orchestrator.cli.exits import Unusable
from orchestrator.cli.files import environment
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.outcome import with_reasons
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.run_list import when
from orchestrator.cli.ui.spoken import SpokenLines
from orchestrator.events import to_json
from orchestrator.run.delta_stream import RecordedAnswer, answers_after
from orchestrator.run.deltas import Position, RunDelta, delta_json
from providers.documents.unicode import printable


@click.command("watch", cls=Command)
@click.argument("run")
@click.option("--stream", is_flag=True, help="Show what agents say, too: each answer once it is recorded.")
@click.option("--after", metavar="POSITION", help="With --stream: only the answers after this `position` of a delta.")
@click.option("--json", "as_json", is_flag=True, help="Write all its events as JSON Lines.")
@reads_runs
async def watch_command(records: RecordedRuns, run: str, stream: bool, after: str | None, as_json: bool) -> None:
    """Show a run's events, the recorded ones first, then each new one until the run ends."""
    journal, progress, environ = records.journal, Progress(), environment(records.settings)
    await journal.manifest(run)
    seen, skipped, spoken = 0, _ended(after, stream=stream), SpokenLines()
    answers: dict[int, RecordedAnswer] = {}

    def show(delta: RunDelta) -> None:
        if as_json:
            print_json(mask_document(delta_json(delta), environ))
        for line in [] if as_json else spoken.add(delta):
            click.echo(mask_secrets(line, environ))

    async with aclosing(journal.watch(run)) as events:
        async for seq, event in events:
            document: Any = to_json(event)
            line = progress.apply(document)
            if stream and isinstance(event.data, TurnEnded):
                seen += 1
                if seen > skipped and seen not in answers:
                    answers = {answer.number: answer for answer in await answers_after(journal, run, seen - 1)}
                for delta in answers.pop(seen).deltas() if seen in answers else ():
                    show(delta)
            if as_json:
                print_json(mask_document(with_reasons(document, progress), environ))
            elif line is not None:
                click.echo(printable(mask_secrets(f"{when(event.at)}  {line.row}: {line.text}", environ)))
            if event.type == "run.finished" and not await journal.events(run, seq):
                return


def _ended(after: str | None, *, stream: bool) -> int:
    """Return how many answers were seen already."""
    if after is None:
        return 0
    if not stream:
        raise click.UsageError("--after is for answers: give it with --stream")
    try:
        return int(after) if after.isdecimal() else Position.of(after).ended
    except ValueError as error:
        raise Unusable(f"--after: {error}") from error
