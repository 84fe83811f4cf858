"""How long a run was at work, from its events: the time in which only people were waited for is not work. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agents.events import ContextSummarised, HistorySummarised, ToolEnded, ToolStarted, TurnEnded, TurnStarted
from agents.run_context import StepKey
from orchestrator.events import (
    ElementEnded,
    ElementStarted,
    Event,
    GateAnswered,
    GateOpened,
    MessageSpoken,
    RunEdited,
    RunForked,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskParked,
    TaskReset,
    TaskResumed,
    TaskRetried,
    TaskStarted,
)
from orchestrator.squad.plan import HUMAN
from orchestrator.units import Unit, key_of, outer_call

UnitName = tuple[str, str | None]
"""A task, and the element of its `for_each`."""
_LYING = (RunStarted, RunResumed, RunEdited, RunForked)
"""Before these events no process worked on the run: the time until them does not count."""


@dataclass(slots=True)
class _UnitWork:
    """A unit: its calls in flight, and its open questions by name, each with the call that asks."""

    calls: set[StepKey] = field(default_factory=set)
    asking: dict[str, StepKey] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether it waits for people alone."""
        around = {outer_call(call) for call in self.calls}  # they wait for what is done inside of them
        return bool(self.asking) and self.calls - around <= set(self.asking.values())

    def answered(self, question: str) -> None:
        if self.asking.pop(question, None) is None:  # earlier releases recorded a call's answer under its unit
            self.asking.clear()


@dataclass(slots=True)
class WorkTime:
    """The fold of a run's events. `seconds` is its time at work."""

    seconds: float = 0.0
    _before: float | None = None
    """When the event before was; None: there is none, as where a unit's own events are told alone."""
    _at_work: dict[UnitName, _UnitWork] = field(default_factory=dict)
    _parked: dict[UnitName, _UnitWork] = field(default_factory=dict)
    _gates: set[str] = field(default_factory=set)
    """The approvals that are open."""
    _askers: set[UnitName] = field(default_factory=set)
    """The units at work that have an open question."""

    def apply(self, event: Event) -> None:
        """Take the next event."""
        if self._before is not None and not isinstance(event.data, _LYING) and not self._waits():
            # Never less than 0: a clock that was set back takes no time off.
            self.seconds += max(event.at - self._before, 0.0)
        self._before = event.at
        if isinstance(event.data, RunForked):
            self.seconds = 0.0
        elif isinstance(event.data, RunResumed | RunEdited):
            self._turn(event.data)
            self._askers = {name for name, unit in self._at_work.items() if unit.asking}
        elif event.unit is not None:
            self._fold(event, event.unit)

    def _waits(self) -> bool:
        return bool(self._gates or self._askers) and all(unit.waits for unit in self._at_work.values())

    def _fold(self, event: Event, of: Unit) -> None:
        unit = self._at_work.get(of[:2])
        match event.data:
            case TaskStarted(task):
                self._at_work[task, None] = _UnitWork()
            case ElementStarted(task, key):
                self._at_work[task, key] = _UnitWork()
            case TaskEnded(task):
                self._at_work.pop((task, None), None)
                self._gates.discard(task)
            case ElementEnded(task, key):
                self._at_work.pop((task, key), None)
            case TaskParked(task, key) if (task, key) in self._at_work:
                self._parked[task, key] = self._at_work.pop((task, key))
            case TaskResumed(task, key) if (task, key) in self._parked:
                self._at_work[task, key] = self._parked.pop((task, key))
                self._at_work[task, key].calls.clear()
            case TaskReset(task):
                self._gates.discard(task)
            case GateOpened() if unit is None:
                self._gates.add(event.data.name)
            case GateAnswered(task) if unit is None:
                self._gates.discard(task)
            case _ if unit is not None:
                _fold_inside(unit, event, of)
                (self._askers.add if unit.asking else self._askers.discard)(of[:2])
        if self._askers:
            self._askers &= self._at_work.keys()

    def _turn(self, data: RunResumed | RunEdited) -> None:
        """Take that the run was taken up, or is made of something else from here on."""
        if isinstance(data, RunResumed):
            self._at_work |= self._parked
            self._parked = {}
            for unit in self._at_work.values():
                unit.calls.clear()
            return
        void = {*data.again, *data.gone} - data.renamed.keys()
        for units in (self._at_work, self._parked):
            kept = {name: unit for name, unit in units.items() if name[0] not in void}
            units.clear()
            units.update({(data.renamed.get(task, task), key): unit for (task, key), unit in kept.items()})
        self._gates = {data.renamed.get(task, task) for task in self._gates - void}


def waited_in(events: Iterable[Event], of: Unit, questions: Iterable[str], since: float) -> Iterator[float]:
    """Yield for how long a unit has waited for people alone by each of its events, from `since` on, when it was begun.

    `questions` are those that were open then.
    """
    unit, waited, before = _UnitWork(asking={name: key_of(of, name) for name in questions}), 0.0, since
    for event in events:
        waited += max(event.at - before, 0.0) if unit.waits else 0.0
        before = event.at
        _fold_inside(unit, event, of)
        yield waited


def _fold_inside(unit: _UnitWork, event: Event, of: Unit) -> None:
    match event.data:
        case TurnStarted(turn=turn):
            unit.calls.add(StepKey(event.step, turn, "model"))
        case TurnEnded(turn=turn) | HistorySummarised(turn=turn) | ContextSummarised(turn=turn):
            unit.calls.discard(StepKey(event.step, turn, "model"))
        case ToolStarted(turn=turn, call=call):
            unit.calls.add(StepKey(event.step, turn, f"tool-{call}"))
        case ToolEnded(turn=turn, call=call):
            unit.calls.discard(StepKey(event.step, turn, f"tool-{call}"))
        case GateOpened():
            unit.asking[event.data.name] = key_of(of, event.data.name)
        case GateAnswered(task):
            unit.answered(task)
        case MessageSpoken(speaker=speaker) if speaker == HUMAN:  # all that earlier releases recorded of an answer
            for name in [name for name in unit.asking if name.startswith(f"{event.path}/")]:
                del unit.asking[name]
        case TaskRetried():
            unit.calls.clear()
            unit.asking.clear()
