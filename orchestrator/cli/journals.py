"""Where the command line keeps the record of its runs: `journal.db` in the state folder, or what `--db` names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.app import Settings
from orchestrator.cli.arguments import load_squad
from orchestrator.cli.exits import NothingSelected, Unusable

if TYPE_CHECKING:
    from orchestrator.journal.protocols import About
    from orchestrator.journal.sqlite.journal import SqliteJournal
    from orchestrator.squad.load import Squad

NAME = "journal.db"
SQLITE = "sqlite:///"


def journal_file(settings: Settings, db: str | None) -> Path:
    """Return the journal's file: `sqlite:///path` from the working folder, `sqlite:////path` from the root."""
    if db is None:
        return settings.state_folder / NAME
    if not db.startswith(SQLITE) or db == SQLITE:
        raise Unusable(f"--db {db}: only sqlite:///PATH is known in this version", f"--db sqlite:///{NAME}")
    return Path(db.removeprefix(SQLITE))


@asynccontextmanager
async def record_for_run(
    settings: Settings, db: str | None, warn: Callable[[str], None]
) -> AsyncIterator[SqliteJournal | None]:
    """Open the journal that a new run is kept in. Where the state folder cannot be written, warn and give None."""
    from orchestrator.journal.protocols import JournalDamaged, JournalUnusable
    from orchestrator.journal.sqlite.journal import SqliteJournal

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


def read_run(settings: Settings, run: str | None, db: str | None = None) -> tuple[str, list[dict[str, Any]]]:
    """Return a run's id and its events as documents; `run` None: the latest. Raise `NothingSelected`, `RunNotFound`."""
    import anyio

    from orchestrator.events import to_json

    async def read() -> tuple[str, list[dict[str, Any]]]:
        async with open_record(settings, db) as journal:
            name = run or next((line.run for line in await journal.runs(limit=1)), None)
            if name is None:
                raise NothingSelected("no run is recorded here", "orchestrator run squad.yaml")
            await journal.about(name)
            return name, [to_json(event) for event in await journal.events(name)]

    return anyio.run(read)


def squad_of(about: About, settings: Settings) -> Squad:
    """Return the squad as its file stands now; where the file is gone, as it was recorded."""
    if Path(about.file).is_file():
        return load_squad(about.file, settings)
    from orchestrator.squad.load import Squad

    return Squad.from_text(about.text, about.file, routing=settings.routing_file())


@asynccontextmanager
async def open_record(settings: Settings, db: str | None = None) -> AsyncIterator[SqliteJournal]:
    """Open the journal of earlier runs. Raise `NothingSelected` where there is none."""
    from orchestrator.journal.sqlite.journal import SqliteJournal

    file = journal_file(settings, db)
    if not file.exists():
        raise NothingSelected(f"no run is recorded here: there is no {file}", "orchestrator run squad.yaml")
    async with SqliteJournal(file) as journal:
        yield journal
