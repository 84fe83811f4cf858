"""The one door to the journals: what a URL names, and how it is opened. Another kind of journal is added here alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.journal.database_url import SCHEMES, without_password
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal, JournalMissing, JournalUnusable
from orchestrator.journal.sqlite.journal import SqliteJournal, leave_untold
from orchestrator.journal.timing import ClusterTiming

MEMORY = "memory:"
SQLITE = "sqlite:///"
COMMANDS = ClusterTiming()
"""How a command bears with a database that is away: a person waits for it."""


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """Where a journal is kept: in `file`, in the database at `url`, or in this process alone."""

    file: Path | None
    url: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.url is not None:
            return without_password(self.url)
        return MEMORY if self.file is None else str(self.file)


def place_of_journal(url: str | Path) -> JournalPlace:
    """Return what `sqlite:///relative`, `sqlite:////absolute`, `postgresql://...`, a plain path or `memory:` names.

    Raises `JournalUnusable` for anything else.
    """
    if isinstance(url, Path):
        return JournalPlace(url)
    if url == MEMORY:
        return JournalPlace(None)
    if url.startswith(SQLITE) and url != SQLITE:
        return JournalPlace(Path(url.removeprefix(SQLITE)))
    if url.startswith(SCHEMES):
        return JournalPlace(None, url)
    if not url or "://" in url or url.startswith(("sqlite:", "postgresql:", "postgres:")):
        raise JournalUnusable("a journal is at sqlite:///PATH, or at postgresql://USER@HOST/DATABASE")
    return JournalPlace(Path(url))


@asynccontextmanager
async def open_journal(
    url: str | Path,
    *,
    create: bool = True,
    has_own_folder: bool = False,
    warn: Callable[[str], None] = leave_untold,
    timing: ClusterTiming = COMMANDS,
) -> AsyncIterator[Journal]:
    """Open a journal for as long as the block lasts; everything is recorded when it ends.

    - `url`: the path of an SQLite file (or `sqlite:///PATH`), `postgresql://USER@HOST/DATABASE`, or `memory:`.
    - `create`: make one where there is none. False: it is opened for writing only by the first call that writes.
    - `has_own_folder`: the folder of the file may be read by its owner alone. Its files are in any case.
    - `warn`: is called with a text for each file or folder that others can read.
    - `timing`: how long to wait for a journal on a server.

    Raises what `place_of_journal` and the journal itself raise; `JournalMissing` where there is none, unless it may
    `create` one.
    """
    place = place_of_journal(url)
    if place.url is not None:
        async with _postgres(place.url)(place.url, create=create, timing=timing, warn=warn) as cluster:
            yield cluster
        return
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


def _postgres(url: str) -> Callable[..., AbstractAsyncContextManager[Journal]]:
    """Return what opens a journal in PostgreSQL. Its client is an extra, and takes a tenth of a second to load."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise JournalUnusable(
            f'the journal {without_password(url)} needs PostgreSQL\'s client: pip install "squad-orchestrator[cluster]"'
        ) from error
    from orchestrator.journal.postgres.journal import open_postgres

    return open_postgres


def _refuse_missing(file: Path) -> None:
    try:
        is_there = file.exists()
    except OSError as error:
        raise JournalUnusable(f"the journal {file} cannot be used: {error.strerror or error}") from error
    if not is_there:
        raise JournalMissing(f"there is no {file}")
