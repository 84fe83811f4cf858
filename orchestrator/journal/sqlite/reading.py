"""What a SQLite journal tells. Readers have connections of their own, and never wait for the one that writes."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import anyio

from orchestrator.errors import RunNotFound
from orchestrator.events import Event
from orchestrator.journal.protocols import (
    InFlightStep,
    JournalDamaged,
    RunLine,
    RunManifest,
    StepRecord,
)
from orchestrator.journal.records import refuse_bad_id
from orchestrator.journal.spent import SpentBy, SpentRow
from orchestrator.journal.sqlite.asking import AskingRuns
from orchestrator.journal.sqlite.bills import spent
from orchestrator.journal.sqlite.file import JournalFile
from orchestrator.journal.sqlite.home import home_of
from orchestrator.journal.sqlite.lock import is_locked
from orchestrator.journal.sqlite.sealing import Unpacking, unpacked
from orchestrator.journal.sqlite.traffic import turns
from orchestrator.units import Unit, key_of, place_of, unit_of

POLL_S, SELDOM_S = 0.2, 15.0
"""How often a watcher looks for what another process recorded: an answer that has been awaited for long may wait."""
LAST_OF_RUN = """
    SELECT coalesce(max(seq), 0) FROM places p JOIN events e INDEXED BY event_ids ON e.place = p.id
    WHERE p.run = (SELECT id FROM runs WHERE run = ?)
    """
"""Asks an index, not the table itself: a row that is missing from one of them is still in the other."""


class SqliteReader:
    """The half of a `Journal` that reads. Raises `JournalUnusable` and `JournalDamaged`."""

    def __init__(self, file: JournalFile) -> None:
        self.path = file.path
        self._file = file
        self._grown = anyio.Event()
        self._asking = AskingRuns()

    # -- runs

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
            refuse_bad_id(run)
            return [unpacked(db, row[:2], run) for row in rows]

        return await self._file.read(work)

    async def runs(
        self,
        limit: int | None = 100,
        *,
        statuses: Collection[str] = (),
        squad: str | None = None,
        asking: bool = False,
        skip: int = 0,
    ) -> Sequence[RunLine]:
        where, given = _wanted(statuses, squad)
        query = f"SELECT id, run, squad, created_at, status, cost FROM runs {where} ORDER BY id DESC LIMIT ? OFFSET ?"  # noqa: S608  # marks
        most = -1 if limit is None else limit

        def work(db: sqlite3.Connection) -> list[RunLine]:
            if not asking:
                return [_line_of(*row) for _, *row in db.execute(query, (*given, most, skip))]
            rows = self._asking.among(db, db.execute(query, (*given, -1, 0)).fetchall())
            return [_line_of(*row) for row in islice(rows, skip, None if limit is None else skip + limit)]

        return await self._file.read(work)

    async def run_count(self, *, statuses: Collection[str] = (), squad: str | None = None) -> int:
        where, given = _wanted(statuses, squad)
        query = f"SELECT count(*) FROM runs {where}"  # noqa: S608  # marks
        return await self._file.read(lambda db: int(db.execute(query, given).fetchone()[0]))

    def driven(self) -> list[str]:
        """Return the runs that some process drives now."""
        locks = sorted(self._locks.glob("*.lock")) if self._locks.is_dir() else []
        return [lock.stem for lock in locks if is_locked(lock)]

    def is_at_home(self, manifest: RunManifest) -> bool:
        return bool(set(manifest.home) & set(home_of(self.path)))

    async def is_driven(self, run: str) -> bool:
        return is_locked(self._lock_of(run))

    async def room(self) -> int:
        parts = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def _lock_of(self, run: str) -> Path:
        refuse_bad_id(run)
        return self._locks / f"{run}.lock"

    @property
    def _locks(self) -> Path:
        return self.path.with_name(f"{self.path.name}-locks")

    # -- steps

    async def cut_short(self, run: str, unit: Unit | None = None) -> Sequence[InFlightStep]:
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
            return [InFlightStep(one, key_of(one, name)) for one, name in found if unit in (None, one)]

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

    async def events(self, run: str, after_seq: int = 0, most: int | None = None) -> Sequence[Event]:
        return [event for _, event in await self._after(run, after_seq, most)]

    async def events_of_unit(self, run: str, unit: Unit) -> Sequence[Event]:
        return [event for _, event in await self._after(run, 0) if event.unit == unit]

    async def events_of_kinds(
        self, run: str, kinds: Collection[type], after_seq: int = 0
    ) -> Sequence[tuple[int, Event]]:
        wanted = tuple(kinds)
        return [one for one in await self._after(run, after_seq) if isinstance(one[1].data, wanted)]

    async def last_seq(self, run: str) -> int:
        query = "SELECT coalesce(max(seq), 0) FROM events WHERE run = (SELECT id FROM runs WHERE run = ?)"
        return await self._file.read(lambda db: int(db.execute(query, (run,)).fetchone()[0]))

    async def watch(self, run: str, after_seq: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        seq = after_seq
        while True:
            grown = self._grown
            for number, event in await self._after(run, seq):
                seq = number
                yield number, event
            with anyio.move_on_after(POLL_S):
                await grown.wait()

    async def _after(self, run: str, after_seq: int, most: int | None = None) -> list[tuple[int, Event]]:
        query = """
            SELECT seq, path, turn, number, at, data, seal
            FROM events JOIN places ON places.id = place AND places.run = events.run
            WHERE events.run = (SELECT id FROM runs WHERE run = ?) AND seq > ? ORDER BY seq LIMIT ?
            """

        def work(db: sqlite3.Connection) -> list[tuple[int, Event]]:
            rows = db.execute(query, (run, after_seq, -1 if most is None else most)).fetchall()
            is_all = not after_seq and len(rows) != most
            expected = db.execute(LAST_OF_RUN, (run,)).fetchone()[0] if is_all else after_seq + len(rows)
            # A flipped bit may move a row out of the range that was read: a gap is damage, never a shorter record.
            if [row[0] for row in rows] != [*range(after_seq + 1, expected + 1)]:
                raise JournalDamaged("events are missing")
            value = Unpacking(db).value
            return [
                (seq, Event(run, *place_of(path), turn, number, at, value(sealed, seq, path, turn, number, at)))
                for seq, path, turn, number, at, *sealed in rows
            ]

        return await self._file.read(work)

    async def spent(self, by: Sequence[SpentBy], since: float = 0.0) -> Sequence[SpentRow]:
        return (await self.spent_in_ways((by, since)))[0]

    async def spent_in_ways(self, *ways: tuple[Sequence[SpentBy], float]) -> Sequence[Sequence[SpentRow]]:
        return await self._file.read(lambda db: spent(db, ways))

    async def turns(self, since: float, until: float, most: int) -> Sequence[Event]:
        return await self._file.read(lambda db: list(turns(db, since, until, most)))

    # -- what others say

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

    async def cancel_requested(self, run: str) -> bool:
        query = "SELECT 1 FROM cancels WHERE run = (SELECT id FROM runs WHERE run = ?)"
        return await self._file.read(lambda db: db.execute(query, (run,)).fetchone() is not None)

    def _wake(self) -> None:
        grown, self._grown = self._grown, anyio.Event()
        grown.set()


def _wanted(statuses: Collection[str], squad: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the condition for such runs, and what stands for its marks."""
    marks = ", ".join("?" * len(statuses))
    tests = [f"status IN ({marks})"] * bool(statuses) + ["squad = ?"] * (squad is not None)
    return f"WHERE {' AND '.join(tests)}" if tests else "", (*statuses, *([] if squad is None else [squad]))


def _line_of(run: str, squad: Any, created_at: Any, status: Any, cost: Any) -> RunLine:
    refuse_bad_id(run)
    if not (isinstance(squad, str) and isinstance(status, str) and isinstance(cost, int | None)):
        raise JournalDamaged("a run's row is not what was written")
    return RunLine(run, squad, float(created_at), status, cost)
