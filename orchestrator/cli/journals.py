"""Where the command line keeps the record of its runs: `journal.db` in the state folder, or what `--db` names."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import anyio
import click

from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.files import load_squad, routing_file
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.next_step import command_line
from orchestrator.journal.protocols import About, JournalDamaged, JournalUnusable
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.squad.load import Squad

P = ParamSpec("P")

NAME = "journal.db"
SQLITE = "sqlite:///"
START_ONE = "`orchestrator run squad.yaml` records one"

db_option = click.option("--db", metavar="URL", help="Where runs are recorded: sqlite:///PATH (STATE/journal.db).")


@dataclass(frozen=True, slots=True)
class RecordedRuns:
    """The recorded runs, opened for one command, and what the command needs around them."""

    journal: SqliteJournal
    file: Path
    settings: Settings
    console: Console
    db: str | None

    def command(self, *words: str) -> str:
        """Return the command `orchestrator WORDS` as the user may type it: it reads the same journal."""
        return command_line(self.settings, *words, db=self.db)


def reads_runs(work: Callable[Concatenate[RecordedRuns, P], Awaitable[int | None]]) -> Callable[..., int | None]:
    """Make a command of an async function: it takes `--db`, and gets the journal opened as its first argument.

    Where nothing is recorded the command ends with `NothingSelected`.
    """

    async def opened(settings: Settings, db: str | None, arguments: dict[str, Any]) -> int | None:
        async with open_records(settings, db) as records:
            return await work(records, **arguments)  # type: ignore[call-arg]  # click gives options by name

    @db_option
    @click.pass_context
    @functools.wraps(work)
    def command(context: click.Context, /, *, db: str | None, **arguments: Any) -> int | None:
        return anyio.run(opened, settings_of(context), db, arguments)

    return command


def journal_file(settings: Settings, db: str | None) -> Path:
    """Return the journal's file: `sqlite:///path` from the working folder, `sqlite:////path` from the root."""
    if db is None:
        return settings.state_folder / NAME
    if not db.startswith(SQLITE) or db == SQLITE:
        raise Unusable(f"--db {db}: this version reads sqlite:///PATH only", f"--db sqlite:///{NAME}")
    return Path(db.removeprefix(SQLITE))


@asynccontextmanager
async def open_records(settings: Settings, db: str | None = None) -> AsyncIterator[RecordedRuns]:
    """Open the journal of earlier runs. Raise `NothingSelected` where there is none."""
    file = journal_file(settings, db)
    if not file.exists():
        raise NothingSelected(f"no run is recorded here: there is no {file}", START_ONE)
    async with SqliteJournal(file) as journal:
        yield RecordedRuns(journal, file, settings, Console(settings), db)


@asynccontextmanager
async def record_for_run(
    settings: Settings, db: str | None, warn: Callable[[str], None]
) -> AsyncIterator[SqliteJournal | None]:
    """Open the journal that a new run is kept in. Where the state folder cannot be written, warn and give None."""
    try:
        journal = SqliteJournal(journal_file(settings, db))
    except JournalUnusable as error:
        if db is not None or isinstance(error, JournalDamaged):
            raise
        warn(f"the run is not recorded: it cannot be resumed, nor explained: {error}")
        yield None
        return
    async with journal:
        yield journal


async def latest_run(journal: SqliteJournal) -> str:
    """Return the id of the run that began last. Raise `NothingSelected` where none is recorded."""
    for line in await journal.runs(limit=1):
        return line.run
    raise NothingSelected("no run is recorded here", START_ONE)


def squad_of(about: About, settings: Settings) -> Squad:
    """Return the squad as its file is now; where the file is gone, as it was recorded."""
    if Path(about.file).is_file():
        return load_squad(about.file, settings)
    return Squad.from_text(about.text, about.file, routing=routing_file(settings))
