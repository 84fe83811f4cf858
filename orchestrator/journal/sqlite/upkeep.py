"""Taking runs out of the SQLite journal again, and giving their room back to the disk.

Texts are shared among runs, and no row counts who uses them: what no record refers to any more is found by reading all
records. That happens outside of any transaction; the writers wait only while texts are deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from orchestrator.journal.codec import references
from orchestrator.journal.sqlite.bills import NAMED
from orchestrator.journal.sqlite.bodies import body_in

OF_UNITS = ("claims", "ends", "intents", "given_up", "results")
OF_RUNS = ("events", "bills", "signals", "cancels", "edits", "places")
RECORDS = ("runs.about", "edits.about", "events.data", "results.data", "signals.value")

UNUSED_NAMES = "DELETE FROM names WHERE id NOT IN ({})".format(  # noqa: S608  # made of constants
    " UNION ".join(f"SELECT {column} FROM bills" for column in NAMED)  # noqa: S608  # as above
)


def remove_run(db: sqlite3.Connection, run: str) -> bool:
    """Delete all rows of a run, and return whether there were any. Texts stay: others may use them."""
    found = db.execute("SELECT id FROM runs WHERE run = ?", (run,)).fetchone()
    if found is None:
        return False
    for table in OF_UNITS:
        db.execute(f"DELETE FROM {table} WHERE unit IN (SELECT id FROM places WHERE run = ?)", found)  # noqa: S608  # ours
    for table in OF_RUNS:
        db.execute(f"DELETE FROM {table} WHERE run = ?", found)  # noqa: S608  # as above
    db.execute("DELETE FROM runs WHERE id = ?", found)
    return True


def reclaim(db: sqlite3.Connection) -> None:
    """Delete the texts that no record refers to, and give free pages back to the disk.

    `db` is a connection of its own, outside of any transaction. A file of an older release, which keeps free pages for
    good, is written anew once: that takes as much room again meanwhile.
    """
    version, used = _version(db), _used(db)
    db.execute("BEGIN IMMEDIATE")
    try:
        if _version(db) != version:  # a new record may refer to a text that was unused
            used = _used(db)
        orphans = [digest for (digest,) in db.execute("SELECT digest FROM bodies") if digest not in used]
        db.execute(UNUSED_NAMES)
        db.executemany("DELETE FROM bodies WHERE digest = ?", ((digest,) for digest in orphans))
        db.execute("COMMIT")
    except BaseException:
        db.rollback()  # nothing, where SQLite has done it by itself
        raise
    (vacuum,) = db.execute("PRAGMA auto_vacuum").fetchone()
    if vacuum == 0:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("VACUUM")
    else:
        db.executescript("PRAGMA incremental_vacuum")  # `execute` would take its first step only, which is one page
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _version(db: sqlite3.Connection) -> int:
    """Return a number that another connection's commit changes."""
    version: int = db.execute("PRAGMA data_version").fetchone()[0]
    return version


def _used(db: sqlite3.Connection) -> set[bytes]:
    """Return the digests of all texts that a record refers to, by itself or through another text."""
    used: set[bytes] = set()
    for data in _records(db):
        found = [data]
        while found:
            for digest, holds_more in references(found.pop()):
                if digest in used:
                    continue
                used.add(digest)
                if holds_more and _is_kept(db, digest):
                    found.append(body_in(db, digest))
    return used


def _is_kept(db: sqlite3.Connection, digest: bytes) -> bool:
    return db.execute("SELECT 1 FROM bodies WHERE digest = ?", (digest,)).fetchone() is not None


def _records(db: sqlite3.Connection) -> Iterator[bytes]:
    for record in RECORDS:
        table, _, column = record.partition(".")
        for (data,) in db.execute(f"SELECT {column} FROM {table}"):  # noqa: S608  # as above
            yield data
