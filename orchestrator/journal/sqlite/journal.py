"""The journal in one SQLite file: what the command line uses. See `schema.py` for its tables.

WAL and synchronous=FULL: what `finish` returned from is on disk. One thread writes (`writer.py`); readers have
connections of their own and never wait for it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
import anyio.to_thread

from agents.run_context import StepKey
from orchestrator.events import Event
from orchestrator.journal.protocols import (
    Fence,
    Go,
    JournalError,
    JournalUnusable,
    Recorded,
    RunExists,
    RunManifest,
    StepChanged,
    StepRecord,
)
from orchestrator.journal.records import EventRow, packed, refuse_bad_id, rows_of, spent_in, texts_of
from orchestrator.journal.sqlite.file import JournalFile
from orchestrator.journal.sqlite.holder import begin_write
from orchestrator.journal.sqlite.home import with_home
from orchestrator.journal.sqlite.lock import locked
from orchestrator.journal.sqlite.reading import SqliteReader
from orchestrator.journal.sqlite.sealing import seal, unpacked
from orchestrator.journal.sqlite.sql import DoneStep, Rows, StepRow
from orchestrator.journal.sqlite.upkeep import reclaim, remove_run
from orchestrator.journal.sqlite.writer import Writer
from orchestrator.units import Unit, text_of


def leave_untold(_: str) -> None:
    """Warn nobody."""


class _Done(NamedTuple):
    """The finished steps of a unit, as it was claimed under `fence`. A result never changes, so they stay true."""

    fence: Fence | None
    steps: dict[str, DoneStep]


class SqliteJournal(SqliteReader):
    """A `Journal` in the file `path`, made where there is none.

    Raises `JournalUnusable` where the folder or the file cannot be written, and `JournalDamaged` for a file that is not
    what SQLite wrote; then a copy of it is kept beside it.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        is_lazy: bool = False,
        has_own_folder: bool = False,
        warn: Callable[[str], None] = leave_untold,
    ) -> None:
        """With `is_lazy` the file is opened for writing by the first call that writes; who only reads needs no leave to
        write. The files are made their owner's alone, with `has_own_folder` the folder, too; `warn` is told of each
        that others may read and that cannot be changed."""
        super().__init__(JournalFile(_led_to(Path(path)), has_own_folder))
        self._rows = Rows()
        self._done: dict[tuple[str, Unit], _Done] = {}
        """What units that were claimed again will ask for first: they reach their first new step without waiting."""
        self._opened: Writer | None = None
        self._drives = 0
        self._is_closed = False
        self._warn = warn
        if is_lazy:
            self._file.tighten()
            self._tell_loose()
        else:
            self._open()

    @property
    def _writer(self) -> Writer:
        self._renew()
        return self._opened or self._open()

    def _renew(self) -> None:
        """Let go of a writer that failed, once no run is driven here any more that would miss what it did not write."""
        if self._opened is not None and self._opened.is_broken and not self._drives:
            self._opened.close()
            self._opened = None
            self._done.clear()

    def _tell_loose(self) -> None:
        for why in self._file.take_loose():
            self._warn(why)

    def _open(self) -> Writer:
        if self._is_closed:
            raise JournalUnusable("the journal is closed")
        with self._file.explained():
            self._file.make_folder()
            connection = self._file.open()
            self._tell_loose()
        begin = partial(begin_write, path=self.path, is_patient=True)
        self._opened = Writer(connection, self._file.explain, self._rows, begin)
        return self._opened

    # -- runs

    async def create(
        self, run: str, manifest: RunManifest, events: Sequence[Event] = (), steps: Sequence[StepRecord] = ()
    ) -> None:
        refuse_bad_id(run)
        (data, bodies), rows = packed(with_home(manifest, self.path)), rows_of(events)
        taken = [StepRow.of(step) for step in steps]

        def work(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM runs WHERE run = ?", (run,)).fetchone():
                raise RunExists(f"there is a run {run} already")
            self._rows.keep(db, bodies)
            self._rows.insert_run(db, run, manifest, data)
            self._rows.take_over(db, run, taken)
            self._rows.record(db, run, rows)

        await self._writer.run(work, texts=[bodies, *(step.packed.bodies for step in taken), *texts_of(rows)])

    async def edit(
        self,
        run: str,
        manifest: RunManifest,
        events: Sequence[Event],
        steps: Sequence[StepRecord] = (),
        over: Collection[Unit] = (),
    ) -> None:
        (data, bodies), rows = packed(with_home(manifest, self.path)), rows_of(events)
        taken = [StepRow.of(step) for step in steps]

        def work(db: sqlite3.Connection) -> None:
            self._rows.keep(db, bodies)
            self._rows.edit_run(db, run, manifest, data)
            self._rows.take_over(db, run, taken)
            self._rows.make_final(db, run, over)
            self._rows.record(db, run, rows)

        await self._writer.run(work, texts=[bodies, *(step.packed.bodies for step in taken), *texts_of(rows)])
        self._tell(rows)

    async def remove(self, run: str) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            self._rows.forget()
            return remove_run(db, run)

        async with self.driving(run):
            return await self._writer.run(work)

    async def reclaim(self) -> bool:
        if await anyio.to_thread.run_sync(self.driven):
            return False

        def work() -> None:
            with self.between_commits(), self._file.explained(), closing(self._file.connect()) as db:
                reclaim(db)

        await anyio.to_thread.run_sync(work)
        return True

    @asynccontextmanager
    async def driving(self, run: str) -> AsyncIterator[None]:
        with locked(self._lock_of(run), f"the run {run}"):
            self._renew()
            self._drives += 1
            try:
                yield
            finally:
                # An empty job behind all others: the lock must not go before what was handed over is on disk.
                with anyio.CancelScope(shield=True), suppress(JournalError):  # a broken writer was told already
                    await self._writer.run(lambda _: None, last=True)
                self._drives -= 1

    def between_commits(self) -> AbstractContextManager[None]:
        return nullcontext() if self._opened is None else self._opened.paused()

    # -- units and steps

    async def claim(self, run: str, unit: Unit, owner: str) -> Fence | None:
        path = unit.path

        def work(db: sqlite3.Connection) -> tuple[Fence | None, dict[str, DoneStep]]:
            done = self._rows.done(db, run, path)
            return self._rows.claim(db, run, path, owner), done

        # Claims go last: work under way is recorded before new work begins, so a crowd's first turns do not wait for
        # the claims of all its members.
        fence, done = await self._writer.run(work, last=True)
        self._done.pop((run, unit), None)
        if done:
            self._done[run, unit] = _Done(fence, done)
        return fence

    async def begin(
        self, run: str, unit: Unit, key: StepKey, request_hash: bytes, fence: Fence, events: Sequence[Event] = ()
    ) -> Recorded | Go:
        path, name = unit.path, text_of(unit, key)
        ahead = self._done.get((run, unit))
        # Events have to be written, so only a call without any is answered from what was read ahead.
        if not events and ahead is not None and ahead.fence == fence and name in ahead.steps:
            if ahead.steps[name].request_hash != request_hash:
                raise _changed(name)
            return Recorded(ahead.steps.pop(name).result)
        rows = rows_of(events)

        def work(db: sqlite3.Connection) -> Recorded | Go:
            place = self._rows.held(db, run, path, fence)
            query = "SELECT attempt, hash FROM intents WHERE unit = ? AND key = ? ORDER BY attempt DESC LIMIT 1"
            attempt, recorded_hash = db.execute(query, (place, name)).fetchone() or (0, request_hash)
            if recorded_hash != request_hash:
                raise _changed(name)
            self._rows.record(db, run, rows)
            if attempt:  # without an intent there is no result to look for: most steps save one question
                query = "SELECT data, seal FROM results WHERE unit = ? AND key = ?"
                done = db.execute(query, (place, name)).fetchone()
                if done is not None:
                    return Recorded(unpacked(db, done, name))
            db.execute("INSERT INTO intents VALUES (?, ?, ?, ?)", (place, name, attempt + 1, request_hash))
            return Go(attempt + 1)

        told = await self._writer.run(work, texts=texts_of(rows))
        self._tell(rows)
        return told

    async def finish(
        self, run: str, unit: Unit, key: StepKey, fence: Fence, result: Any, events: Sequence[Event] = ()
    ) -> None:
        (data, bodies), rows = packed(result), rows_of(events)
        tokens, cost = spent_in(result)
        path, name = unit.path, text_of(unit, key)

        def work(db: sqlite3.Connection) -> None:
            place = self._rows.held(db, run, path, fence)
            self._rows.keep(db, bodies)
            row = (place, name, data, seal(data, name), tokens, cost)
            # A result never changes: the first that was recorded stays.
            db.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?)", row)
            self._rows.record(db, run, rows)

        await self._writer.run(work, texts=[bodies, *texts_of(rows)])
        self._tell(rows)

    async def give_up(self, run: str, unit: Unit, key: StepKey, fence: Fence) -> None:
        path, name = unit.path, text_of(unit, key)

        def work(db: sqlite3.Connection) -> None:
            query = (
                "INSERT OR IGNORE INTO given_up SELECT unit, key, max(attempt) FROM intents WHERE unit = ? AND key = ?"
            )
            db.execute(query, (self._rows.held(db, run, path, fence), name))

        await self._writer.run(work)

    async def end(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        path, rows = unit.path, rows_of(events)

        def work(db: sqlite3.Connection) -> None:
            self._rows.end(db, run, path, fence)
            self._rows.record(db, run, rows)

        await self._writer.run(work, texts=texts_of(rows))
        self._done.pop((run, unit), None)
        self._tell(rows)

    async def park(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        await self.record(run, unit, fence, events)
        self._done.pop((run, unit), None)

    async def record(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event]) -> None:
        path, rows = unit.path, rows_of(events)

        def work(db: sqlite3.Connection) -> None:
            self._rows.held(db, run, path, fence)
            self._rows.record(db, run, rows)

        await self._writer.run(work, texts=texts_of(rows))
        self._tell(rows)

    # -- events

    async def append(self, run: str, events: Sequence[Event]) -> None:
        if rows := rows_of(events):
            await self._writer.run(lambda db: self._rows.record(db, run, rows), texts=texts_of(rows))
            self._tell(rows)

    # -- what others say

    async def signal(self, run: str, name: str, value: Any, idempotency_key: str) -> Any:
        data, bodies = packed(value)

        def work(db: sqlite3.Connection) -> Any:
            place = self._rows.run(db, run)
            query = "SELECT name, value, seal FROM signals WHERE run = ? AND key = ?"
            # One transaction asks and enters: of two processes that answer at once, one is told that it came second.
            if (there := db.execute(query, (place, idempotency_key)).fetchone()) is not None:
                return unpacked(db, there[1:], there[0])
            self._rows.keep(db, bodies)
            row = (place, idempotency_key, name, data, seal(data, name))
            db.execute("INSERT INTO signals (run, key, name, value, seal) VALUES (?, ?, ?, ?, ?)", row)
            return value

        stands = await self._writer.run(work, texts=[bodies])
        self._wake()
        return stands

    async def request_cancel(self, run: str) -> None:
        await self._writer.run(
            lambda db: db.execute("INSERT OR IGNORE INTO cancels VALUES (?)", (self._rows.run(db, run),))
        )

    # -- opening and closing

    async def aclose(self) -> None:
        self._is_closed = True
        if self._opened is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._opened.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _tell(self, rows: Sequence[EventRow]) -> None:
        if rows:
            self._wake()


def _led_to(path: Path) -> Path:
    """Return where a link leads: SQLite keeps the log there, and a run has one driver under either name."""
    with suppress(OSError):  # reported when the file is opened
        return Path(os.path.realpath(path)) if path.is_symlink() else path
    return path


def _changed(name: str) -> StepChanged:
    return StepChanged(f"{name} was recorded for another request")
