"""The tables of the SQLite journal, and how a database of an earlier release becomes one of this release.

Rows are only ever added, but for a run's status and its squad's name. `seal` is a CRC-32 of what SQLite itself does
not check, a `body` is compressed and named by its SHA-256.
`MIGRATIONS[n]` leads from version n to n + 1; none is ever changed.
"""

from __future__ import annotations

import sqlite3

from orchestrator.journal.protocols import JournalUnusable

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
)


def prepare(connection: sqlite3.Connection) -> None:
    """Make the database a journal of this release. Raise `JournalUnusable` where it is something else, or later."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if kind != APPLICATION_ID and (tables or version):
        raise JournalUnusable("it is a database of something else")
    if version > len(MIGRATIONS):
        raise JournalUnusable(f"it was written by a later release (schema {version}, this one knows {len(MIGRATIONS)})")
    if version < len(MIGRATIONS):
        _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing, all or nothing. Two processes may try at once: the second finds it done."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for script in MIGRATIONS[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()  # nothing, where SQLite has done it by itself
        raise
