"""What becomes of each operation of a transaction, given the rows that it concerns. Pure: rows in, rows out.

The rows of a run are locked while this decides, so what it reads is what stands there when its changes are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orchestrator.journal.codec import Bodies, Packed
from orchestrator.journal.postgres.operations import (
    AppendEvents,
    BeginStep,
    CancelRun,
    ClaimUnit,
    CreateRun,
    EditRun,
    EventPlace,
    FinishStep,
    GiveSignal,
    GiveUpStep,
    JournalCall,
    KeyedText,
    OfManifest,
    OfUnit,
    RecordOfUnit,
    ReportUnit,
    TakeReports,
    decoded,
    encoded,
    placed,
    reports_of,
    signals_of,
)
from orchestrator.journal.protocols import Fence, Fenced, Go, RunExists, RunManifest, StepChanged
from orchestrator.journal.records import EventRow, packed
from orchestrator.journal.spent import BilledEvent
from orchestrator.units import place_of

MOST_BILLED = 1 << 48
"""No figure is larger, whatever a provider says: a column holds it, and many are added up."""
ASKING = "GateOpened"
"""The kind of event by which a run asks a person something."""


@dataclass(slots=True)
class RunCells:
    """The row of a run. `is_new`: this transaction made it; `is_used`: an operation counted on it."""

    id: int
    run: str
    squad: bytes
    status: str
    cost: int | None
    last_seq: int
    edits: int
    asked: bool
    cancelled: bool
    reports: int = 0
    """How many there were so far."""
    told: bool = False
    created_at: float = 0.0
    is_new: bool = False
    is_used: bool = False
    is_changed: bool = False
    has_manifest: bool = False


@dataclass(slots=True)
class UnitCells:
    """The row of a unit. `is_claimed`: in this transaction."""

    path: bytes
    fence: Fence = 0
    ended: bool = False
    owner: bytes = b""
    is_claimed: bool = False


@dataclass(slots=True)
class StepCells:
    """The row of a step: how many attempts were begun, of which so many are in flight; the latest that was given up."""

    unit: bytes
    name: bytes
    hash: bytes
    attempts: int = 0
    in_flight: int = 0
    given_up: int = 0
    data: bytes | None = None
    tokens: int | None = None
    cost: int | None = None


class StoredRecord(NamedTuple):
    """A record that stands already: it is handed back once its texts are read."""

    data: bytes


RowKey = tuple[int, bytes]
"""The id of a run, and the key of a unit, place, step or signal in it."""
EventId = tuple[int, bytes, int, int]


@dataclass(slots=True)
class Loaded:
    """The rows that the operations concern, by the id of their run. `drives`: run -> the fence that drives it now."""

    runs: dict[str, RunCells] = field(default_factory=dict)
    units: dict[RowKey, UnitCells] = field(default_factory=dict)
    steps: dict[RowKey, StepCells] = field(default_factory=dict)
    events: set[EventId] = field(default_factory=set)
    signals: dict[RowKey, bytes] = field(default_factory=dict)
    turns: dict[RowKey, str] = field(default_factory=dict)
    """Who had the latest turn at a place."""
    drives: dict[str, Fence] = field(default_factory=dict)


@dataclass(slots=True)
class RowChanges:
    """The rows to be written: new ones in lists, in their order; what may replace a row by its key."""

    manifests: list[tuple[int, int, bytes]] = field(default_factory=list)
    places: dict[RowKey, EventPlace] = field(default_factory=dict)
    events: list[tuple[int, int, bytes, EventRow]] = field(default_factory=list)
    units: set[RowKey] = field(default_factory=set)
    steps: set[RowKey] = field(default_factory=set)
    signals: list[tuple[int, bytes, bytes, bytes]] = field(default_factory=list)
    reports: list[tuple[int, int, bytes, bytes]] = field(default_factory=list)
    unheld: list[tuple[int, str]] = field(default_factory=list)
    taken: list[tuple[int, int]] = field(default_factory=list)
    """By run: the number up to which its reports are taken."""
    bills: list[tuple[Any, ...]] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    """Runs whose bills so far were paid by another one."""
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    uses: set[RowKey] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    """What watchers hear of: `run` for its events, and `reports_of` and `signals_of` it."""


@dataclass(slots=True)
class Decider:
    """Decides operations one after the other: each sees what those before it changed."""

    rows: Loaded
    changes: RowChanges = field(default_factory=RowChanges)

    def decide(self, asked: JournalCall) -> Any:
        """Return what the call returns. Raise a `JournalError`, before anything is changed, where it is refused."""
        self._refuse_former_driver(asked)
        match asked:
            case CreateRun():
                return self._create(asked)
            case EditRun():
                return self._edit(asked)
            case AppendEvents():
                return self._record(self._run(asked), asked.events)
            case GiveSignal():
                return self._signal(asked)
            case TakeReports():
                return self._take_reports(asked)
            case CancelRun():
                run = self._run(asked)
                run.cancelled = run.is_changed = True
                self.changes.told.add(run.run)
                return None
            case ClaimUnit():
                return self._claim(asked)
            case OfUnit():
                return self._by_owner(asked)
        raise AssertionError(f"{type(asked).__name__} is no operation")

    def finish(self) -> list[int]:
        """Return the runs that were made for operations that were all refused; all other new ones get a manifest."""
        new = [run for run in self.rows.runs.values() if run.is_new]
        for run in new:
            if run.is_used and not run.has_manifest:
                self._manifest(run, packed(RunManifest("")))
        return [run.id for run in new if not run.is_used]

    def _refuse_former_driver(self, asked: JournalCall) -> None:
        if asked.driver is not None and self.rows.drives.get(asked.run) != asked.driver:
            raise Fenced(f"the run {asked.run} is being driven by another process now")

    def _run(self, asked: JournalCall) -> RunCells:
        run = self.rows.runs[asked.run]
        run.is_used = True
        return run

    # -- runs

    def _create(self, asked: CreateRun) -> None:
        run = self.rows.runs[asked.run]
        if not run.is_new or run.is_used:
            raise RunExists(f"there is a run {asked.run} already")
        run.squad, run.created_at, run.is_used, run.is_changed = asked.squad, asked.created_at, True, True
        self._take_over(run, asked)

    def _edit(self, asked: EditRun) -> None:
        run = self._run(asked)
        if run.is_new and not run.has_manifest:
            self._manifest(run, packed(RunManifest("")))
        run.edits += 1
        run.squad, run.is_changed = asked.squad, True
        self._take_over(run, asked)
        for unit in asked.over:
            self._unit(run, unit).ended = True

    def _take_over(self, run: RunCells, asked: OfManifest) -> None:
        self._manifest(run, asked.manifest)
        for taken in asked.taken:
            step = self._step(run, taken.unit.key, taken.step, taken.request_hash)
            if step.data is None:
                # The latest attempt's request is the step's: one that was begun here may have asked something else.
                step.hash, step.attempts = taken.request_hash, step.attempts + 1
                step.data, step.tokens, step.cost = taken.record.data, bounded(taken.tokens), bounded(taken.cost)
                self._keep(run, taken.record.bodies)
            self._unit(run, taken.unit)
        self._record(run, asked.events)

    def _manifest(self, run: RunCells, record: Packed) -> None:
        run.has_manifest = True
        self._keep(run, record.bodies)
        self.changes.manifests.append((run.id, run.edits, record.data))

    # -- units and steps

    def _claim(self, asked: ClaimUnit) -> Fence | None:
        run = self._run(asked)
        found = self.rows.units.get((run.id, asked.unit.key))
        if found is not None and found.ended:
            return None
        unit = self._unit(run, asked.unit)
        unit.fence, unit.owner, unit.is_claimed = unit.fence + 1, asked.owner, True
        return unit.fence

    def _by_owner(self, asked: OfUnit) -> Any:
        run = self.rows.runs.get(asked.run)
        unit = None if run is None else self.rows.units.get((run.id, asked.unit.key))
        if run is None or unit is None or asked.fence < 1 or unit.fence != asked.fence or unit.ended:
            raise Fenced(f"{decoded(asked.unit.text)} is no longer held under fence {asked.fence}")
        match asked:
            case BeginStep():
                return self._begin(run, asked)
            case FinishStep():
                self._finish(run, asked)
            case GiveUpStep():
                step = self._step(run, asked.unit.key, asked.step, b"")
                if step.given_up < step.attempts:
                    step.given_up, step.in_flight = step.attempts, max(step.in_flight - 1, 0)
            case RecordOfUnit(is_end=True):
                self._unit(run, asked.unit).ended = True
            case RecordOfUnit(holds=holds):
                self.changes.unheld += [(run.id, hold) for hold in holds]
            case ReportUnit():
                self._report(run, asked)
        self._record(run, asked.events)
        return None

    def _report(self, run: RunCells, asked: ReportUnit) -> None:
        if asked.is_final:
            self._unit(run, asked.unit).ended = True
        run.reports += 1
        run.is_changed = True
        self._keep(run, asked.record.bodies)
        self.changes.reports.append((run.id, run.reports, asked.unit.text, asked.record.data))
        self.changes.told.add(reports_of(run.run))

    def _take_reports(self, asked: TakeReports) -> None:
        run = self._run(asked)
        self.changes.taken.append((run.id, asked.number))
        self._record(run, asked.events)

    def _begin(self, run: RunCells, asked: BeginStep) -> StoredRecord | Go:
        found = self.rows.steps.get((run.id, asked.step.key))
        if found is not None and found.attempts and found.hash != asked.request_hash:
            raise StepChanged(f"{decoded(asked.step.text)} was recorded for another request")
        self._record(run, asked.events)
        if found is not None and found.data is not None:
            return StoredRecord(found.data)
        step = self._step(run, asked.unit.key, asked.step, asked.request_hash)
        step.hash, step.attempts, step.in_flight = asked.request_hash, step.attempts + 1, step.in_flight + 1
        return Go(step.attempts)

    def _finish(self, run: RunCells, asked: FinishStep) -> None:
        step = self._step(run, asked.unit.key, asked.step, b"")
        if step.data is None:  # a result never changes: the first that was recorded stays
            step.data, step.in_flight = asked.record.data, 0
            step.tokens, step.cost = bounded(asked.tokens), bounded(asked.cost)
            self._keep(run, asked.record.bodies)

    def _unit(self, run: RunCells, unit: KeyedText) -> UnitCells:
        """Return a unit's row, which is about to be changed."""
        key = (run.id, unit.key)
        self.changes.units.add(key)
        return self.rows.units.setdefault(key, UnitCells(unit.text))

    def _step(self, run: RunCells, unit: bytes, step: KeyedText, request_hash: bytes) -> StepCells:
        """Return a step's row, which is about to be changed."""
        key = (run.id, step.key)
        self.changes.steps.add(key)
        return self.rows.steps.setdefault(key, StepCells(unit, step.text, request_hash))

    # -- events and signals

    def _record(self, run: RunCells, rows: Sequence[EventRow]) -> None:
        """Write the events after those of the run so far. One whose id is recorded is ignored."""
        if rows:
            self.changes.told.add(run.run)
        for row in rows:
            place = placed(row.path)
            known_as = (run.id, place.place.key, row.turn, row.number)
            if known_as in self.rows.events:
                continue
            self.rows.events.add(known_as)
            run.last_seq += 1
            run.is_changed = True
            self.changes.events.append((run.id, run.last_seq, place.place.key, row))
            self.changes.places[run.id, place.place.key] = place
            self._keep(run, row.bodies)
            if row.status is not None:
                run.status, run.cost = row.status, bounded(row.cost)
            run.asked |= row.kind == ASKING
            self._account(run, place, row)

    def _account(self, run: RunCells, place: EventPlace, row: EventRow) -> None:
        at = (run.id, place.place.key)
        if row.agent is not None:
            self.rows.turns[at] = row.agent
        if row.bill is not None:
            self.changes.bills.append(_bill_row(run, row, row.bill, self.rows.turns.get(at, "")))
        elif row.is_fork:
            self.changes.bills = [bill for bill in self.changes.bills if bill[0] != run.id]
            self.changes.forgotten.append(run.id)

    def _signal(self, asked: GiveSignal) -> StoredRecord | None:
        run = self._run(asked)
        # One transaction asks and enters: of two processes that answer at once, one is told that it came second.
        if (there := self.rows.signals.get((run.id, asked.key))) is not None:
            return StoredRecord(there)
        self.rows.signals[run.id, asked.key] = asked.record.data
        self._keep(run, asked.record.bodies)
        self.changes.signals.append((run.id, asked.key, asked.name, asked.record.data))
        run.told = run.is_changed = True
        self.changes.told.add(signals_of(run.run))
        return None

    def _keep(self, run: RunCells, bodies: Bodies) -> None:
        self.changes.bodies.update(bodies)
        self.changes.uses.update((run.id, digest) for digest in bodies)


def _bill_row(run: RunCells, row: EventRow, of: BilledEvent, turn_of: str) -> tuple[Any, ...]:
    unit, _ = place_of(row.path)
    names = ("" if unit is None else unit.task, turn_of if of.agent is None else of.agent, of.provider, of.model)
    figures = (of.input, of.output, of.cached, of.reasoning, of.cost)
    return (run.id, run.last_seq, row.at, of.kind, *map(encoded, names), *map(bounded, figures))


def bounded(figure: int | None) -> int | None:
    return None if figure is None else min(figure, MOST_BILLED)
