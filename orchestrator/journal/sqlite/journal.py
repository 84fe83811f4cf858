"""The journal in one SQLite file: what the command line uses. See `schema.py` for its tables.

WAL and synchronous=FULL: what `finish` returned from is on disk. One thread writes (`writer.py`); readers have
connections of their own and never wait for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
import anyio.to_thread

from agents.turn import StepKey
from orchestrator.errors import RunNotFound
from orchestrator.events import Event
from orchestrator.journal.protocols import (
    Fence,
    Go,
    InFlightStep,
    JournalDamaged,
    JournalError,
    Recorded,
    RunExists,
    RunLine,
    RunManifest,
    StepChanged,
    StepRecord,
)
from orchestrator.journal.sqlite.bills import bills
from orchestrator.journal.sqlite.file import JournalFile
from orchestrator.journal.sqlite.lock import is_locked, locked
from orchestrator.journal.sqlite.sql import DoneStep, EventRow, Rows, StepRow, packed, rows_of, seal, spent_in, unpacked
from orchestrator.journal.sqlite.upkeep import reclaim, remove_run
from orchestrator.journal.sqlite.writer import Writer
from orchestrator.units import Unit, key_of, place_of, text_of, unit_of

POLL_S, SELDOM_S = 0.2, 15.0
"""How often a watcher looks for what another process recorded: an answer that has been awaited for long may wait."""
LAST_OF_RUN = """
    SELECT coalesce(max(seq), 0) FROM places p JOIN events e INDEXED BY event_ids ON e.place = p.id
    WHERE p.run = (SELECT id FROM runs WHERE run = ?)
    """
"""Asks an index, not the table itself: a row that is missing from one of them is still in the other."""


class _Done(NamedTuple):
    """The finished steps of a unit, as it was claimed under `fence`. A result never changes, so they stay true."""

    fence: Fence | None
    steps: dict[str, DoneStep]


class SqliteJournal:
    """A `Journal` in the file `path`, made where there is none.

    Raises `JournalUnusable` where the folder or the file cannot be written, and `JournalDamaged` for a file that is not
    what SQLite wrote; then a copy of it is kept beside it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._rows = Rows()
        self._done: dict[tuple[str, Unit], _Done] = {}
        """What units that were claimed again will ask for first: they reach their first new step without waiting."""
        self._file = JournalFile(self.path)
        with self._file.explained():
            self._file.make_folder()
            connection = self._file.open()
        self._writer = Writer(connection, self._file.explain, self._rows)
        self._grown = anyio.Event()

    # -- runs

    async def create(
        self, run: str, manifest: RunManifest, events: Sequence[Event] = (), steps: Sequence[StepRecord] = ()
    ) -> None:
        (data, bodies), rows = packed(manifest), rows_of(events)
        taken = [StepRow.of(step) for step in steps]

        def work(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM runs WHERE run = ?", (run,)).fetchone():
                raise RunExists(f"there is a run {run} already")
            self._rows.keep(db, bodies)
            self._rows.insert_run(db, run, manifest, data)
            self._rows.take_over(db, run, taken)
            self._rows.record(db, run, rows)

        await self._writer.run(work)

    async def edit(
        self,
        run: str,
        manifest: RunManifest,
        events: Sequence[Event],
        steps: Sequence[StepRecord] = (),
        over: Collection[Unit] = (),
    ) -> None:
        (data, bodies), rows = packed(manifest), rows_of(events)
        taken = [StepRow.of(step) for step in steps]

        def work(db: sqlite3.Connection) -> None:
            self._rows.keep(db, bodies)
            self._rows.edit_run(db, run, manifest, data)
            self._rows.take_over(db, run, taken)
            self._rows.make_final(db, run, over)
            self._rows.record(db, run, rows)

        await self._writer.run(work)
        self._tell(rows)

    async def manifest(self, run: str) -> RunManifest:
        return (await self.manifests(run))[-1]

    async def manifests(self, run: str) -> Sequence[RunManifest]:
        query = """
            SELECT r.about, r.seal, 0 AS number FROM runs r WHERE r.run = :run
            UNION ALL SELECT e.about, e.seal, e.number FROM runs r JOIN edits e ON e.run = r.id WHERE r.run = :run
            ORDER BY number
            """

        def work(db: sqlite3.Connection) -> list[RunManifest]:
            rows = db.execute(query, {"run": run}).fetchall()
            if not rows:
                raise RunNotFound(f"there is no run {run} in {self.path}")
            return [unpacked(db, row[:2], run) for row in rows]

        return await self._file.read(work)

    async def runs(
        self, limit: int | None = 100, *, statuses: Collection[str] = (), squad: str | None = None
    ) -> Sequence[RunLine]:
        marks = ", ".join("?" * len(statuses))
        tests = [f"status IN ({marks})"] * bool(statuses) + ["squad = ?"] * (squad is not None)
        where = f"WHERE {' AND '.join(tests)}" if tests else ""
        query = f"SELECT run, squad, created_at, status, cost FROM runs {where} ORDER BY id DESC LIMIT ?"  # noqa: S608  # marks
        given = (*statuses, *([squad] * (squad is not None)), -1 if limit is None else limit)
        return await self._file.read(lambda db: [RunLine(*row) for row in db.execute(query, given)])

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
            with self._file.explained(), closing(self._file.connect()) as db:
                reclaim(db)

        await anyio.to_thread.run_sync(work)
        return True

    def driven(self) -> list[str]:
        """Return the runs that some process drives now."""
        locks = sorted(self._locks.glob("*.lock")) if self._locks.is_dir() else []
        return [lock.stem for lock in locks if is_locked(lock)]

    @asynccontextmanager
    async def driving(self, run: str) -> AsyncIterator[None]:
        with locked(self._lock_of(run), f"the run {run}"):
            try:
                yield
            finally:
                # An empty job behind all others: the lock must not go before what was handed over is on disk.
                with anyio.CancelScope(shield=True), suppress(JournalError):  # a broken writer was told already
                    await self._writer.run(lambda _: None, last=True)

    async def is_driven(self, run: str) -> bool:
        return is_locked(self._lock_of(run))

    async def room(self) -> int:
        parts = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def _lock_of(self, run: str) -> Path:
        return self._locks / f"{run}.lock"

    @property
    def _locks(self) -> Path:
        return self.path.with_name(f"{self.path.name}-locks")

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

        told = await self._writer.run(work)
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

        await self._writer.run(work)
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

        await self._writer.run(work)
        self._done.pop((run, unit), None)
        self._tell(rows)

    async def park(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        path, rows = unit.path, rows_of(events)

        def work(db: sqlite3.Connection) -> None:
            self._rows.held(db, run, path, fence)
            self._rows.record(db, run, rows)

        await self._writer.run(work)
        self._done.pop((run, unit), None)
        self._tell(rows)

    async def cut_short(self, run: str) -> Sequence[InFlightStep]:
        query = """
            SELECT DISTINCT p.path, i.key FROM runs JOIN places p ON p.run = runs.id JOIN intents i ON i.unit = p.id
            WHERE runs.run = ? AND NOT EXISTS (SELECT 1 FROM ends e WHERE e.unit = i.unit)
            AND NOT EXISTS (SELECT 1 FROM results r WHERE r.unit = i.unit AND r.key = i.key)
            AND NOT EXISTS (
                SELECT 1 FROM given_up g WHERE g.unit = i.unit AND g.key = i.key AND g.attempt = i.attempt
            )
            ORDER BY p.path, i.key
            """

        def work(db: sqlite3.Connection) -> list[InFlightStep]:
            found = [(unit_of(path), name) for path, name in db.execute(query, (run,))]
            return [InFlightStep(unit, key_of(unit, name)) for unit, name in found]

        return await self._file.read(work)

    async def steps(self, run: str) -> Sequence[StepRecord]:
        query = """
            SELECT p.path, i.key, max(i.attempt), i.hash, r.data, r.seal, count(g.attempt) < count(*)
            FROM runs JOIN places p ON p.run = runs.id JOIN intents i ON i.unit = p.id
            LEFT JOIN results r ON r.unit = i.unit AND r.key = i.key
            LEFT JOIN given_up g ON g.unit = i.unit AND g.key = i.key AND g.attempt = i.attempt
            WHERE runs.run = ? GROUP BY i.unit, i.key ORDER BY p.path, i.key
            """

        def work(db: sqlite3.Connection) -> list[StepRecord]:
            found = []
            for path, name, _, request_hash, *sealed, unknown in db.execute(query, (run,)).fetchall():
                done, unit = sealed[0] is not None, unit_of(path)
                result = unpacked(db, sealed, name) if done else None
                found.append(
                    StepRecord(unit, key_of(unit, name), request_hash, done, result, not done and bool(unknown))
                )
            return found

        return await self._file.read(work)

    # -- events

    async def append(self, run: str, events: Sequence[Event]) -> None:
        if rows := rows_of(events):
            await self._writer.run(lambda db: self._rows.record(db, run, rows))
            self._tell(rows)

    async def events(self, run: str, after_seq: int = 0) -> Sequence[Event]:
        return [event for _, event in await self._after(run, after_seq)]

    async def watch(self, run: str, after_seq: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        seq = after_seq
        while True:
            grown = self._grown
            for number, event in await self._after(run, seq):
                seq = number
                yield number, event
            with anyio.move_on_after(POLL_S):
                await grown.wait()

    async def _after(self, run: str, after_seq: int) -> list[tuple[int, Event]]:
        query = """
            SELECT seq, path, turn, number, at, data, seal FROM events JOIN places ON places.id = place
            WHERE events.run = (SELECT id FROM runs WHERE run = ?) AND seq > ? ORDER BY seq
            """

        def work(db: sqlite3.Connection) -> list[tuple[int, Event]]:
            rows = db.execute(query, (run, after_seq)).fetchall()
            expected = after_seq + len(rows) if after_seq else db.execute(LAST_OF_RUN, (run,)).fetchone()[0]
            # A flipped bit may move a row out of the range that was read: a gap is damage, never a shorter record.
            if [row[0] for row in rows] != [*range(after_seq + 1, expected + 1)]:
                raise JournalDamaged("events are missing")
            return [
                (seq, Event(run, *place_of(path), turn, number, at, unpacked(db, sealed, seq, path, turn, number, at)))
                for seq, path, turn, number, at, *sealed in rows
            ]

        return await self._file.read(work)

    async def bills(self, since: float = 0.0) -> Sequence[Event]:
        return await self._file.read(lambda db: list(bills(db, since)))

    # -- what others say

    async def signal(self, run: str, name: str, value: Any, idempotency_key: str) -> None:
        data, bodies = packed(value)

        def work(db: sqlite3.Connection) -> None:
            self._rows.keep(db, bodies)
            row = (self._rows.run(db, run), idempotency_key, name, data, seal(data, name))
            db.execute("INSERT OR IGNORE INTO signals (run, key, name, value, seal) VALUES (?, ?, ?, ?, ?)", row)

        await self._writer.run(work)
        self._wake()

    async def signals(self, run: str) -> Sequence[tuple[str, Any]]:
        query = "SELECT name, value, seal FROM signals WHERE run = (SELECT id FROM runs WHERE run = ?) ORDER BY id"
        return await self._file.read(
            lambda db: [(name, unpacked(db, v, name)) for name, *v in db.execute(query, (run,))]
        )

    async def watch_signals(self, run: str) -> AsyncGenerator[tuple[str, Any], None]:
        told, pause = 0, POLL_S
        while True:
            grown = self._grown
            for signal in (await self.signals(run))[told:]:
                told, pause = told + 1, POLL_S
                yield signal
            with anyio.move_on_after(pause):
                await grown.wait()
            pause = min(SELDOM_S, pause * 1.05)

    async def request_cancel(self, run: str) -> None:
        await self._writer.run(
            lambda db: db.execute("INSERT OR IGNORE INTO cancels VALUES (?)", (self._rows.run(db, run),))
        )

    async def cancel_requested(self, run: str) -> bool:
        query = "SELECT 1 FROM cancels WHERE run = (SELECT id FROM runs WHERE run = ?)"
        return await self._file.read(lambda db: db.execute(query, (run,)).fetchone() is not None)

    # -- opening and closing

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._writer.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _tell(self, rows: Sequence[EventRow]) -> None:
        if rows:
            self._wake()

    def _wake(self) -> None:
        grown, self._grown = self._grown, anyio.Event()
        grown.set()


def _changed(name: str) -> StepChanged:
    return StepChanged(f"{name} was recorded for another request")
