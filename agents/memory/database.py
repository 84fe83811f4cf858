"""SQLite files of ours: opened and made in one way, and what goes wrong with one said in one way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from agents.errors import AgentError
from providers.limits.ledger.log_mode import use_log
from providers.limits.ledger.private import make_private_file, make_private_folder, tighten

BUSY_S = 10.0
"""How long to wait for another process's write."""


class MemoryUnusable(AgentError):
    """The store at `path` cannot be used."""

    def __init__(self, path: Path | str, reason: str, hint: str = "", *, what: str = "memory") -> None:
        super().__init__(f"the {what} {path} cannot be used: {reason}")
        self.path, self.reason = str(path), reason
        self.hint = hint
        """What to do about it."""


class Layout(NamedTuple):
    """What a file holds: `application` marks whose it is, `schema` is the version of its `tables`.

    `make_index` makes what follows from them, and is called where `index_version` is another than the file's.
    """

    application: int
    schema: int
    tables: str
    index_version: int
    make_index: Callable[[sqlite3.Connection], None]


def connect(path: Path | str | None, layout: Layout) -> sqlite3.Connection:
    """Return a connection to the file, made where there is none; None: to a database in memory.

    Raise `MemoryUnusable` where it is damaged, of another program or of a later release, or stays busy.
    """
    place = ":memory:" if path is None else str(path)
    with told(place):
        if path is not None:
            make_private_folder(Path(path).parent)
            make_private_file(Path(path))
            for end in ("", "-wal", "-shm"):
                tighten(Path(f"{path}{end}"))
        db = sqlite3.connect(place, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            use_log(db, BUSY_S)
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten; not every SQLite does so unasked
            _prepare(db, place, layout)
        except BaseException:
            db.close()
            raise
    return db


def _prepare(db: sqlite3.Connection, path: str, layout: Layout) -> None:
    with transaction(db):
        [(application,)] = db.execute("PRAGMA application_id")
        [(schema,)] = db.execute("PRAGMA user_version")
        [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master")
        if not tables:
            db.execute(f"PRAGMA application_id = {layout.application}")
            db.execute(f"PRAGMA user_version = {layout.schema}")
            script(db, "CREATE TABLE index_version (version INTEGER NOT NULL);\n" + layout.tables)
        elif application != layout.application:
            raise MemoryUnusable(path, "it is a database of another program", "give another file")
        elif schema > layout.schema:
            raise MemoryUnusable(path, "a later release wrote it", "upgrade, or give another file")
        if list(db.execute("SELECT version FROM index_version")) != [(layout.index_version,)]:
            layout.make_index(db)
            db.execute("DELETE FROM index_version")
            db.execute("INSERT INTO index_version VALUES (?)", (layout.index_version,))


def script(db: sqlite3.Connection, statements: str) -> None:
    """Run statements inside the open transaction: `executescript` would end it."""
    for statement in filter(str.strip, statements.split(";\n")):
        db.execute(statement)


@contextmanager
def transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Do all that is done inside, or nothing. With "BEGIN" others may write meanwhile, and are not seen."""
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some failures have rolled back already
            db.execute("ROLLBACK")
        raise


@contextmanager
def told(path: str) -> Iterator[None]:
    """Raise what SQLite and the disk say as `MemoryUnusable`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        busy = "locked" in str(error) or "busy" in str(error)
        raise MemoryUnusable(path, str(error), "another process is writing; try again" if busy else "") from error
    except sqlite3.DatabaseError as error:
        hint = "move the file away, and its -wal and -shm with it, to begin anew"
        raise MemoryUnusable(path, str(error), hint) from error
    except OSError as error:
        raise MemoryUnusable(path, error.strerror or str(error)) from error
