"""`runs replay`: a run once more, from its record alone, and where the two differ."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import click

from orchestrator.cli.app import Command, Settings, argument, settings_of
from orchestrator.cli.exits import Exit, NothingSelected, Unusable
from orchestrator.cli.journals import cluster_url, db_option, open_records, run_named
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.replays import replay_document, replay_lines
from orchestrator.journal.protocols import Journal, JournalUnusable, Runs
from orchestrator.rerun.export import export_run
from orchestrator.rerun.replay import Replay, replay
from providers.documents.unicode import printable

NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
"""What Python tells its audit hooks before anything reaches a network."""


@click.command("replay", cls=Command)
@argument("run", required=False, help="The run's id; `runs ls` lists them.")
@click.option("--from-file", metavar="FILE", help="Read the run from this file, which `runs export` wrote.")
@click.option("--against", metavar="FILE", help="Run this squad file instead of the recorded one.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@db_option
@click.pass_context
def replay_command(
    context: click.Context, run: str | None, from_file: str | None, against: str | None, as_json: bool, db: str | None
) -> int:
    """Run RUN again from its record, without a network, and compare each event, request and artifact.

    Instead of RUN, give a file that `runs export` wrote.
    """
    settings = settings_of(context)
    if from_file is None and run is not None and Path(run).is_file():
        run, from_file = None, run
    if run is None and from_file is None:
        raise click.UsageError("which run? `orchestrator runs ls` lists them")
    if from_file is not None and not Path(from_file).is_file():
        raise Unusable(f"there is no file {from_file}", "`orchestrator runs export RUN FILE` writes one")
    if from_file is None and (url := cluster_url(db)) is not None:
        ended = _of_cluster(settings, str(run), against, url)
    else:
        with no_network():
            ended = anyio.run(_replay, settings, run, from_file, against, db)
    if as_json:
        print_json(replay_document(ended))
    else:
        click.echo(printable("\n".join(replay_lines(ended))))
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


def _of_cluster(settings: Settings, run: str, against: str | None, db: str) -> Replay:
    """Replay a run of a cluster from a copy: its database is reached before nothing more may be."""

    async def copied(to: Path) -> None:
        async with open_records(settings, db) as records:
            await export_run(records.journal, await run_named(records.journal, run), to)

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run.db"
        anyio.run(copied, copy)
        with no_network():
            return anyio.run(_replay, settings, None, str(copy), against, None)


async def _replay(
    settings: Settings, run: str | None, from_file: str | None, against: str | None, db: str | None
) -> Replay:
    squad = None if against is None else load_squad(against, settings)
    async with _opened(settings, from_file, db) as journal:
        return await replay(journal, await (run_named(journal, run) if run else _only_run(journal)), against=squad)


@asynccontextmanager
async def _opened(settings: Settings, from_file: str | None, db: str | None) -> AsyncIterator[Journal]:
    """Open the journal here, or a copy of an exported one: opening writes to the file."""
    if from_file is None:
        async with open_records(settings, db) as records:
            yield records.journal
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copyfile(from_file, Path(folder) / "export.db")
        try:
            async with open_records(settings, f"sqlite:///{copy}") as records:
                yield records.journal
        except JournalUnusable as error:  # its message names the copy, of which the user knows nothing
            raise JournalUnusable(f"{from_file} is not an exported run, or it is damaged") from error


async def _only_run(journal: Runs) -> str:
    runs = [line.run for line in await journal.runs(limit=2)]
    if len(runs) != 1:
        raise NothingSelected("the file does not hold one run, but none or several", "name the run before --from-file")
    return runs[0]
