"""What a PostgreSQL journal tells. Each answer is of one state of the record, and waits for no writer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any

import anyio

from agents.run_context import StepKey
from orchestrator.errors import RunNotFound
from orchestrator.events import Event
from orchestrator.journal.codec import recorded_name
from orchestrator.journal.postgres.connecting import Database, PostgresConnection
from orchestrator.journal.postgres.leases import TOLD, Leases
from orchestrator.journal.postgres.operations import decoded, encoded, named, reports_of, signals_of
from orchestrator.journal.postgres.spending import spent, turns
from orchestrator.journal.postgres.texts import Texts, value_in
from orchestrator.journal.postgres.wakes import POLL_S, Wakes
from orchestrator.journal.protocols import InFlightStep, JournalDamaged, RunLine, RunManifest, StepRecord, UnitReport
from orchestrator.journal.records import is_good_id
from orchestrator.journal.spent import SpentBy, SpentRow
from orchestrator.units import Unit, key_of, place_of, unit_of

_ID = "(SELECT id FROM orchestrator.runs WHERE run = %(run)s)"
_MANIFESTS = f"SELECT data FROM orchestrator.manifests WHERE run = {_ID} ORDER BY number"  # noqa: S608  # made of constants
EVENTS = f"""
    SELECT e.seq, p.path, e.turn, e.number, e.at, e.data
    FROM orchestrator.events e CROSS JOIN LATERAL (
        SELECT path FROM orchestrator.places p WHERE p.run = e.run AND p.place = e.place OFFSET 0
    ) p
    WHERE e.run = {_ID} AND e.seq > %(after)s
    """  # noqa: S608  # as above
"""Each place is looked up by its key, as in `loading.py`."""
_OF_UNIT = f"""
    SELECT e.seq, p.path, e.turn, e.number, e.at, e.data
    FROM orchestrator.places p CROSS JOIN LATERAL (
        SELECT * FROM orchestrator.events e WHERE e.run = p.run AND e.place = p.place OFFSET 0
    ) e
    WHERE p.run = {_ID} AND p.unit = %(unit)s ORDER BY e.seq
    """  # noqa: S608  # as above
_STEPS = f"""
    SELECT u.path, s.name, s.hash, s.in_flight, s.data
    FROM orchestrator.steps s CROSS JOIN LATERAL (
        SELECT * FROM orchestrator.units u WHERE u.run = s.run AND u.unit = s.unit OFFSET 0
    ) u
    WHERE s.run = {_ID} AND s.attempts > 0
    """  # noqa: S608  # as above
MOST_READ_AHEAD = 1000
_IN_FLIGHT = "AND s.data IS NULL AND s.in_flight > 0 AND NOT u.ended"
_LAST = "SELECT last_seq FROM orchestrator.runs WHERE run = %(run)s"
_SIGNALS = f"SELECT name, data FROM orchestrator.signals WHERE run = {_ID} ORDER BY id"  # noqa: S608  # as above
_REPORTS = f"SELECT number, path, data FROM orchestrator.reports WHERE run = {_ID} ORDER BY number"  # noqa: S608  # as above
_CANCELLED = "SELECT cancelled FROM orchestrator.runs WHERE run = %(run)s"
_ROOM = """
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'orchestrator' AND c.relkind = 'r'
    """


class PostgresReader:
    """The half of a `Journal` that reads. Raises `JournalUnusable` and `JournalDamaged`."""

    def __init__(self, database: Database, wakes: Wakes, leases: Leases, mark: str) -> None:
        self._database = database
        self._wakes = wakes
        self._leases = leases
        self._mark = mark

    async def _rows(self, query: str, run: str = "", **given: Any) -> list[Any]:
        return await self._database.look(lambda connection: fetched(connection, query, run=asked_for(run), **given))

    async def _value(self, data: bytes) -> Any:
        return await self._database.look(lambda connection: value_in(connection, data))

    # -- runs

    async def manifest(self, run: str) -> RunManifest:
        return (await self.manifests(run))[-1]

    async def manifests(self, run: str) -> Sequence[RunManifest]:
        async def work(connection: PostgresConnection) -> list[RunManifest]:
            rows = await fetched(connection, _MANIFESTS, run=asked_for(run))
            texts = await Texts.of(connection, [data for (data,) in rows])
            return [texts.value(data) for (data,) in rows]

        found = await self._database.read(work)
        if not found:
            raise RunNotFound(f"there is no run {run} in {self._database.where}")
        return found

    async def runs(
        self,
        limit: int | None = 100,
        *,
        statuses: Collection[str] = (),
        squad: str | None = None,
        asking: bool = False,
        skip: int = 0,
    ) -> Sequence[RunLine]:
        where, given = _wanted(statuses, squad, asking)
        query = f"""
            SELECT run, squad, created_at, status, cost FROM orchestrator.runs {where} ORDER BY id DESC
            LIMIT %(most)s OFFSET %(skip)s
            """  # noqa: S608  # marks
        rows = await self._rows(query, most=limit, skip=skip, **given)
        return [RunLine(run, decoded(of), at, status, cost) for run, of, at, status, cost in rows]

    async def run_count(self, *, statuses: Collection[str] = (), squad: str | None = None) -> int:
        where, given = _wanted(statuses, squad)
        rows = await self._rows(f"SELECT count(*) FROM orchestrator.runs {where}", **given)  # noqa: S608  # marks
        return int(rows[0][0])

    async def is_driven(self, run: str) -> bool:
        return await self._leases.is_driven(run)

    def is_at_home(self, manifest: RunManifest) -> bool:
        return self._mark in manifest.home

    async def room(self) -> int:
        return int((await self._rows(_ROOM))[0][0])

    # -- steps

    async def cut_short(self, run: str, unit: Unit | None = None) -> Sequence[InFlightStep]:
        one = "" if unit is None else "AND s.unit = %(unit)s"
        query = f"{_STEPS} {_IN_FLIGHT} {one} ORDER BY u.path, s.name"
        rows = await self._rows(query, run, unit=None if unit is None else named(unit.path).key)
        found = [(unit_of(decoded(path)), decoded(name)) for path, name, *_ in rows]
        return [InFlightStep(of, key_of(of, name)) for of, name in found]

    async def steps(self, run: str) -> Sequence[StepRecord]:
        return await self._steps(f"{_STEPS} ORDER BY u.path, s.name", run)

    async def _done_in(self, run: str, unit: Unit) -> dict[StepKey, StepRecord]:
        """Return the steps that have ended in a unit; not all of one that has very many."""
        query, of = f"{_STEPS} AND s.unit = %(unit)s AND s.data IS NOT NULL LIMIT %(most)s", named(unit.path).key
        return {step.key: step for step in await self._steps(query, run, unit=of, most=MOST_READ_AHEAD)}

    async def _steps(self, query: str, run: str, **given: Any) -> list[StepRecord]:
        async def work(connection: PostgresConnection) -> list[StepRecord]:
            rows = await fetched(connection, query, run=asked_for(run), **given)
            texts = await Texts.of(connection, [row[-1] for row in rows if row[-1] is not None])
            return [_step_of(texts, *row) for row in rows]

        return await self._database.read(work)

    # -- events

    async def events(self, run: str, after_seq: int = 0, most: int | None = None) -> Sequence[Event]:
        return [event for _, event in await self._after(run, after_seq, most)]

    async def events_of_unit(self, run: str, unit: Unit) -> Sequence[Event]:
        return [event for _, event in await self._some(run, _OF_UNIT, unit=named(unit.path).key)]

    async def events_of_kinds(
        self, run: str, kinds: Collection[type], after_seq: int = 0
    ) -> Sequence[tuple[int, Event]]:
        query = f"{EVENTS} AND e.kind = ANY(%(kinds)s) ORDER BY e.seq"
        return await self._some(run, query, after=after_seq, kinds=[*map(recorded_name, kinds)])

    async def last_seq(self, run: str) -> int:
        rows = await self._rows(_LAST, run)
        return int(rows[0][0]) if rows else 0

    async def watch(self, run: str, after_seq: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        seq, pause_s = after_seq, POLL_S
        while True:
            grown = self._wakes.next_of(run)
            for number, event in await self._after(run, seq):
                seq, pause_s = number, POLL_S
                yield number, event
            with anyio.move_on_after(pause_s):
                await grown.wait()
            pause_s = self._wakes.longest(pause_s)

    async def _after(self, run: str, after_seq: int, most: int | None = None) -> list[tuple[int, Event]]:
        async def work(connection: PostgresConnection) -> list[tuple[int, Event]]:
            query, known_as = f"{EVENTS} ORDER BY e.seq LIMIT %(most)s", asked_for(run)
            rows = await fetched(connection, query, run=known_as, after=after_seq, most=most)
            if len(rows) == most:
                expected = after_seq + len(rows)
            else:
                last = await fetched(connection, _LAST, run=known_as)
                expected = max(last[0][0] if last else 0, after_seq)
            if [row[0] for row in rows] != [*range(after_seq + 1, expected + 1)]:
                raise JournalDamaged("events are missing")
            return await events_of(connection, run, rows)

        return await self._database.read(work)

    async def _some(self, run: str, query: str, **given: Any) -> list[tuple[int, Event]]:
        async def work(connection: PostgresConnection) -> list[tuple[int, Event]]:
            return await events_of(connection, run, await fetched(connection, query, run=asked_for(run), **given))

        return await self._database.look(work)

    async def spent(self, by: Sequence[SpentBy], since: float = 0.0) -> Sequence[SpentRow]:
        return (await self.spent_in_ways((by, since)))[0]

    async def spent_in_ways(self, *ways: tuple[Sequence[SpentBy], float]) -> Sequence[Sequence[SpentRow]]:
        return await self._database.read(lambda connection: spent(connection, ways))

    async def turns(self, since: float, until: float, most: int) -> Sequence[Event]:
        return await self._database.read(lambda connection: turns(connection, since, until, most))

    # -- what others say

    async def signals(self, run: str) -> Sequence[tuple[str, Any]]:
        async def work(connection: PostgresConnection) -> list[tuple[str, Any]]:
            rows = await fetched(connection, _SIGNALS, run=asked_for(run))
            texts = await Texts.of(connection, [data for _, data in rows])
            return [(decoded(name), texts.value(data)) for name, data in rows]

        return await self._database.look(work)

    async def watch_signals(self, run: str) -> AsyncGenerator[tuple[str, Any], None]:
        told, pause_s = 0, POLL_S
        while True:
            grown = self._wakes.next_of(signals_of(run))
            for signal in (await self.signals(run))[told:]:
                told, pause_s = told + 1, POLL_S
                yield signal
            with anyio.move_on_after(pause_s):
                await grown.wait()
            pause_s = self._wakes.longest(pause_s)

    async def told(self) -> Sequence[str]:
        return [run for (run,) in await self._rows(TOLD)]

    # -- what other processes say of units

    async def reports(self, run: str) -> Sequence[UnitReport]:
        async def work(connection: PostgresConnection) -> list[UnitReport]:
            rows = await fetched(connection, _REPORTS, run=asked_for(run))
            texts = await Texts.of(connection, [data for *_, data in rows])
            return [UnitReport(number, unit_of(decoded(path)), texts.value(data)) for number, path, data in rows]

        return await self._database.look(work)

    async def watch_reports(self, run: str) -> AsyncGenerator[Sequence[UnitReport], None]:
        number, pause_s = 0, POLL_S
        while True:
            grown = self._wakes.next_of(reports_of(run))
            if new := [report for report in await self.reports(run) if report.number > number]:
                number, pause_s = new[-1].number, POLL_S
                yield new
                continue
            with anyio.move_on_after(pause_s):
                await grown.wait()
            pause_s = self._wakes.longest(pause_s)

    async def cancel_requested(self, run: str) -> bool:
        rows = await self._rows(_CANCELLED, run)
        return bool(rows and rows[0][0])


def asked_for(run: str) -> str:
    """Return the id that a query asks for: what is no run's id is no text that PostgreSQL takes, perhaps."""
    return run if is_good_id(run) else ""


