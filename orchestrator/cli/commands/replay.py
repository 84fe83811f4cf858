"""`runs replay`: a run once more, out of its record alone, and where it departs from it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.arguments import load_squad
from orchestrator.cli.commands.approvals import db_option
from orchestrator.cli.exits import Exit, NothingSelected, Unusable
from orchestrator.cli.journals import open_record
from orchestrator.cli.ui.console import count, print_json
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.events import Event
    from orchestrator.journal.protocols import Journal, StepChanged
    from orchestrator.rerun.replay import Replay
    from orchestrator.squad.load import Squad

NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
"""What Python tells its audit hooks before anything reaches a network."""


@click.command("replay", cls=Command)
@click.argument("run", required=False)
@click.option("--from-file", metavar="FILE", help="A run that `runs export` wrote, instead of the journal here.")
@click.option("--against", metavar="FILE", help="The squad file to run, instead of the one that was recorded.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@db_option
@click.pass_context
def replay_command(
    context: click.Context, run: str | None, from_file: str | None, against: str | None, as_json: bool, db: str | None
) -> int:
    """Run RUN again from its record, with no network, and compare: each event, each request, each artifact.

    RUN may be left out with --from-file, or be such a file itself.
    """
    settings = settings_of(context)
    if from_file is None and run is not None and Path(run).is_file():
        run, from_file = None, run
    if run is None and from_file is None:
        raise click.UsageError("which run? `orchestrator runs ls` lists them")
    if from_file is not None and not Path(from_file).is_file():
        raise Unusable(f"there is no file {from_file}", "`orchestrator runs export RUN FILE` writes one")
    with no_network():
        ended = anyio.run(_replay, settings, run, from_file, against, db)
    if as_json:
        print_json(document(ended))
    else:
        click.echo(printable("\n".join(described(ended))))
    return Exit.DONE if ended.is_equal else Exit.FAILED


@contextmanager
def no_network() -> Iterator[None]:
    """Let nothing in this process reach a network while the block lasts."""
    blocked = True

    def refuse(event: str, _: Any) -> None:
        if blocked and event in NETWORK:
            raise PermissionError("a replay reaches no network")

    sys.addaudithook(refuse)  # for good: Python knows no way to take one back
    try:
        yield
    finally:
        blocked = False


async def _replay(
    settings: Settings, run: str | None, from_file: str | None, against: str | None, db: str | None
) -> Replay:
    from orchestrator.rerun.replay import replay

    squad = None if against is None else load_squad(against, settings)
    async with opened(settings, from_file, db) as journal:
        return await replay(journal, run or await only_run(journal), against=squad)


@asynccontextmanager
async def opened(settings: Settings, from_file: str | None, db: str | None) -> AsyncIterator[Journal]:
    """Open the journal here, or a copy of an exported one: what was sent to somebody is not written to."""
    if from_file is None:
        async with open_record(settings, db) as journal:
            yield journal
        return
    from orchestrator.journal.protocols import JournalUnusable

    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copyfile(from_file, Path(folder) / "export.db")
        try:
            async with open_record(settings, f"sqlite:///{copy}") as journal:
                yield journal
        except JournalUnusable as error:  # it names the copy, which nobody knows of
            raise JournalUnusable(f"{from_file} is no run that was exported, or it is damaged") from error


async def only_run(journal: Journal) -> str:
    runs = [line.run for line in await journal.runs(limit=2)]
    if len(runs) != 1:
        raise NothingSelected("the file does not hold one run", "name the run before --from-file")
    return runs[0]


async def in_full(error: StepChanged, journal: Journal, run: str, squad: Squad) -> StepChanged:
    """Return the failure with which step differs, and how, field by field."""
    from orchestrator.rerun.replay import replay

    ended = await replay(journal, run, against=squad)
    return type(error)("\n".join([str(error), *([] if ended.is_equal else described(ended)[1:])]))


def described(ended: Replay) -> list[str]:
    """Return how a replay ended, in lines. Pure."""
    figures = f"{count(ended.events, 'event')}, {count(len(ended.artifacts), 'artifact')}"
    difference = ended.difference
    if difference is None:
        return [f"{ended.run}: equal: {figures}{'' if ended.has_end else '; the record ends before the run did'}"]
    lines = [f"{ended.run}: differs after {count(difference.number, 'event')}"]
    if difference.step is not None:
        agent = "" if difference.request is None else f" (agent {difference.request.needs.agent})"
        lines.append(f"another request: {difference.step[1]}{agent}")
        lines += [line for change in ended.changes for line in change.lines()]
        if not ended.changes:
            lines.append("no field of it can be compared: this release asks otherwise, or the record is damaged")
        return lines
    return [*lines, *(f"  {line}" for line in _event_lines(difference.recorded, difference.replayed))]


def _event_lines(recorded: Event | None, replayed: Event | None) -> Iterator[str]:
    from orchestrator.events import to_json

    old, new = ({} if event is None else to_json(event) for event in (recorded, replayed))
    if not old or not new:
        yield f"recorded: {_short(old)}"
        yield f"replayed: {_short(new)}"
        return
    yield f"recorded {old['type']} {old['id']}, replayed {new['type']} {new['id']}"
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name)!r} -> {new.get(name)!r}"


def _short(event: Mapping[str, Any]) -> str:
    return f"{event['type']} {event['id']}" if event else "nothing more"


def document(ended: Replay) -> dict[str, Any]:
    """Return how a replay ended, for machines. Pure."""
    from orchestrator.events import to_json

    told: dict[str, Any] = {
        "run": ended.run,
        "equal": ended.is_equal,
        "events": ended.events,
        "finished": ended.has_end,
        "artifacts": dict(ended.artifacts),
        "difference": None,
    }
    if (difference := ended.difference) is not None:
        events = (difference.recorded, difference.replayed)
        recorded, replayed = (None if event is None else to_json(event) for event in events)
        told["difference"] = {
            "after": difference.number,
            "recorded": recorded,
            "replayed": replayed,
            "step": None if difference.step is None else difference.step[1],
            "agent": None if difference.request is None else difference.request.needs.agent,
            "changes": [change._asdict() for change in ended.changes],
        }
    return told
