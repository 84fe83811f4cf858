"""The events of a run as its code is answered from them when it runs again: whose each one is, and how steps ended.

A *part* is what one process recorded: from the run's beginning, or from where it was taken up, to its end or its kill.
Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents import events as agent_events
from agents.events import (
    ContextSummarised,
    GuardrailChecked,
    HistorySummarised,
    MemoryRecalled,
    RepeatStopped,
    RiskyCallHeld,
    ToolEnded,
    ToolProgress,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from agents.guarding import GUARD
from agents.run_context import StepKey
from orchestrator.events import (
    BudgetReached,
    CallRepeated,
    CallsCutShort,
    ElementEnded,
    ElementStarted,
    Event,
    GateAnswered,
    GateOpened,
    RoutingReread,
    RunEdited,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskExpanded,
    TaskParked,
    TaskRepeated,
    TaskReset,
    TaskResumed,
    TaskRetried,
    TaskStarted,
)
from orchestrator.journal.codec import pack
from orchestrator.journal.protocols import StepRecord
from orchestrator.units import LOOKED_UP, RECALLED, SAID, StepPath, Unit, key_of, text_of
from providers import events as provider_events
from providers.messages import Request

INSIDE = (agent_events.__name__, provider_events.__name__)
"""What stands in these modules happens inside a step."""
ANSWERED = (TurnEnded, ToolEnded, MemoryRecalled, HistorySummarised, ContextSummarised, GuardrailChecked)
"""With one of these a step has its result."""
DECISIONS = (
    *(TaskStarted, TaskExpanded, ElementStarted, GateOpened, TaskEnded, TaskReset, TaskRetried, TaskRepeated),
    RunFinished,
)


class StepAt(NamedTuple):
    """A step of a run: its unit, and its key there."""

    unit: Unit
    key: StepKey

    @property
    def path(self) -> str:
        """The step as text: `build[S-1]/try-1/turn-1/model`."""
        return text_of(self.unit, self.key)


class PlacedEvent(NamedTuple):
    """One event, and whose it is: `unit`'s; inside `step`, where it happened in one. Both None: the run's own."""

    event: Event
    unit: Unit | None = None
    step: StepKey | None = None

    @property
    def at(self) -> StepAt | None:
        """The step that it happened in."""
        return None if self.unit is None or self.step is None else StepAt(self.unit, self.step)

    @property
    def is_decision(self) -> bool:
        """Whether the state of the run alone brought it about."""
        return self.unit is None and isinstance(self.event.data, DECISIONS)

    @property
    def is_chance(self) -> bool:
        """Whether it was only observed, outside of any step: nothing leads to it."""
        return self.step is None and (_happens_inside(self.event.data) or isinstance(self.event.data, CallsCutShort))


@dataclass(slots=True)
class RecordPart:
    """What one process recorded. `before` are the events of those before it; `answered` the steps that ended here."""

    before: Sequence[Event]
    places: list[PlacedEvent] = field(default_factory=list)
    answered: set[StepAt] = field(default_factory=set)
    _of_units: dict[Unit, list[int]] = field(default_factory=dict)

    @property
    def finished(self) -> RunFinished | None:
        """How it ended; None: it was killed."""
        last = self.places[-1].event.data
        return last if isinstance(last, RunFinished) else None

    def add(self, place: PlacedEvent) -> None:
        """Take the next event."""
        data, at = place.event.data, place.at
        is_said = at is not None and at.key.call == SAID and isinstance(data, GateAnswered)
        # What is only looked up says nothing of itself; earlier releases told that it was asked for again.
        is_found = at is not None and at.key.call in LOOKED_UP and isinstance(data, CallRepeated)
        if at is not None and (is_said or is_found or isinstance(data, ANSWERED)):
            self.answered.add(at)
        if place.unit is not None and not place.is_chance:
            self._of_units.setdefault(place.unit, []).append(len(self.places))
        self.places.append(place)

    def of_unit(self, unit: Unit) -> list[int]:
        """Return the places of what happened in a unit's work, but for what was only observed."""
        return list(self._of_units.get(unit, ()))


