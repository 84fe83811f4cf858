"""The file of a SQLite journal: its connections, and what the failures of SQLite mean to those who use a journal."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio.to_thread

from orchestrator.journal.protocols import JournalDamaged, JournalError, JournalUnusable
from orchestrator.journal.sqlite.schema import prepare

T = TypeVar("T")
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class JournalFile:
    """Opens connections to the file at `path`, and explains what fails there."""

    path: Path

    def make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalUnusable(f"{self.path.parent} cannot be made: {error.strerror or error}") from error

    def open(self) -> sqlite3.Connection:
        """Return the writer's connection, to a file that is a journal of this release."""
        connection = self.connect()
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; any other keeps its own way
            _use_log(connection)
            # With WAL and less than FULL a power cut may take the latest commits, whose turns would be paid for again.
            connection.execute("PRAGMA synchronous = FULL")
            prepare(connection)
            connection.execute("BEGIN IMMEDIATE")  # a file that can only be read is found out now
            connection.execute("ROLLBACK")
        except BaseException:
            connection.close()
            raise
        return connection

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            with self.explained(), closing(self.connect()) as db:
                db.execute("PRAGMA query_only = 1")
                db.execute("BEGIN")  # all queries of `work` see one state of the file
                return work(db)

        return await anyio.to_thread.run_sync(read)

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError, JournalError) as error:
            explained = self.explain(error)
            if explained is error:
                raise
            raise explained from error

    def explain(self, error: BaseException) -> BaseException:
        """Return what the failure means for who uses the journal."""
        if _is_damage(error):
            return self._damaged(str(error))
        if isinstance(error, sqlite3.Error):
            return JournalUnusable(f"the journal {self.path} cannot be used: {error}")
        if type(error) is JournalUnusable and str(self.path.parent) not in str(error):
            return JournalUnusable(f"the journal {self.path} cannot be used: {error}")
        return error

    def _damaged(self, why: str) -> JournalDamaged:
        copy = self.path.with_name(f"{self.path.name}.damaged")
        if not copy.exists():
            for end in ("", "-wal"):  # the latest commits may be in the log alone
                if (file := Path(f"{self.path}{end}")).exists():
                    shutil.copyfile(file, f"{copy}{end}")
        return JournalDamaged(f"the journal {self.path} is damaged ({why}). A copy is kept as {copy}")


def _use_log(connection: sqlite3.Connection) -> None:
    """Set WAL mode. SQLite does not wait by itself where another process is setting it for the same new file."""
    for tries_left in range(100, -1, -1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not tries_left or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(0.05)
        else:
            return


def _is_damage(error: BaseException) -> bool:
    """Return whether the failure means that the file is not what was written. A message of SQLite may quote it."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return code in DAMAGED or "decode to UTF-8" in str(error)
    return isinstance(error, JournalDamaged | UnicodeDecodeError)
