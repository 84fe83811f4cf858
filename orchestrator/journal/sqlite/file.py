"""The file of a SQLite journal: its connections, and what the failures of SQLite mean to those who use a journal."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio.to_thread

from orchestrator.journal.protocols import JournalDamaged, JournalError, JournalMissing, JournalUnusable
from orchestrator.journal.sqlite.bodies import JournalConnection
from orchestrator.journal.sqlite.holder import LOOK_S, begin_write, code_of, is_open_here
from orchestrator.journal.sqlite.log_check import damage_of
from orchestrator.journal.sqlite.schema import harden, prepare
from orchestrator.journal.sqlite.snapshots import read_from
from providers.limits.ledger.private import FILE, make_private_file, make_private_folder, tighten

T = TypeVar("T")
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
MOST_CHECKED = 32 * 1024 * 1024
"""Bytes of a file that is read through before the first look at it: a tenth of a second."""
OF_ROWS = (ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, RecursionError)
"""What code raises that is given a row that nobody wrote."""


@dataclass(slots=True)
class JournalFile:
    """Opens connections to the file at `path`, and explains what fails there.

    `has_own_folder`: nothing but the state of our runs is in its folder, so that is the owner's alone, too.
    """

    path: Path
    has_own_folder: bool = False
    _loose: dict[str, bool] = field(default_factory=dict)
    """Which files others may read, and why that could not be changed -> whether it was told."""
    _log_is_checked: bool = False
    _pages_are_checked: bool = False

    def make_folder(self) -> None:
        try:
            make_private_folder(self.path.parent)
        except OSError as error:
            raise JournalUnusable(f"{self.path.parent} cannot be made: {error.strerror or error}") from error

    def open(self) -> sqlite3.Connection:
        """Return the writer's connection, to a file that is a journal of this release."""
        self._check_log()
        self.tighten()
        try:
            make_private_file(self.path)
        except OSError as error:
            raise JournalUnusable(f"{error.strerror or error}") from error
        connection = self.connect()
        try:
            if not self.path.stat().st_size:  # any other file keeps its own way, and would be locked for it
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _use_log(connection)
            prepare(connection)
            connection.execute(f"PRAGMA busy_timeout = {LOOK_S * 1000:.0f}")
            begin_write(connection, self.path)  # a file that can only be read is found out now
            connection.execute("ROLLBACK")
        except BaseException:
            connection.close()
            raise
        return connection

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=60, isolation_level=None, check_same_thread=False, factory=JournalConnection
        )
        harden(connection)
        # With WAL and less than FULL a power cut may take the latest commits, whose turns would be paid for again, and
        # leave a log with a hole, as only damage does else.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def read() -> T:
            with self.explained():
                if not self.path.exists():
                    raise JournalMissing(f"there is no {self.path}")
                self._check_log()
                found = read_from(self.path, work if self._pages_are_checked else partial(_checked, work))
                self._pages_are_checked = True
                return found

        return await anyio.to_thread.run_sync(read)

    def tighten(self) -> None:
        """Let nobody else read what earlier releases left open. `take_loose` returns what could not be changed."""
        parts = [Path(f"{self.path}{end}") for end in ("", "-wal", "-shm", "-locks")]
        found = [tighten(part) for part in [self.path.parent] * self.has_own_folder + parts]
        for why in found:
            if why is not None:
                self._loose.setdefault(why, False)

    def take_loose(self) -> list[str]:
        """Return what others may read still, each once."""
        found = [why for why, is_told in self._loose.items() if not is_told]
        self._loose = dict.fromkeys(self._loose, True)
        return found

    def _check_log(self) -> None:
        """Look once whether commits of earlier processes can still be read. Raise `JournalDamaged`."""
        if not self._log_is_checked:
            if (why := damage_of(self.path)) is not None:
                raise JournalDamaged(why)
            self._log_is_checked = True

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, JournalError, *OF_ROWS) as error:
            explained = self.explain(error)
            if explained is error:
                raise
            raise explained from error

    def explain(self, error: BaseException) -> BaseException:
        """Return what the failure means for who uses the journal."""
        if _is_damage(error):
            return self._damaged(error)
        if isinstance(error, sqlite3.Error):
            return JournalUnusable(f"the journal {self.path} cannot be used: {error}")
        if isinstance(error, OSError):
            return JournalUnusable(f"the journal {self.path} cannot be used: {error.strerror or error}")
        if type(error) is JournalUnusable and str(self.path.parent) not in str(error):
            return JournalUnusable(f"the journal {self.path} cannot be used: {error}")
        return error

    def _damaged(self, error: BaseException) -> JournalDamaged:
        why = str(error) if isinstance(error, sqlite3.Error | JournalError) else "a row is not what was written"
        copy = self.path.with_name(f"{self.path.name}.damaged")
        try:
            if not copy.exists():
                for end in ("", "-wal"):  # the latest commits may be in the log alone
                    if (file := Path(f"{self.path}{end}")).exists():
                        _copy(file, Path(f"{copy}{end}"))
                        Path(f"{copy}{end}").chmod(FILE)
        except OSError as failure:
            return JournalDamaged(
                f"the journal {self.path} is damaged ({why}). No copy can be kept: {failure.strerror}"
            )
        return JournalDamaged(f"the journal {self.path} is damaged ({why}). A copy is kept as {copy}")


def _copy(file: Path, to: Path) -> None:
    """Copy a file. Where this process has it open, our descriptor stays open: to close it would end SQLite's locks."""
    is_closed = not is_open_here(file)
    fd = os.open(file, os.O_RDONLY)
    with open(fd, "rb", closefd=is_closed) as source, to.open("wb") as target:
        shutil.copyfileobj(source, target)


def _checked(work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
    """Look whether the file's pages are where they belong, then do the work. Raise `JournalDamaged`.

    No row tells that: where a page stands in the place of another one, rows are missing. In a file too large for it the
    checksums of rows and the numbers of events are all that is looked at.
    """
    (pages,), (size,) = (db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    if pages * size <= MOST_CHECKED:
        check = "integrity_check" if pages * size <= MOST_CHECKED // 4 else "quick_check"
        (found,) = db.execute(f"PRAGMA {check}(1)").fetchone()
        if found != "ok":
            raise JournalDamaged(" ".join(str(found).split())[:100])
    return work(db)


def _use_log(connection: sqlite3.Connection) -> None:
    """Set WAL mode. SQLite does not wait by itself where another process is setting it for the same new file."""
    for tries_left in range(100, -1, -1):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not tries_left or code_of(error) != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(0.05)
        else:
            return


def _is_damage(error: BaseException) -> bool:
    """Return whether the failure means that the file is not what was written. A message of SQLite may quote it."""
    if isinstance(error, sqlite3.Error):
        return code_of(error) in DAMAGED or "decode to UTF-8" in str(error)
    return isinstance(error, (JournalDamaged, *OF_ROWS))
