"""The events of a run as its code is answered from them when it runs again: whose each one is, and how steps ended.

A *part* is what one process recorded: from the run's beginning, or from where it was taken up, to its end or its kill.
Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents import events as agent_events
from agents.errors import OutputInvalid, ToolFault
from agents.events import ToolEnded, ToolStarted, TurnEnded, TurnStarted
from agents.turn import StepKey
from orchestrator.errors import TaskTimedOut
from orchestrator.events import (
    BudgetReached,
    CallRepeated,
    ConversationEnded,
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
    TaskReset,
    TaskRetried,
    TaskStarted,
)
from orchestrator.units import StepPath, Unit, key_of, text_of
from providers import events as provider_events
from providers.budgets import BudgetRef
from providers.errors import BudgetSpent, NoRoute, Reason, ReasonCode, RoutingError

INSIDE = (agent_events.__name__, provider_events.__name__)
"""What stands in these modules happens inside a step."""
DECISIONS = (TaskStarted, TaskExpanded, ElementStarted, GateOpened, TaskEnded, TaskReset, RunFinished)


class StepAt(NamedTuple):
    """A step of a run: its unit, and its key there."""

    unit: Unit
    key: StepKey

    @property
    def path(self) -> str:
        """The step as text: `build[S-1]/try-1/turn-1/model`."""
        return text_of(self.unit, self.key)


class Place(NamedTuple):
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
        return self.step is None and _happens_inside(self.event.data)


@dataclass(slots=True)
class Span:
    """The events of one step in one part. `last` is the place of the last one; `ended`: a result was recorded."""

    last: int
    ended: bool = False


@dataclass(slots=True)
class Part:
    """What one process recorded. `before` are the events of those before it."""

    before: Sequence[Event]
    places: list[Place] = field(default_factory=list)
    spans: dict[StepAt, Span] = field(default_factory=dict)

    @property
    def finished(self) -> RunFinished | None:
        """How it ended; None: it was killed."""
        last = self.places[-1].event.data
        return last if isinstance(last, RunFinished) else None

    @property
    def stopped_after(self) -> int | None:
        """The number of places after which nothing new was begun, where somebody had the run stopped."""
        if self.finished is None or self.finished.status != "cancelled":
            return None
        free = [i for i, place in enumerate(self.places[:-1]) if place.is_decision or _is_answer(place)]
        return free[-1] + 1 if free else 1


def parts_of_record(events: Sequence[Event]) -> list[Part]:
    """Return the parts of a run's events, oldest first."""
    reader, parts, part = _Reader(), list[Part](), None
    for number, event in enumerate(events):
        match event.data:
            case RunForked():
                parts, part = [], None  # what came before another run did
            case RunEdited():
                reader.edit(event.data)
                part = None
            case RunStarted() | RunResumed():
                part = Part(events[:number])
                parts.append(part)
                reader.turns.clear()
                reader.tools.clear()
        if part is not None:
            reader.read(event, part)
    return parts


def _happens_inside(data: Any) -> bool:
    return type(data).__module__ in INSIDE


def _is_answer(place: Place) -> bool:
    return place.unit is None and isinstance(place.event.data, GateAnswered)


