"""`runs watch`: follow a run from another terminal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import anyio
import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.desk import Desk
from orchestrator.cli.desks import at_desk
from orchestrator.cli.exits import Unusable
from orchestrator.cli.files import environment
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.outcome import with_reasons
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.run_list import when
from orchestrator.cli.ui.spoken import SpokenLines
from orchestrator.run.deltas import Position, RunDelta, delta_json
from providers.documents.unicode import printable

BEHIND_S = 10.0
"""How long an answer whose turn has ended is waited for."""


@click.command("watch", cls=Command)
@argument("run", help="The run's id; `runs ls` lists them.")
@click.option("--stream", is_flag=True, help="Show what agents say, too: each answer once it is recorded.")
@click.option("--after", metavar="POSITION", help="With --stream: only the answers after this `position` of a delta.")
@click.option("--json", "as_json", is_flag=True, help="Write all its events as JSON Lines.")
@at_desk
async def watch_command(desk: Desk, run: str, stream: bool, after: str | None, as_json: bool) -> None:
    """Show a run's events, the recorded ones first, then each new one until the run ends."""
    progress, environ = Progress(), environment(desk.settings)
    seen, skipped, spoken = 0, _ended(after, stream=stream), SpokenLines()

    def show(delta: RunDelta) -> None:
        if as_json:
            print_json(mask_document(delta_json(delta), environ))
        for line in [] if as_json else spoken.add(delta):
            click.echo(mask_secrets(line, environ))

    async with aclosing(desk.follow(run)) as events, aclosing(desk.answers(run, skipped)) as answers:
        async for number, document in events:
            line = progress.apply(document)
            if stream and document["type"] == "turn.ended":
                seen += 1
                while seen > skipped:
                    skipped, deltas = await next_answer(answers, seen)
                    for delta in deltas:
                        show(delta)
            if as_json:
                print_json(mask_document(with_reasons(document, progress), environ))
            elif line is not None:
                click.echo(printable(mask_secrets(f"{when(document['at'])}  {line.row}: {line.text}", environ)))
            if document["type"] == "run.finished" and await desk.is_last(run, number):
                return


async def next_answer(
    answers: AsyncGenerator[tuple[int, Sequence[RunDelta]], None], number: int
) -> tuple[int, Sequence[RunDelta]]:
    """Return the next answer, or none as of this number where the record does not have it any more."""
    with anyio.move_on_after(BEHIND_S):
        return await anext(answers, (number, ()))
    return number, ()


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
