"""The decisions of a run, made once more from its record: each must be the one that was recorded. Pure.

What comes from outside is taken from the record: how units ended, what people answered, whether the run was stopped.
Each decision between is compared with the one that follows from all before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from orchestrator.events import (
    ArtifactWritten,
    BudgetReached,
    ElementEnded,
    ElementStarted,
    Event,
    FileUnwritten,
    RunFinished,
    RunResumed,
    RunStarted,
    TaskParked,
    TaskResumed,
    TaskStarted,
)
from orchestrator.rerun.record import Difference, PlacedEvent, RecordPart, same
from orchestrator.run.actions import next_action
from orchestrator.run.budget import on_exceed
from orchestrator.run.history import RunHistory, is_question
from orchestrator.run.recorder import Recorder
from orchestrator.run.state import RunState, units_at_work
from orchestrator.run.taint import Taint, taint_of_unit, values_of
from orchestrator.run.task_state import Review
from orchestrator.run.verdict import finish_of
from orchestrator.squad.elements import has_task
from orchestrator.squad.plan import Plan
from orchestrator.units import Unit
from providers.budgets import BudgetRef


class UnitBegun(NamedTuple):
    """A unit is put to work after `number` events. `values` and `review` are as they stand only now."""

    number: int
    unit: Unit
    values: Mapping[str, Any]
    review: Review
    taint: Taint


def decisions_of(part: RecordPart, plan: Plan, past: RunHistory, run: str) -> Iterator[UnitBegun | Difference]:
    """Yield each unit that is put to work in a part of the record; the first decision that differs ends it.

    `past` is the history of the part's `before`.
    """
    if not all(has_task(plan, task) for task in {event.unit.task for event in past.standing if event.unit is not None}):
        yield Difference(len(part.before), part.places[0].event, None)  # it went on with tasks that the plan lacks
        return
    fold = _Fold(part, plan, past, run)
    for number, place in enumerate(part.places):
        fold.number = number
        if (difference := fold.judge(place)) is not None:
            yield difference
            return
        fold.apply(place)
        yield from fold.begun(place.event.data)


@dataclass(slots=True)
class _Fold:
    part: RecordPart
    plan: Plan
    past: RunHistory
    run: str
    number: int = 0
    state: RunState = field(init=False)
    recorder: Recorder = field(init=False)
    made: list[Event] = field(default_factory=list)
    artifacts: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.state = RunState(self.plan)
        for event in self.past.standing:
            self.state.apply(event.data)
        # What a unit said is in the record because it was new: here only questions are decided, and asked once.
        asked = Counter({said: times for said, times in self.past.told.items() if is_question(said)})
        told_once = replace(self.past, told=asked)
        self.recorder = Recorder(self.run, self.made.append, lambda: self.part.places[self.number].event.at, told_once)
        self.artifacts = {path: written.sha256 for path, (_, written) in self.past.artifacts.items()}

    def judge(self, place: PlacedEvent) -> Difference | None:
        """Return the difference where the event that follows is another than the recorded one."""
        recorded, expected = place.event, self._expected(place)
        self.made.clear()
        if expected is not None:
            self.recorder.record(expected, recorded.unit, recorded.step)
        if self.made and same(recorded, self.made[0]):
            return None
        return Difference(len(self.part.before) + self.number, recorded, self.made[0] if self.made else None)

    def _expected(self, place: PlacedEvent) -> Any:
        """Return what happens next. What is not decided here is as it was recorded."""
        data = place.event.data
        match data:
            case RunStarted() if self.number == 0:
                return RunStarted(self.plan.name, tuple(self.plan.tasks), data.stub, data.out)
            case RunResumed() if self.number == 0:
                done = (name for name, task in self.state.tasks.items() if task.status in ("ok", "skipped"))
                return replace(data, done=tuple(done))
            case RunFinished():
                return self._finish(data)
            case ElementEnded() | TaskParked() | TaskResumed() if place.unit is None:
                return None  # no such unit is at work
            case BudgetReached(which=which) if place.step is None and which != "day":
                return replace(data, action=on_exceed(self.plan, BudgetRef.read(which)))
        return next_action(self.state) if place.is_decision else data

    def _finish(self, recorded: RunFinished) -> Any:
        if recorded.status == "cancelled":
            # A stop has no event of its own. What was begun before it is in the record.
            self.state.stopping = "cancelled"
        left = None if self.state.stopping else next_action(self.state)
        if left is not None:
            return left
        made = finish_of(self.state, self.recorder, self.artifacts, stub=recorded.stub)
        if made.output_errors and recorded.status == "done" and not recorded.output_errors:
            # An earlier release, for which an output that cannot be told was one that is nothing.
            made = replace(made, status="done", output_errors={})
        return _as_once(made, recorded.tasks)

    def apply(self, place: PlacedEvent) -> None:
        data = place.event.data
        self.state.apply(data)
        match data:
            case ArtifactWritten(path=path, sha256=sha256):
                self.artifacts[path] = sha256
            case FileUnwritten(path=path):
                self.artifacts.pop(path, None)
            case BudgetReached(which="squad", action=action) if place.unit is None:
                self.state.stop("paused" if action == "pause" else "stopped")
            case BudgetReached(which="squad", action=action) if place.step is None and action != "pause":
                self.state.stop("stopped")

    def begun(self, data: Any) -> Iterator[UnitBegun]:
        """Yield the units that an event puts to work."""
        match data:
            case TaskStarted(task):
                yield self._unit(task, None)
            case ElementStarted(task, key):
                yield self._unit(task, key)
            case RunResumed():
                yield from [self._unit(task, key) for task, key in units_at_work(self.state)]

    def _unit(self, task: str, key: str | None) -> UnitBegun:
        own = self.state.tasks[task]
        unit = Unit(task, key, own.attempt)
        taint = taint_of_unit(self.state, unit)
        return UnitBegun(self.number, unit, values_of(self.state, unit), own.review_of(key), taint)


def _as_once(made: RunFinished, recorded: Mapping[str, str]) -> RunFinished:
    """Return the end of a run with the words of earlier releases for tasks that it left, where they are recorded so."""
    tasks = {name: recorded[name] if recorded.get(name) in ("running", "gate") else s for name, s in made.tasks.items()}
    return made if tasks == made.tasks else replace(made, tasks=tasks)
