"""The first half of a writing transaction: it locks the runs, and reads all rows that the operations concern.

All of it is one round trip. Runs are locked in the order of their names, and before anything else, so that two
transactions never wait for each other; who waited sees what the other one wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import psycopg

from orchestrator.journal.postgres.connecting import PostgresConnection
from orchestrator.journal.postgres.deciding import Loaded, RunCells, StepCells, UnitCells
from orchestrator.journal.postgres.operations import GiveSignal, JournalCall, placed
from orchestrator.journal.postgres.texts import value_in

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_MAKE = """
    INSERT INTO orchestrator.runs (run, squad, created_at, status) SELECT x, '', 0, 'running' FROM unnest(%b::text[]) x
    ON CONFLICT (run) DO NOTHING RETURNING run
    """
_LOCK = """
    SELECT id, run, squad, status, cost, last_seq, edits, asked, cancelled, reports, told
    FROM orchestrator.runs
    WHERE run = ANY(%b::text[]) ORDER BY run FOR NO KEY UPDATE
    """
# Each row is looked up by its whole key: a plain join of new tables, of which PostgreSQL has no figures yet, reads all
# rows of the run for each. `OFFSET 0` keeps a subquery from being made a join.
_UNITS = """
    SELECT r.id, u.unit, u.path, u.fence, u.ended, u.owner FROM unnest(%b::text[], %b::bytea[]) x (run, unit)
    JOIN orchestrator.runs r ON r.run = x.run
    CROSS JOIN LATERAL (SELECT * FROM orchestrator.units u WHERE u.run = r.id AND u.unit = x.unit OFFSET 0) u
    """
_STEPS = """
    SELECT r.id, s.step, s.unit, s.name, s.hash, s.attempts, s.in_flight, s.given_up, s.data, s.tokens, s.cost
    FROM unnest(%b::text[], %b::bytea[]) x (run, step)
    JOIN orchestrator.runs r ON r.run = x.run
    CROSS JOIN LATERAL (SELECT * FROM orchestrator.steps s WHERE s.run = r.id AND s.step = x.step OFFSET 0) s
    """
_EVENTS = """
    SELECT r.id, e.place, e.turn, e.number
    FROM unnest(%b::text[], %b::bytea[], %b::bigint[], %b::bigint[]) x (run, place, turn, number)
    JOIN orchestrator.runs r ON r.run = x.run
    CROSS JOIN LATERAL (
        SELECT * FROM orchestrator.events e
        WHERE e.run = r.id AND e.place = x.place AND e.turn = x.turn AND e.number = x.number OFFSET 0
    ) e
    """
_SIGNALS = """
    SELECT r.id, s.key, s.data FROM unnest(%b::text[], %b::bytea[]) x (run, key)
    JOIN orchestrator.runs r ON r.run = x.run
    CROSS JOIN LATERAL (
        SELECT * FROM orchestrator.signals s WHERE s.run = r.id AND sha256(s.key) = sha256(x.key) OFFSET 0
    ) s
    """
_TURNS = """
    SELECT r.id, x.place, e.data FROM unnest(%b::text[], %b::bytea[]) x (run, place)
    JOIN orchestrator.runs r ON r.run = x.run
    JOIN LATERAL (
        SELECT data FROM orchestrator.events e WHERE e.run = r.id AND e.place = x.place AND e.kind = 'TurnStarted'
        ORDER BY e.seq + 0 DESC LIMIT 1
    ) e ON true
    """
_DRIVES = "SELECT run, fence FROM orchestrator.drives WHERE run = ANY(%b::text[]) ORDER BY run FOR SHARE"
_COMMITTED = "SELECT mark FROM orchestrator.commits WHERE mark = ANY(%b::bytea[])"

Cursor = psycopg.AsyncCursor[tuple[Any, ...]]


class LoadedBatch:
    """The rows of a batch, and which of the marks that were asked for stand in the record."""

    def __init__(self) -> None:
        self.rows = Loaded()
        self.committed: set[bytes] = set()


async def load(
    connection: PostgresConnection,
    pipeline: psycopg.AsyncPipeline,
    operations: Sequence[JournalCall],
    known_runs: set[str],
    marks: Collection[bytes] = (),
    *,
    begins: bool = True,
) -> LoadedBatch:
    """Begin a transaction, lock the runs and read what the operations concern, in the connection's `pipeline`. In one
    that has begun, know no runs.

    `known_runs` were there before, so that none is made; `marks` are those of commits whose fate is not known. When it
    returns, the server watches that the transaction does not stand still.
    """
    batch = _Batch(operations)
    found = await batch.load(connection, pipeline, known_runs, marks, begins=begins)
    while any(op.makes_run and op.run not in found.rows.runs for op in operations):
        known_runs.clear()  # another process has removed one since
        await connection.execute("ROLLBACK")
        found = await batch.load(connection, pipeline, known_runs, marks, begins=begins)
    return found


async def load_more(
    connection: PostgresConnection,
    pipeline: psycopg.AsyncPipeline,
    operations: Sequence[JournalCall],
    rows: Loaded,
) -> None:
    """Read what further operations concern, each of which `may_join`."""
    batch = _Batch(operations)
    answers = await batch.ask(connection)
    await pipeline.sync()
    await batch.take(connection, pipeline, answers, rows)


def may_join(rows: Loaded, operation: JournalCall) -> bool:
    """Return whether a transaction that loaded these rows has all locks that the operation needs."""
    return operation.run in rows.runs and (operation.driver is None or operation.run in rows.drives)


class _Answers(NamedTuple):
    """What was asked of a batch's rows, and what takes each answer into them."""

    rows: Sequence[tuple[Cursor, Callable[[Loaded, list[Any]], None]]]
    drives: Cursor | None