@dataclass(frozen=True, slots=True)
class Answers:
    """What a replay is answered from: the steps of a run, and the number of the part in which each one ended."""

    run: str
    steps: Mapping[StepAt, StepRecord]
    ended_in: Mapping[StepAt, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a replay departs from the record, after `number` equal events.

    `step` is set where a step asks for something else than was recorded: `request` is what it asks for now, None where
    that is not a model's request.
    """

    number: int
    recorded: Event | None
    replayed: Event | None
    step: StepAt | None = None
    request: Request | None = None


def parts_of_record(events: Sequence[Event]) -> list[RecordPart]:
    """Return the parts of a run's events, oldest first."""
    reader, parts, part = _Reader(), list[RecordPart](), None
    for number, event in enumerate(events):
        match event.data:
            case RunForked():
                parts, part = [], None  # what came before another run did
            case RunEdited():
                reader.edit(event.data)
                part = None
            case RunStarted() | RunResumed():
                part = RecordPart(events[:number])
                parts.append(part)
                reader.turns.clear()
                reader.tools.clear()
        if part is not None:
            part.add(reader.place(event))
    return parts


def _happens_inside(data: Any) -> bool:
    return type(data).__module__ in INSIDE


def same(one: Event, other: Event) -> bool:
    """Return whether two events are equal byte for byte."""
    return one[:6] == other[:6] and (one.data is other.data or pack(one.data).data == pack(other.data).data)


@dataclass(slots=True)
class _Reader:
    """Tells whose each event is, by what came before it."""

    attempts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))
    at_work: dict[tuple[str, str | None], Unit] = field(default_factory=dict)
    units: set[Unit] = field(default_factory=set)
    turns: dict[tuple[Unit, StepPath], StepKey] = field(default_factory=dict)
    """Where in a unit's work -> the model's step in flight there."""
    tools: dict[StepAt, None] = field(default_factory=dict)
    """Each tool's step, in the order in which they were begun."""

    def place(self, event: Event) -> PlacedEvent:
        match event.data:
            case TaskStarted(task, attempt):
                self.attempts[task] = attempt
                self._begin(task, None)
            case ElementStarted(task, key):
                self._begin(task, key)
            case TaskReset(task):
                self.attempts[task] += 1
            case TaskEnded(task):
                return PlacedEvent(event, self.at_work.pop((task, None), None))
            case ElementEnded(task, key):
                return PlacedEvent(event, self.at_work.pop((task, key), None))
            case TaskParked(task, key) | TaskResumed(task, key):
                return PlacedEvent(event, self.at_work.get((task, key)))
            case _:
                unit = event.unit if event.unit in self.units else None  # else it is of a task that a person answers
                return PlacedEvent(event, unit, None if unit is None else self._step_of(event, unit))
        return PlacedEvent(event)

    def edit(self, edit: RunEdited) -> None:
        """Go on under the names of an edited squad."""
        self.attempts.update(edit.attempts)
        at_work, self.at_work = self.at_work, {}
        for (task, key), unit in at_work.items():
            name = edit.renamed.get(task, task)
            if task in edit.renamed or task not in (*edit.again, *edit.gone):
                self.at_work[name, key] = unit._replace(task=name)
                self.units.add(self.at_work[name, key])

    def _begin(self, task: str, key: str | None) -> None:
        unit = Unit(task, key, self.attempts[task])
        self.at_work[task, key] = unit
        self.units.add(unit)

    def _step_of(self, event: Event, unit: Unit) -> StepKey | None:
        here, data = (unit, event.step), event.data
        match data:
            case TurnStarted(turn=turn):
                key = self.turns[here] = StepKey(event.step, turn, "model")
                return key
            case TurnEnded(turn=turn):
                return self.turns.pop(here, StepKey(event.step, turn, "model"))
            case (
                ToolStarted(turn=turn, call=call)
                | ToolEnded(turn=turn, call=call)
                | ToolProgress(turn=turn, call=call)
                | RepeatStopped(turn=turn, call=call)
                | RiskyCallHeld(turn=turn, call=call)
            ):
                key = StepKey(event.step, turn, f"tool-{call}")
                self.tools[StepAt(unit, key)] = None
                return key
            case GuardrailChecked(turn=turn):
                return StepKey(event.step, turn, GUARD)
            case CallRepeated(step):
                return key_of(unit, step)
            case GateOpened() | GateAnswered() if event.step:
                return StepKey(event.step, 0, SAID)  # a person who takes part in a conversation speaks
            case GateOpened() | GateAnswered():
                # A tool's call asks for leave. Of an answer earlier releases recorded the unit alone.
                name = data.name if isinstance(data, GateOpened) else data.task
                tools = [key for whose, key in self.tools if whose == unit]
                asked = [key for key in tools if text_of(unit, key) == name]
                return next(reversed(asked or tools), None)
            case MemoryRecalled():
                return StepKey(event.step, 0, RECALLED)
            case RoutingReread():
                return self.turns.get(here)
            case BudgetReached() if event.step:
                return self.turns.get(here)
        return self.turns.get(here) if _happens_inside(data) else None