async def fetched(connection: PostgresConnection, query: str, **given: Any) -> list[Any]:
    """Return the rows of a query."""
    return await (await connection.execute(query.encode(), given, binary=True)).fetchall()


async def events_of(connection: PostgresConnection, run: str, rows: Sequence[Any]) -> list[tuple[int, Event]]:
    texts = await Texts.of(connection, [row[-1] for row in rows])
    return [
        (seq, Event(run, *place_of(decoded(path)), turn, number, at, texts.value(data)))
        for seq, path, turn, number, at, data in rows
    ]


def _step_of(
    texts: Texts, path: bytes, name: bytes, request_hash: bytes, in_flight: int, data: bytes | None
) -> StepRecord:
    unit, done = unit_of(decoded(path)), data is not None
    result = None if data is None else texts.value(data)
    return StepRecord(unit, key_of(unit, decoded(name)), request_hash, done, result, not done and in_flight > 0)


def _wanted(statuses: Collection[str], squad: str | None, asking: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the condition for such runs, and what stands for its marks."""
    tests = ["status = ANY(%(statuses)s)"] * bool(statuses) + ["squad = %(squad)s"] * (squad is not None)
    tests += ["asked"] * asking
    given = {"statuses": list(statuses), "squad": b"" if squad is None else encoded(squad)}
    return f"WHERE {' AND '.join(tests)}" if tests else "", given
