"""The journal of one process's life: no disk. What embedders get unless they ask for more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import anyio

from agents.events import TurnEnded, TurnStarted
from agents.run_context import StepKey
from orchestrator.errors import RunNotFound
from orchestrator.events import Event, GateOpened, RunEdited, RunFinished, RunResumed, RunStarted
from orchestrator.journal.protocols import (
    DecideHolds,
    Fence,
    Fenced,
    Go,
    HeldCall,
    InFlightStep,
    Recorded,
    RunBusy,
    RunExists,
    RunLine,
    RunManifest,
    StepChanged,
    StepRecord,
    UnitReport,
)
from orchestrator.journal.spent import SpentBy, SpentRow, added_up, own_events, spent_in
from orchestrator.units import Unit, text_of
from providers.events import AttemptEnded, WaitingForProvider


@dataclass(slots=True)
class _Unit:
    fence: Fence = 0
    ended: bool = False
    steps: dict[StepKey, _Step] = field(default_factory=dict)


@dataclass(slots=True)
class _Step:
    request_hash: bytes
    attempts: int = 0
    in_flight: int = 0
    """Attempts that were begun and have no recorded end."""
    given_up: int = 0
    """The latest attempt that ended without a result."""
    result: Any = None
    done: bool = False


@dataclass(slots=True)
class _Run:
    manifest: RunManifest | None = None
    former: list[RunManifest] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    places: set[tuple[Any, ...]] = field(default_factory=set)
    """(unit, step, turn, sequence) of each event: what its id is made of."""
    signals: dict[str, tuple[str, Any]] = field(default_factory=dict)
    reports: list[UnitReport] = field(default_factory=list)
    """Those that were not taken yet."""
    reported: int = 0
    holds: dict[str, HeldCall] = field(default_factory=dict)
    numbered: int = 0
    """The number of the last hold."""
    cancel: bool = False
    is_told: bool = False
    """Whether it was signalled anything since a process began to drive it."""
    grown: anyio.Event | None = None
    """Set, and replaced by the next watcher, when an event or a signal was recorded."""

    async def next_change(self) -> None:
        if self.grown is None:
            self.grown = anyio.Event()
        await self.grown.wait()

    def wake(self) -> None:
        if self.grown is not None:
            self.grown.set()
            self.grown = None


_NOTHING = _Run()
"""The record of a run that has none. Never written to."""
_TURNING = (RunStarted, RunEdited, RunResumed, RunFinished)
_OF_TURNS = (TurnStarted, AttemptEnded, WaitingForProvider, TurnEnded)


class MemoryJournal:
    """A `Journal` in dictionaries."""

    def __init__(self) -> None:
        self._units: defaultdict[str, dict[Unit, _Unit]] = defaultdict(dict)
        self._runs: dict[str, _Run] = {}
        self._driven: set[str] = set()

    async def create(
        self, run: str, manifest: RunManifest, events: Sequence[Event] = (), steps: Sequence[StepRecord] = ()
    ) -> None:
        if run in self._runs:
            raise RunExists(f"there is a run {run} already")
        self._runs[run] = _Run(manifest)
        self._take_over(run, events, steps)

    async def edit(
        self,
        run: str,
        manifest: RunManifest,
        events: Sequence[Event],
        steps: Sequence[StepRecord] = (),
        over: Collection[Unit] = (),
    ) -> None:
        edited = self._run(run)
        edited.former.append(edited.manifest or RunManifest(""))
        edited.manifest = manifest
        self._take_over(run, events, steps)
        for unit in over:
            self._units[run].setdefault(unit, _Unit()).ended = True

    def _take_over(self, run: str, events: Sequence[Event], steps: Sequence[StepRecord]) -> None:
        self._record(run, events)
        for step in steps:
            unit = self._units[run].setdefault(step.unit, _Unit())
            if (there := unit.steps.get(step.key)) is None or not there.done:
                unit.steps[step.key] = _Step(step.request_hash, attempts=1, result=step.result, done=True)

    async def manifest(self, run: str) -> RunManifest:
        found = self._runs.get(run)
        if found is None or found.manifest is None:
            raise RunNotFound(f"there is no run {run} in this process")
        return found.manifest

    async def manifests(self, run: str) -> Sequence[RunManifest]:
        latest = await self.manifest(run)
        return [*self._runs[run].former, latest]

    async def runs(
        self,
        limit: int | None = 100,
        *,
        statuses: Collection[str] = (),
        squad: str | None = None,
        asking: bool = False,
        skip: int = 0,
    ) -> Sequence[RunLine]:
        runs = reversed(self._runs.items())
        lines = (_line(name, run) for name, run in runs if not asking or _has_asked(run))
        wanted = (line for line in lines if (not statuses or line.status in statuses) and squad in (None, line.squad))
        return list(islice(wanted, skip, None if limit is None else skip + limit))

    async def run_count(self, *, statuses: Collection[str] = (), squad: str | None = None) -> int:
        return len(await self.runs(None, statuses=statuses, squad=squad))

    async def remove(self, run: str) -> bool:
        async with self.driving(run):
            self._units.pop(run, None)
            return self._runs.pop(run, None) is not None

    @asynccontextmanager
    async def driving(self, run: str) -> AsyncIterator[None]:
        if run in self._driven:
            raise RunBusy(f"the run {run} is being driven already")
        self._driven.add(run)
        if run in self._runs:
            self._runs[run].is_told = False
        try:
            yield
        finally:
            self._driven.remove(run)

    async def is_driven(self, run: str) -> bool:
        return run in self._driven

    def between_commits(self) -> AbstractContextManager[None]:
        return nullcontext()

    def is_at_home(self, manifest: RunManifest) -> bool:  # noqa: ARG002  # the protocol's
        return True

    async def reclaim(self) -> bool:
        return not self._driven

    async def room(self) -> int:
        return 0

    async def claim(self, run: str, unit: Unit, owner: str) -> Fence | None:  # noqa: ARG002  # one process: owners need no names
        units = self._units[run]
        found = units.get(unit)
        if found is None:
            found = units[unit] = _Unit()
        if found.ended:
            return None
        found.fence += 1
        return found.fence

    async def begin(
        self, run: str, unit: Unit, key: StepKey, request_hash: bytes, fence: Fence, events: Sequence[Event] = ()
    ) -> Recorded | Go:
        steps = self._held(run, unit, fence).steps
        step = steps.setdefault(key, _Step(request_hash))
        if step.request_hash != request_hash:
            raise StepChanged(f"{text_of(unit, key)} was recorded for another request")
        self._record(run, events)
        if step.done:
            return Recorded(step.result)
        step.attempts += 1
        step.in_flight += 1
        return Go(step.attempts)

    async def finish(
        self, run: str, unit: Unit, key: StepKey, fence: Fence, result: Any, events: Sequence[Event] = ()
    ) -> None:
        step = self._held(run, unit, fence).steps[key]
        if not step.done:
            step.result, step.done, step.in_flight = result, True, 0
        self._record(run, events)

    async def give_up(self, run: str, unit: Unit, key: StepKey, fence: Fence) -> None:
        step = self._held(run, unit, fence).steps[key]
        if step.given_up < step.attempts:
            step.given_up = step.attempts
            step.in_flight = max(step.in_flight - 1, 0)

    async def end(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        self._held(run, unit, fence).ended = True
        self._record(run, events)

    async def park(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event] = ()) -> None:
        self._held(run, unit, fence)
        self._record(run, events)

    async def record(self, run: str, unit: Unit, fence: Fence, events: Sequence[Event]) -> None:
        self._held(run, unit, fence)
        self._record(run, events)

    async def report(
        self, run: str, unit: Unit, fence: Fence, outcome: Any, events: Sequence[Event] = (), *, is_final: bool
    ) -> None:
        found = self._run(run)
        held = self._held(run, unit, fence)
        held.ended = held.ended or is_final
        found.reported += 1
        found.reports.append(UnitReport(found.reported, unit, outcome))
        self._record(run, events)
        found.wake()

    async def reports(self, run: str) -> Sequence[UnitReport]:
        return list(self._runs.get(run, _NOTHING).reports)

    async def watch_reports(self, run: str) -> AsyncGenerator[Sequence[UnitReport], None]:
        found, told = self._run(run), 0
        while True:
            if new := [report for report in found.reports if report.number > told]:
                told = new[-1].number
                yield new
            else:
                await found.next_change()

    async def take_reports(self, run: str, number: int, events: Sequence[Event] = ()) -> None:
        found = self._run(run)
        found.reports = [report for report in found.reports if report.number > number]
        self._record(run, events)

    async def told(self) -> Sequence[str]:
        return [
            name
            for name, run in self._runs.items()
            if run.is_told and name not in self._driven and _line(name, run).status == "waiting"
        ]

    async def hold(
        self, run: str, kinds: Collection[type], after_seq: int, decide: DecideHolds
    ) -> Collection[HeldCall]:
        found, events = self._run(run), await self.events_of_kinds(run, kinds, after_seq)
        found.holds = {name: hold for name, hold in found.holds.items() if self._is_held(run, hold)}
        put, drop = decide(events, list(found.holds.values()))
        for name in drop:
            found.holds.pop(name, None)
        for hold in put:
            if self._is_held(run, hold):
                found.numbered += 1
                before = found.holds.get(hold.id)
                found.holds[hold.id] = hold._replace(number=before.number if before else found.numbered)
        if drop:
            found.wake()
        return [hold for hold in put if hold.id not in found.holds]

    def _is_held(self, run: str, hold: HeldCall) -> bool:
        unit = self._units[run].get(hold.unit)
        return unit is not None and unit.fence == hold.fence and not unit.ended

    async def record_calls(
        self, run: str, unit: Unit, fence: Fence, events: Sequence[Event], ids: Sequence[str]
    ) -> None:
        await self.record(run, unit, fence, events)
        for name in ids:
            self._run(run).holds.pop(name, None)

    async def stirs(self, run: str) -> AsyncGenerator[None, None]:
        while True:
            await self._run(run).next_change()
            yield

    async def cut_short(self, run: str, unit: Unit | None = None) -> Sequence[InFlightStep]:
        units = (
            (one, held) for one, held in self._units.get(run, {}).items() if not held.ended and unit in (None, one)
        )
        found = (InFlightStep(unit, key) for unit, held in units for key, step in held.steps.items() if step.in_flight)
        return sorted(found, key=_place)

    async def steps(self, run: str) -> Sequence[StepRecord]:
        found = (
            StepRecord(unit, key, step.request_hash, step.done, step.result, step.in_flight > 0)
            for unit, held in self._units.get(run, {}).items()
            for key, step in held.steps.items()
        )
        return sorted(found, key=_place)

    async def append(self, run: str, events: Sequence[Event]) -> None:
        self._record(run, events)

    async def events(self, run: str, after_seq: int = 0, most: int | None = None) -> Sequence[Event]:
        return self._runs.get(run, _NOTHING).events[after_seq:][:most]

    async def events_of_unit(self, run: str, unit: Unit) -> Sequence[Event]:
        return [event for event in self._runs.get(run, _NOTHING).events if event.unit == unit]

    async def events_of_kinds(
        self, run: str, kinds: Collection[type], after_seq: int = 0
    ) -> Sequence[tuple[int, Event]]:
        events, wanted = self._runs.get(run, _NOTHING).events[after_seq:], tuple(kinds)
        return [(seq, event) for seq, event in enumerate(events, after_seq + 1) if isinstance(event.data, wanted)]

    async def last_seq(self, run: str) -> int:
        return len(self._runs.get(run, _NOTHING).events)

    async def spent(self, by: Sequence[SpentBy], since: float = 0.0) -> Sequence[SpentRow]:
        runs = ((run.manifest or RunManifest("")).squad for run in self._runs.values())
        found = zip(runs, self._runs.values(), strict=True)
        return added_up(row for squad, run in found for row in spent_in(squad, run.events, by, since))

    async def spent_in_ways(self, *ways: tuple[Sequence[SpentBy], float]) -> Sequence[Sequence[SpentRow]]:
        return [await self.spent(by, since) for by, since in ways]

    async def turns(self, since: float, until: float, most: int) -> Sequence[Event]:
        found = [
            event
            for run in self._runs.values()
            for event in own_events(run.events)
            if since <= event.at < until and isinstance(event.data, _OF_TURNS)
        ]
        begun = sorted((event.at for event in found if isinstance(event.data, TurnStarted)), reverse=True)
        return [event for event in found if event.at >= begun[most - 1]] if len(begun) >= most else found

    async def signal(self, run: str, name: str, value: Any, idempotency_key: str) -> Any:
        found = self._run(run)
        found.is_told = True
        _, stands = found.signals.setdefault(idempotency_key, (name, value))
        found.wake()
        return stands

    async def signals(self, run: str) -> Sequence[tuple[str, Any]]:
        return list(self._runs.get(run, _NOTHING).signals.values())

    async def watch_signals(self, run: str) -> AsyncGenerator[tuple[str, Any], None]:
        found, told = self._run(run), 0
        while True:
            for signal in list(found.signals.values())[told:]:
                told += 1
                yield signal
            if told == len(found.signals):
                await found.next_change()

    async def request_cancel(self, run: str) -> None:
        self._run(run).cancel = True

    async def cancel_requested(self, run: str) -> bool:
        return self._runs.get(run, _NOTHING).cancel

    async def watch(self, run: str, after_seq: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        found, seq = self._run(run), after_seq
        while True:
            while seq < len(found.events):
                seq += 1
                yield seq, found.events[seq - 1]
            await found.next_change()

    async def aclose(self) -> None:
        """Nothing is open."""

    def _held(self, run: str, unit: Unit, fence: Fence) -> _Unit:
        found = self._units[run].get(unit)
        if found is None or fence < 1 or found.fence != fence or found.ended:
            raise Fenced(f"{unit.path} is no longer held under fence {fence}")
        return found

    def _run(self, run: str) -> _Run:
        found = self._runs.get(run)
        if found is None:
            found = self._runs[run] = _Run()
        return found

    def _record(self, run: str, events: Sequence[Event]) -> None:
        if not events:
            return
        found = self._run(run)
        for event in events:
            if (place := event[1:5]) not in found.places:
                found.places.add(place)
                found.events.append(event)
        found.wake()


def _place(step: InFlightStep | StepRecord) -> tuple[str, str]:
    return step.unit.path, text_of(step.unit, step.key)


def _has_asked(run: _Run) -> bool:
    return any(isinstance(event.data, GateOpened) for event in run.events)


def _line(name: str, run: _Run) -> RunLine:
    manifest = run.manifest or RunManifest("")
    turns = (event.data for event in reversed(run.events) if isinstance(event.data, _TURNING))
    last = next(turns, None)
    status, cost = (last.status, last.cost) if isinstance(last, RunFinished) else ("running", None)
    return RunLine(name, manifest.squad, manifest.created_at, status, cost)
