"""One look at a journal's file, by whoever may read it: beside a writer that is at work or stopped, in a folder where
nothing may be written, and on a disk that is mounted for reading only.

SQLite reads a file with a log through an index beside it (`-shm`), which it makes where it is missing. Where it may
not, what is there decides: without a log the file is all there is, else both are copied and the copy is read.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from orchestrator.journal.protocols import JournalBusy
from orchestrator.journal.sqlite.bodies import JournalConnection
from orchestrator.journal.sqlite.holder import code_of, is_open_here
from orchestrator.journal.sqlite.schema import harden, prepare_reading

T = TypeVar("T")
Look = Callable[[sqlite3.Connection], T]
BUSY_S = 5.0
"""How long a reader waits for one that makes the index anew. No reader waits for a writer."""
ELSEWHERE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
"""Failures of a file that its copy does not have."""
TRIES = 5


def read_from(path: Path, work: Look[T]) -> T:
    """Return what `work` returns of a connection that sees one state of the file, and can change nothing.

    Raise `sqlite3.Error`, and `JournalUnusable` for what is no journal.
    """
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    is_writable = os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    if not is_writable and not _size_of(log):
        return _unchanged(path, log, work)
    if is_writable or index.exists():
        try:
            return _ask(path, f"mode={'rw' if is_writable else 'ro'}", work)
        except sqlite3.OperationalError as error:
            if code_of(error) not in ELSEWHERE or is_open_here(path):
                raise
    return _of_copy(path, log, work)


def _ask(path: Path, options: str, work: Look[T]) -> T:
    uri = f"{path.absolute().as_uri()}?{options}"
    with closing(_connected(uri)) as db:
        harden(db)
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN")  # all queries of `work` see one state of the file
        prepare_reading(db)
        db.execute("PRAGMA query_only = 1")
        return work(db)


def _connected(uri: str) -> JournalConnection:
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, factory=JournalConnection)


def _unchanged(path: Path, log: Path, work: Look[T]) -> T:
    """Read a file that has no log as it is, without any lock: once more where somebody wrote to it meanwhile."""
    for _ in range(TRIES):
        before = _state_of(path, log)
        failure: Exception | None = None
        try:
            found = _ask(path, "immutable=1", work)
        except Exception as error:  # noqa: BLE001  # raised below, unless the file was another meanwhile
            failure = error
        if _state_of(path, log) == before:
            if failure is not None:
                raise failure
            return found
        if _size_of(log):
            return read_from(path, work)
    raise JournalBusy(f"the journal {path} is being written by another process", "try again once it is done")


def _of_copy(path: Path, log: Path, work: Look[T]) -> T:
    """Read a copy of the file and its log. Only what is written to the file itself may change meanwhile."""
    for _ in range(TRIES):
        before = _state_of(path, log)
        with tempfile.TemporaryDirectory(prefix="journal-") as folder:
            copy = Path(folder) / "journal.db"
            shutil.copyfile(path, copy)
            if log.exists():
                shutil.copyfile(log, f"{copy}-wal")
            if _state_of(path, log) == before:
                return _ask(copy, "mode=rw", work)
    raise JournalBusy(f"the journal {path} is being written by another process", "try again once it is done")


def _state_of(path: Path, log: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, _size_of(log)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