class _Batch:
    """The keys of all that some operations concern."""

    def __init__(self, operations: Sequence[JournalCall]) -> None:
        self.runs = sorted({op.run for op in operations})
        self.made = sorted({op.run for op in operations if op.makes_run})
        self.driven = sorted({op.run for op in operations if op.driver is not None})
        self.units = {(op.run, unit.key) for op in operations for unit in op.units}
        self.steps = {(op.run, step.key) for op in operations for step in op.steps}
        rows = [(op.run, placed(row.path).place.key, row) for op in operations for row in op.events]
        self.events = {(run, place, row.turn, row.number) for run, place, row in rows}
        self.lost = {(run, place) for run, place, row in rows if row.bill is not None and row.bill.agent is None}
        self.signals = {(op.run, op.key) for op in operations if isinstance(op, GiveSignal)}

    async def load(
        self,
        connection: PostgresConnection,
        pipeline: psycopg.AsyncPipeline,
        known_runs: set[str],
        marks: Collection[bytes],
        *,
        begins: bool,
    ) -> LoadedBatch:
        made = [run for run in self.made if run not in known_runs]
        if begins:
            await connection.execute(BEGIN)
        new = await asked(connection, _MAKE, made) if made else None
        runs = await asked(connection, _LOCK, self.runs)
        answers = await self.ask(connection)
        committed = await asked(connection, _COMMITTED, list(marks)) if marks else None
        await pipeline.sync()
        loaded = LoadedBatch()
        is_new = set() if new is None else {run for (run,) in await new.fetchall()}
        for row in await runs.fetchall():
            run = loaded.rows.runs[row[1]] = RunCells(*row)
            run.is_new = run.run in is_new
        await self.take(connection, pipeline, answers, loaded.rows)
        loaded.committed = set() if committed is None else {mark for (mark,) in await committed.fetchall()}
        return loaded

    async def ask(self, connection: PostgresConnection) -> _Answers:
        """Ask for all rows but those of runs."""
        rows = [
            (await asked(connection, statement, *columns(keys)), take)
            for statement, keys, take in self._questions()
            if keys
        ]
        return _Answers(rows, await asked(connection, _DRIVES, self.driven) if self.driven else None)

    async def take(
        self, connection: PostgresConnection, pipeline: psycopg.AsyncPipeline, answers: _Answers, rows: Loaded
    ) -> None:
        """Take the answers, once they are there."""
        for cursor, take in answers.rows:
            take(rows, await cursor.fetchall())
        if self.lost:
            for run, place, data in await self._turns(connection):
                rows.turns[run, place] = (await value_in(connection, data)).agent
            await pipeline.sync()
        if answers.drives is not None:
            rows.drives.update(await answers.drives.fetchall())

    def _questions(self) -> Iterable[tuple[str, Collection[tuple[Any, ...]], Callable[[Loaded, list[Any]], None]]]:
        yield _UNITS, self.units, _take_units
        yield _STEPS, self.steps, _take_steps
        yield _EVENTS, self.events, _take_events
        yield _SIGNALS, self.signals, _take_signals

    async def _turns(self, connection: PostgresConnection) -> list[tuple[Any, ...]]:
        """Return who had the latest turn where an attempt was lost: rare enough for a round trip of its own."""
        return await (await asked(connection, _TURNS, *columns(self.lost))).fetchall()


def _take_units(rows: Loaded, found: list[Any]) -> None:
    rows.units.update({(run, unit): UnitCells(*cells) for run, unit, *cells in found})


def _take_steps(rows: Loaded, found: list[Any]) -> None:
    rows.steps.update({(run, step): StepCells(*cells) for run, step, *cells in found})


def _take_events(rows: Loaded, found: list[Any]) -> None:
    rows.events.update(found)


def _take_signals(rows: Loaded, found: list[Any]) -> None:
    rows.signals.update({(run, key): data for run, key, data in found})


def columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return rows as one list for each column."""
    return [list(column) for column in zip(*rows, strict=True)]


async def asked(connection: PostgresConnection, statement: str, *given: Any) -> Cursor:
    """Execute a statement that is always the same: it is prepared once, and answered without texts to be parsed."""
    cursor = connection.cursor(binary=True)
    # In binary a list of numbers has the type of its dumper; as text it has that of the smallest list before it.
    return await cursor.execute(statement.replace("%s", "%b").encode(), given, prepare=True)
