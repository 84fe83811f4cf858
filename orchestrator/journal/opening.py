"""The one door to the journals: what a URL names, and how it is opened. Another kind of journal is added here alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal, JournalMissing, JournalUnusable
from orchestrator.journal.sqlite.journal import SqliteJournal, leave_untold

MEMORY = "memory:"
SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where a journal is kept: in `file`, or in this process alone."""

    file: Path | None

    def __str__(self) -> str:
        return MEMORY if self.file is None else str(self.file)


def place_of_journal(url: str | Path) -> JournalPlace:
    """Return what `sqlite:///relative`, `sqlite:////absolute`, a plain path or `memory:` names.

    Raises `JournalUnusable` for anything else.
    """
    if isinstance(url, Path):
        return JournalPlace(url)
    if url == MEMORY:
        return JournalPlace(None)
    if url.startswith(SQLITE) and url != SQLITE:
        return JournalPlace(Path(url.removeprefix(SQLITE)))
    if url.startswith(("postgresql:", "postgres:")):
        raise JournalUnusable("PostgreSQL is not built yet: this version reads sqlite:///PATH only")
    if not url or "://" in url or url.startswith("sqlite:"):
        raise JournalUnusable("this version reads sqlite:///PATH only")
    return JournalPlace(Path(url))


@asynccontextmanager
async def open_journal(
    url: str | Path,
    *,
    create: bool = True,
    has_own_folder: bool = False,
    warn: Callable[[str], None] = leave_untold,
) -> AsyncIterator[Journal]:
    """Open a journal for as long as the block lasts; everything is recorded when it ends.

    One that may not be created is opened for writing only by the first call that writes. With `has_own_folder` its
    folder is made its owner's alone; its files are in any case, and `warn` is told of each that cannot be. Raises what
    `place_of_journal` and the journal itself raise; `JournalMissing` where there is none, unless it may `create` one.
    """
    place = place_of_journal(url)
    if place.file is not None and not create:
        _refuse_missing(place.file)
    journal: Journal = (
        MemoryJournal()
        if place.file is None
        else SqliteJournal(place.file, is_lazy=not create, has_own_folder=has_own_folder, warn=warn)
    )
    try:
        yield journal
    finally:
        await journal.aclose()


def _refuse_missing(file: Path) -> None:
    try:
        is_there = file.exists()
    except OSError as error:
        raise JournalUnusable(f"the journal {file} cannot be used: {error.strerror or error}") from error
    if not is_there:
        raise JournalMissing(f"there is no {file}")