@dataclass(slots=True)
class _Reader:
    """Tells whose each event is, by what came before it."""

    attempts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))
    at_work: dict[tuple[str, str | None], Unit] = field(default_factory=dict)
    units: set[Unit] = field(default_factory=set)
    turns: dict[tuple[Unit, StepPath], StepKey] = field(default_factory=dict)
    """Place in a unit's work -> the model's step in flight there."""
    tools: dict[StepAt, None] = field(default_factory=dict)
    """Each tool's step, in the order in which they were begun."""

    def read(self, event: Event, part: Part) -> None:
        place = self._place(event)
        if place.at is not None:
            ended = isinstance(event.data, TurnEnded | ToolEnded)
            part.spans[place.at] = Span(len(part.places), ended)
        part.places.append(place)

    def _place(self, event: Event) -> Place:
        match event.data:
            case TaskStarted(task, attempt):
                self.attempts[task] = attempt
                self._begin(task, None)
            case ElementStarted(task, key):
                self._begin(task, key)
            case TaskReset(task):
                self.attempts[task] += 1
            case TaskEnded(task):
                return Place(event, self.at_work.pop((task, None), None))
            case ElementEnded(task, key):
                return Place(event, self.at_work.pop((task, key), None))
            case TaskParked(task, key):
                return Place(event, self.at_work.get((task, key)))
            case _:
                unit = event.unit if event.unit in self.units else None  # else it is of a task that a person answers
                return Place(event, unit, None if unit is None else self._step_of(event, unit))
        return Place(event)

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
            case ToolStarted(turn=turn, call=call) | ToolEnded(turn=turn, call=call):
                key = StepKey(event.step, turn, f"tool-{call}")
                self.tools[StepAt(unit, key)] = None
                return key
            case CallRepeated(step):
                return key_of(unit, step)
            case GateOpened() | GateAnswered():
                tools = [key for whose, key in self.tools if whose == unit]
                return tools[-1] if tools else None
            case RoutingReread():
                return self.turns.get(here)
            case BudgetReached() if event.step:
                return self.turns.get(here)
        return self.turns.get(here) if _happens_inside(data) else None


# ---- what a step without a result raised


def failure_at(part: Part, at: int, retried_on: frozenset[Any]) -> Exception | None:
    """Return the error that a step raised, out of what its unit did next, at place `at`; None: nothing says so.

    It has the recorded text and the name of the recorded class. `retried_on` are the causes that the task retries on.
    """
    place = part.places[at]
    match place.event.data:
        case TaskRetried(error=text):
            return _retried(text, retried_on)
        case TaskEnded(status="failed", error=text, error_kind=kind):
            return stand_in(Exception, kind or "Exception", text or "")
        case ElementEnded(status="failed", error=text, error_kind=kind):
            return stand_in(Exception, kind or "Exception", text or "")
        case BudgetReached(which, kind):
            return _spent(which, kind, _end_of(part, at, place.unit))
        case ConversationEnded(conversation, reason) if reason.startswith("its budget of "):
            return _spent(f"conversation {conversation}", reason.removeprefix("its budget of "), "")
    return None


def stand_in(base: type[Exception], kind: str, text: str) -> Exception:
    """Return an error of class `base` that is named `kind` and says `text`."""

    class StandIn(base):  # type: ignore[misc, valid-type]  # whichever class it stands in for
        def __init__(self) -> None:
            """Take none of what the class is usually made of."""

        def __str__(self) -> str:
            return text

    StandIn.__name__ = kind
    return StandIn()


def _retried(text: str, on: frozenset[Any]) -> Exception:
    causes: dict[str, type[Exception]] = {
        "provider": RoutingError,
        "invalid_output": OutputInvalid,
        "timeout": TaskTimedOut,
        "tool": ToolFault,
    }
    for cause, base in causes.items():
        if cause in on:
            return stand_in(base, base.__name__, text)
    error = stand_in(RoutingError, "RoutingError", text)
    error.earliest = 1.0  # type: ignore[attr-defined]  # a limit that ends: what `rate_limit` is told by
    return error


def _spent(which: str, kind: str, text: str) -> Exception:
    if which == "day":
        error = stand_in(NoRoute, "NoRoute", text)
        error.reasons = {"all": Reason(ReasonCode.BUDGET, "", budget=BudgetRef("day"))}  # type: ignore[attr-defined]  # NoRoute's own
        return error
    error = stand_in(BudgetSpent, "BudgetSpent", text)
    error.budget, error.kind = BudgetRef.read(which), kind  # type: ignore[attr-defined]  # BudgetSpent's own
    return error


def _end_of(part: Part, at: int, unit: Unit | None) -> str:
    """Return what the unit's end says, after place `at`."""
    for place in part.places[at:]:
        data = place.event.data
        if place.unit == unit and isinstance(data, TaskParked):
            return data.reason
        if place.unit == unit and isinstance(data, TaskEnded | ElementEnded):
            return data.error or ""
    return ""
