"""Where the command line keeps the record of its runs: `journal.db` in the state folder, or what `--db` names."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import anyio
import click
from click.core import ParameterSource

from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.signals import stopped_between_commits
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.next_step import DB_VARIABLE, command_line
from orchestrator.journal.database_url import SCHEMES, without_password
from orchestrator.journal.opening import SQLITE, JournalPlace, open_journal, place_of_journal
from orchestrator.journal.protocols import (
    Journal,
    JournalBusy,
    JournalDamaged,
    JournalMissing,
    JournalUnusable,
    Runs,
)
from providers.documents.likeness import closest
from providers.documents.unicode import printable

P = ParamSpec("P")

NAME = "journal.db"
LATEST = "latest"
"""What stands for the newest run wherever a run is named."""
MOST_LISTED = 12
START_ONE = "`orchestrator run squad.yaml` records one"

DB_HELP = "Where runs are recorded: sqlite:///PATH (STATE/journal.db) or a cluster's postgresql://USER@HOST/DATABASE."
CLUSTER_PACKAGES = ("psycopg", "psycopg_pool", "procrastinate")
INSTALL_CLUSTER = "pip install 'squad-orchestrator[cluster]'"

db_option = click.option("--db", metavar="URL", envvar=DB_VARIABLE, help=DB_HELP)
read_db_option = click.option("--db", metavar="URL", help=DB_HELP)
"""For commands that read recorded runs only where they are told which: no variable says it for them."""


@dataclass(frozen=True, slots=True)
class RecordedRuns:
    """The recorded runs, opened for one command, and what the command needs around them."""

    journal: Journal
    place: JournalPlace
    settings: Settings
    console: Console
    db: str | None

    def command(self, *words: str) -> str:
        """Return the command `orchestrator WORDS` as the user may type it: it reads the same journal."""
        return command_line(self.settings, *words, db=self.db)


def reads_runs(work: Callable[Concatenate[RecordedRuns, P], Awaitable[int | None]]) -> Callable[..., int | None]:
    """Make a command of an async function: it takes `--db`, and gets the journal opened as its first argument.

    Its argument `run` may be any of what `run_named` takes; the function gets the id. Where nothing is recorded the
    command ends with `NothingSelected`.
    """

    async def opened(settings: Settings, db: str | None, arguments: dict[str, Any]) -> int | None:
        async with open_records(settings, db) as records:
            if isinstance(named := arguments.get("run"), str):
                arguments["run"] = await run_named(records.journal, named)
            return await work(records, **arguments)  # type: ignore[call-arg]  # click gives options by name

    @db_option
    @click.pass_context
    @functools.wraps(work)
    def command(context: click.Context, /, *, db: str | None, **arguments: Any) -> int | None:
        return anyio.run(opened, settings_of(context), db, arguments)

    return command


def journal_url(settings: Settings, db: str | None) -> str | Path:
    """Return what `--db` names, else the file in the state folder. Raise `Unusable` for a URL that names no journal."""
    if db is None:
        return settings.state_folder / NAME
    try:
        place_of_journal(db)
    except JournalUnusable as error:
        raise Unusable(f"--db {without_password(db)}: {error}", f"--db {SQLITE}{NAME}") from error
    return db


def cluster_url(db: str | None) -> str | None:
    """Return the URL of the cluster's database that `--db` names; None where it names another journal, or none.

    Raise `Unusable` where what it takes to reach one is not installed.
    """
    if db is None or not db.startswith(SCHEMES):
        return None
    missing = [name for name in CLUSTER_PACKAGES if find_spec(name) is None]
    if missing:
        raise Unusable(f"--db {without_password(db)}: the package `{missing[0]}` is not installed", INSTALL_CLUSTER)
    return db


def db_beside(context: click.Context, db: str | None, server: str | None) -> str | None:
    """Return `--db` where no `--server` is asked instead. Raise `UsageError` for both; a variable yields."""
    if db is None or server is None:
        return db
    if context.get_parameter_source("db") is ParameterSource.ENVIRONMENT:
        return None
    raise click.UsageError("--db names a journal here, and --server asks another machine's: give one of them")


@asynccontextmanager
async def open_records(settings: Settings, db: str | None = None) -> AsyncIterator[RecordedRuns]:
    """Open the journal of earlier runs. Raise `NothingSelected` where there is none."""
    url, console = journal_url(settings, db), Console(settings)
    async with AsyncExitStack() as stack:
        stops = stack.enter_context(stopped_between_commits())
        try:
            journal = await stack.enter_async_context(
                open_journal(url, create=False, has_own_folder=db is None, warn=console.warn)
            )
        except JournalMissing as missing:
            raise NothingSelected(f"no run is recorded here: {missing}", START_ONE) from missing
        stops.let_go(journal)
        yield RecordedRuns(journal, place_of_journal(url), settings, console, db)


@asynccontextmanager
async def record_for_run(
    settings: Settings, db: str | None, warn: Callable[[str], None]
) -> AsyncIterator[Journal | None]:
    """Open the journal that a new run is kept in. Where the state folder cannot be written, warn and give None."""
    journal: Journal | None = None
    async with AsyncExitStack() as stack:
        stops = stack.enter_context(stopped_between_commits())
        try:
            url = journal_url(settings, db)
            journal = await stack.enter_async_context(open_journal(url, has_own_folder=db is None, warn=warn))
        except JournalUnusable as error:
            if db is not None or isinstance(error, (JournalDamaged, JournalBusy)):
                raise
            warn(f"the run is not recorded: it cannot be resumed, nor explained: {error}")
        stops.let_go(journal)
        yield journal


async def latest_run(journal: Runs) -> str:
    """Return the id of the run that began last. Raise `NothingSelected` where none is recorded."""
    for line in await journal.runs(limit=1):
        return line.run
    raise NothingSelected("no run is recorded here", START_ONE)


async def run_named(journal: Runs, word: str) -> str:
    """Return the id of the run that `word` means: its id, the beginning of no other run's id, or `latest`.

    A run that is really called so is meant first. Raise `NothingSelected` where no run or several may be meant.
    """
    ids = [line.run for line in await journal.runs(None)]
    return meant_by(word, ids, "orchestrator runs ls")


def meant_by(word: str, ids: Sequence[str], listing: str) -> str:
    """Return which of these runs, the newest first, `word` means. Raise `NothingSelected`, as `run_named` does."""
    if word in ids:
        return word
    if word == LATEST and ids:
        return ids[0]
    begun = [run for run in ids if word and run.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        more = f" and {len(begun) - MOST_LISTED} more" if len(begun) > MOST_LISTED else ""
        listed = ", ".join(map(printable, begun[:MOST_LISTED]))
        raise NothingSelected(f"{len(begun)} runs begin with {printable(word)}: {listed}{more}", "write more of its id")
    close = closest(word, ids)
    like = f"did you mean {printable(close)}? " if close else ""
    hint = f"{like}`{listing}` lists the recorded runs; `{LATEST}` is the newest"
    raise NothingSelected(f"there is no run {printable(word)}", hint)
