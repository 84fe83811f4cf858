"""The tables of the SQLite journal, and how a database of an earlier release becomes one of this release.

Rows are only ever added, but for a run's status and its squad's name. `seal` is a CRC-32 of what SQLite itself does
not check, a `body` is compressed and named by its SHA-256.
`MIGRATIONS[n]` leads from version n to n + 1; none is ever changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache

from orchestrator.journal.protocols import JournalUnusable
from orchestrator.journal.sqlite.bills import FIRST_VERSION, fill_bills

APPLICATION_ID = 0x73717564
"""`squd`: tells a journal from any other SQLite database."""

MIGRATIONS = (
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL UNIQUE,
        squad TEXT NOT NULL,
        created_at REAL NOT NULL,
        about BLOB NOT NULL, seal INTEGER NOT NULL,
        status TEXT NOT NULL,
        cost INTEGER
    );
    CREATE TABLE places (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, path TEXT NOT NULL, UNIQUE (run, path));
    CREATE TABLE events (
        run INTEGER NOT NULL, seq INTEGER NOT NULL,
        place INTEGER NOT NULL, turn INTEGER NOT NULL, number INTEGER NOT NULL,
        at REAL NOT NULL, data BLOB NOT NULL, seal INTEGER NOT NULL,
        PRIMARY KEY (run, seq)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX event_ids ON events (place, turn, number);
    CREATE TABLE claims (unit INTEGER NOT NULL, fence INTEGER NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (unit, fence))
        WITHOUT ROWID;
    CREATE TABLE ends (unit INTEGER PRIMARY KEY);
    CREATE TABLE intents (
        unit INTEGER NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, hash BLOB NOT NULL,
        PRIMARY KEY (unit, key, attempt)
    ) WITHOUT ROWID;
    CREATE TABLE given_up (
        unit INTEGER NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, PRIMARY KEY (unit, key, attempt)
    ) WITHOUT ROWID;
    CREATE TABLE results (
        unit INTEGER NOT NULL, key TEXT NOT NULL, data BLOB NOT NULL, seal INTEGER NOT NULL,
        tokens INTEGER, cost INTEGER,
        PRIMARY KEY (unit, key)
    ) WITHOUT ROWID;
    CREATE TABLE bodies (digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
    CREATE TABLE signals (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
        seal INTEGER NOT NULL, UNIQUE (run, key)
    );
    CREATE TABLE cancels (run INTEGER PRIMARY KEY);
    """,
    """
    CREATE TABLE edits (
        run INTEGER NOT NULL, number INTEGER NOT NULL, about BLOB NOT NULL, seal INTEGER NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE names (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, seal INTEGER NOT NULL);
    CREATE TABLE bills (
        run INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, kind INTEGER NOT NULL,
        task INTEGER NOT NULL, agent INTEGER NOT NULL, provider INTEGER NOT NULL, model INTEGER NOT NULL,
        input INTEGER NOT NULL, output INTEGER NOT NULL, cached INTEGER NOT NULL, reasoning INTEGER NOT NULL,
        cost INTEGER, seal INTEGER NOT NULL,
        PRIMARY KEY (run, seq)
    ) WITHOUT ROWID;
    """,
)
FILLED = ((FIRST_VERSION, fill_bills),)
"""Tables that hold what others say: a journal that gets them is read through once."""


DEFENSIVE = 1010
"""SQLite's number of the setting under which no statement can spoil the file."""
OF_SQLITE = ("sqlite_autoindex_", "sqlite_stat")
"""What SQLite makes by itself: indexes of `UNIQUE`, and what `ANALYZE` found."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make the database a journal of this release. Raise `JournalUnusable` where it is something else, or later."""
    version = _version_of(connection)
    if version < len(MIGRATIONS):
        _migrate(connection)
    else:
        _refuse_what_is_not_ours(connection, version)


def prepare_reading(connection: sqlite3.Connection) -> None:
    """Let the database be read as a journal of this release, without a change to it. Raise `JournalUnusable`."""
    version = _version_of(connection)
    if version == 0:
        raise JournalUnusable("it holds no journal yet")
    _refuse_what_is_not_ours(connection, version)
    for statement in _statements(version):  # tables that it does not have yet are read as empty ones
        connection.execute(statement.replace("CREATE TABLE", "CREATE TEMP TABLE", 1))


def harden(connection: sqlite3.Connection) -> None:
    """Let nothing in the file's schema call functions, and let SQLite check what it reads. A file may be anyone's."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if (setconfig := getattr(connection, "setconfig", None)) is not None:  # from Python 3.12 on
        setconfig(DEFENSIVE, True)


def _version_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if kind != APPLICATION_ID and (tables or version):
        raise JournalUnusable("it is a database of something else")
    if version > len(MIGRATIONS):
        raise JournalUnusable(f"it was written by a later release (schema {version}, this one knows {len(MIGRATIONS)})")
    return version


def _refuse_what_is_not_ours(connection: sqlite3.Connection, version: int) -> None:
    """Raise `JournalUnusable` for tables that are not a journal's: a view or a trigger would run as it is read."""
    ours, found = _schema_of(version), frozenset(_schema_in(connection))
    if found != ours:
        kind, name, *_ = min(found - ours or ours - found)
        what = "has" if found - ours else "lacks"
        raise JournalUnusable(f"its tables are not those of a journal: it {what} the {kind} {name[:60]!r}")


@lru_cache(maxsize=len(MIGRATIONS))
def _schema_of(version: int) -> frozenset[tuple[str, str, str, str]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        for statement in _statements(0, version):
            db.execute(statement)
        return frozenset(_schema_in(db))


def _schema_in(connection: sqlite3.Connection) -> Iterator[tuple[str, str, str, str]]:
    for row in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"):
        kind, name, table, sql = (str(part or "") for part in row)
        if not name.startswith(OF_SQLITE) or (sql and not name.startswith("sqlite_stat")):
            yield kind, name, table, " ".join(sql.split())


def _statements(after: int, until: int = len(MIGRATIONS)) -> Iterator[str]:
    """Yield what leads from version `after` to version `until`."""
    for script in MIGRATIONS[after:until]:
        yield from filter(str.strip, script.split(";"))


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing, all or nothing. Two processes may try at once: the second finds it done."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version:
            _refuse_what_is_not_ours(connection, version)
        for statement in _statements(version):
            connection.execute(statement)
        for since, fill in FILLED:
            if 0 < version < since:
                fill(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()  # nothing, where SQLite has done it by itself
        raise
