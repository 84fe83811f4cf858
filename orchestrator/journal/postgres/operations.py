"""What is asked of the PostgreSQL journal, as values: packed, encoded and named, ready to be decided. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from agents.run_context import StepKey
from orchestrator.journal.codec import Bodies, Packed
from orchestrator.journal.protocols import Fence, RunManifest, StepRecord
from orchestrator.journal.records import EventRow, packed, spent_in
from orchestrator.units import Unit, place_of, text_of


class KeyedText(NamedTuple):
    """A unit, a place or a step: the digest that it is known by, and its text."""

    key: bytes
    text: bytes


class TakenStep(NamedTuple):
    """An ended step of another run, or of another unit."""

    unit: KeyedText
    step: KeyedText
    request_hash: bytes
    record: Packed
    tokens: int | None
    cost: int | None


class EventPlace(NamedTuple):
    """Where an event stands, and the key of its unit: empty for the run itself."""

    place: KeyedText
    unit: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalCall:
    """One call, with all that must be looked up before it is decided.

    `driver`: it counts only as long as this fence drives the run.
    """

    makes_run: ClassVar[bool] = False
    """Whether it makes the run where there is none."""
    goes_last: ClassVar[bool] = False
    """Whether all others go first: work under way goes before new work."""
    run: str
    events: Sequence[EventRow] = ()
    driver: Fence | None = None

    @property
    def units(self) -> Collection[KeyedText]:
        return ()

    @property
    def steps(self) -> Collection[KeyedText]:
        return ()

    @property
    def texts(self) -> Sequence[Bodies]:
        """The large texts of what is recorded, but for those of events."""
        return ()

    @property
    def size(self) -> int:
        """About how many bytes it brings."""
        bodies = (*self.texts, *(row.bodies for row in self.events))
        return 500 + sum(len(body) for found in bodies for body in found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class OfManifest(JournalCall):
    """What a run is made of from now on, and the steps that it takes over."""

    makes_run: ClassVar[bool] = True
    squad: bytes
    created_at: float
    manifest: Packed
    taken: Sequence[TakenStep] = ()

    @property
    def units(self) -> Collection[KeyedText]:
        return [step.unit for step in self.taken]

    @property
    def steps(self) -> Collection[KeyedText]:
        return [step.step for step in self.taken]

    @property
    def texts(self) -> Sequence[Bodies]:
        return [self.manifest.bodies, *(step.record.bodies for step in self.taken)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRun(OfManifest):
    """A new run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRun(OfManifest):
    """Another manifest of a run, and the units that are final now."""

    over: Sequence[KeyedText] = ()

    @property
    def units(self) -> Collection[KeyedText]:
        return [*(step.unit for step in self.taken), *self.over]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfUnit(JournalCall):
    """What the owner of a unit does under its fence."""

    unit: KeyedText
    fence: Fence = 0

    @property
    def units(self) -> Collection[KeyedText]:
        return (self.unit,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimUnit(OfUnit):
    makes_run: ClassVar[bool] = True
    goes_last: ClassVar[bool] = True
    owner: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOfUnit(OfUnit):
    """Events, and the end of the unit where `is_end`. `holds` are no more: the events tell of their calls."""

    is_end: bool = False
    holds: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUnit(OfUnit):
    """How a unit ended, for the process that drives its run; `is_final`: no later claim gets it."""

    record: Packed
    is_final: bool

    @property
    def texts(self) -> Sequence[Bodies]:
        return (self.record.bodies,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeReports(JournalCall):
    """Events of a run, and that its reports up to `number` are taken."""

    makes_run: ClassVar[bool] = True
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfStep(OfUnit):
    step: KeyedText

    @property
    def steps(self) -> Collection[KeyedText]:
        return (self.step,)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginStep(OfStep):
    request_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishStep(OfStep):
    record: Packed
    tokens: int | None = None
    cost: int | None = None

    @property
    def texts(self) -> Sequence[Bodies]:
        return (self.record.bodies,)


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUpStep(OfStep):
    """The latest attempt gave no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEvents(JournalCall):
    makes_run: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveSignal(JournalCall):
    makes_run: ClassVar[bool] = True
    name: bytes
    key: bytes
    record: Packed

    @property
    def texts(self) -> Sequence[Bodies]:
        return (self.record.bodies,)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun(JournalCall):
    makes_run: ClassVar[bool] = True


def reports_of(run: str) -> str:
    """Return by what those are woken who watch a run's reports: its events, of which there are many, leave them be."""
    return f"{run}/reports"  # no run's id has a slash


def signals_of(run: str) -> str:
    """Return by what those are woken who watch a run's signals."""
    return f"{run}/signals"


def encoded(text: str) -> bytes:
    """Return a text as it is stored: any text that Python holds."""
    return text.encode("utf-8", "surrogatepass")


def decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


@lru_cache(maxsize=8192)
def named(text: str) -> KeyedText:
    """Return a text with the digest that it is known by: texts of any length are found by an index."""
    data = encoded(text)
    return KeyedText(hashlib.blake2b(data, digest_size=16).digest(), data)


@lru_cache(maxsize=8192)
def placed(path: str) -> EventPlace:
    unit, _ = place_of(path)
    return EventPlace(named(path), b"" if unit is None else named(unit.path).key)


def step_named(unit: Unit, key: StepKey) -> KeyedText:
    return named(text_of(unit, key))


def taken_steps(steps: Sequence[StepRecord]) -> list[TakenStep]:
    return [
        TakenStep(
            named(step.unit.path),
            step_named(step.unit, step.key),
            step.request_hash,
            packed(step.result),
            *spent_in(step.result),
        )
        for step in steps
    ]


def of_manifest(manifest: RunManifest) -> dict[str, Any]:
    """Return the fields of an `OfManifest`."""
    return {"squad": encoded(manifest.squad), "created_at": manifest.created_at, "manifest": packed(manifest)}
