"""What an edited squad does to a recorded run: which tasks keep their record, and which run again. Pure.

A task keeps its record where its digest is the recorded one: the same words, agents and inputs, and so for every task
that it needs. The order and the names of tasks do not count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator.errors import EditUnknown, UnknownTask
from orchestrator.events import (
    Event,
    GateOpened,
    RunEdited,
    RunForked,
    TaskEnded,
    TaskExpanded,
    TaskReset,
    TaskStarted,
    TaskStatus,
)
from orchestrator.events.bills import Bill, bill_of
from orchestrator.journal.protocols import InFlightStep, RunManifest, StepRecord
from orchestrator.rerun.fingerprint import changed, conversations_of, doers_of, inputs_of
from orchestrator.run.history import edited, standing
from orchestrator.squad.elements import fan_outs, template_of
from orchestrator.squad.parts import beginnings
from orchestrator.squad.plan import Plan
from orchestrator.units import StepPath, Unit
from providers.messages import Usage


class Spent(NamedTuple):
    """Tokens, and micro-USD (None: unknown)."""

    usage: Usage = Usage()
    cost: int | None = 0

    def plus(self, other: Spent | Bill) -> Spent:
        cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        return Spent(self.usage + other.usage, cost)


@dataclass(slots=True)
class Stand:
    """Where a task stood that had begun. `revised`: a reviewer had it done again."""

    status: TaskStatus = "waiting"
    revised: bool = False
    is_gate: bool = False
    spent: Spent = field(default_factory=Spent)

    @property
    def at_work(self) -> bool:
        return self.status in ("running", "gate")

    @property
    def is_open(self) -> bool:
        """Return whether it has not ended."""
        return self.at_work or self.status == "waiting"


@dataclass(frozen=True, slots=True)
class Edit:
    """What becomes of each task of a run when `plan` is its plan from now on."""

    plan: Plan
    parts: tuple[str, ...]
    """What differs, by the names that people know."""
    stood: Mapping[str, Stand]
    """How each task stood that had begun, by its former name."""
    kept: Mapping[str, str]
    """Former name -> name, of each task that had begun and keeps its record."""
    again: Mapping[str, str]
    """Task that had begun, and runs again -> why."""
    gone: tuple[str, ...]
    attempts: Mapping[str, int]
    """Units of these tasks count on from this number: their names were used before."""

    @property
    def renamed(self) -> dict[str, str]:
        """Return former name -> name of each task that keeps its record under another."""
        return {old: new for old, new in self.kept.items() if old != new}

    @property
    def moved(self) -> dict[str, str]:
        """Return those of the renamed tasks whose recorded steps are to be found under the new name, too."""
        return {old: new for old, new in self.renamed.items() if new not in self.attempts}

    @property
    def is_more(self) -> bool:
        """Return whether anything is left to be done."""
        ended = {new for old, new in self.kept.items() if not self.stood[old].is_open}
        return not self.plan.tasks.keys() <= ended

    def spent_on(self, former: Iterable[str]) -> Spent:
        """Return what these tasks' records were paid with."""
        total = Spent()
        for name in former:
            total = total.plus(self.stood[name].spent)
        return total

    def void(self, steps: Iterable[InFlightStep]) -> list[InFlightStep]:
        """Return those of the steps in flight whose units no longer count."""
        gone = {*self.again, *self.gone, *self.renamed}
        return [step for step in steps if step.unit.task in gone]

    def event(self, in_flight: Iterable[InFlightStep] = ()) -> RunEdited:
        """Return the edit as the run records it; `in_flight` are the steps that were cut short before it."""
        return RunEdited(
            tuple(self.plan.tasks),
            self.parts,
            tuple(self.again),
            self.gone,
            self.renamed,
            dict(self.attempts),
            tuple(step.path for step in self.void(in_flight)),
        )


def edit_of(was: RunManifest, events: Sequence[Event], plan: Plan, now: RunManifest, start: str | None = None) -> Edit:
    """Return what becomes of a run that was made of `was` when it is made of `now`, with this plan.

    `start` names a task that runs again whatever was edited, and so does all that needs it. Raises `EditUnknown`,
    `UnknownTask`.
    """
    parts = tuple(changed(was.parts, now.parts))
    if not was.dependency_digests and parts:
        raise EditUnknown(parts)
    stood, used = stood_of(standing(events)), attempts_used(events)
    plan = fan_outs(plan, {event.data.task: event.data.output for event in standing(events) if _is_well(event)})
    before = was.dependency_digests or now.dependency_digests
    if start is not None and start not in plan.tasks:
        raise UnknownTask(start, plan.tasks)
    kept = matched(_of_elements(before, plan), _of_elements(now.dependency_digests, plan))
    lost = {name: "it is new" for name in plan.tasks if name not in kept}
    if start is not None:
        lost |= dict.fromkeys(beginnings(start, plan), "asked for")  # all of a sub-squad, not its end alone
    fresh = with_dependents(plan, lost)
    while unsure := {
        name for name in plan.tasks if name not in fresh and _is_unsure(plan, name, kept, fresh, stood, used)
    }:
        lost |= dict.fromkeys(unsure, "what it was asked would change")
        fresh = with_dependents(plan, fresh | unsure)
    kept_by_old = {old: new for new, old in kept.items() if new not in fresh and old in stood}
    voided = [name for name in stood if name not in kept_by_old]
    again = {name: _why(plan, name, parts, fresh, lost) for name in plan.tasks if name in fresh and name in voided}
    begun = set(kept_by_old.values())
    attempts = {name: used[name] + 1 for name in plan.tasks if name not in begun and used[name]}
    taken = {new: max(used[new], used[old]) for old, new in kept_by_old.items() if new != old and used[new]}
    gone = tuple(name for name in voided if name not in again)
    return Edit(plan, parts, stood, kept_by_old, again, gone, attempts | taken)


def _is_well(event: Event) -> bool:
    return isinstance(event.data, TaskEnded) and event.data.status == "ok"


def _of_elements(digests: Mapping[str, str], plan: Plan) -> dict[str, str]:
    """Return the digests of tasks, those of elements' sub-squads by the names that they have in this plan."""
    own = {name: digest for name, digest in digests.items() if name not in plan.templates}
    names = (name for name in plan.tasks if name not in own and template_of(name) in digests)
    return own | {name: digests[template_of(name)] for name in names}


def matched(was: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return task -> its former name, of each whose digest was recorded: its own name first, then those left over."""
    kept = {name: name for name, digest in now.items() if was.get(name) == digest}
    left = defaultdict(list)
    for name, digest in was.items():
        if name not in kept:
            left[digest].append(name)
    for name, digest in now.items():
        if name not in kept and left[digest]:
            kept[name] = left[digest].pop(0)
    return kept


def with_dependents(plan: Plan, tasks: Collection[str]) -> set[str]:
    """Return these tasks and all that need them, however far."""
    found = set(tasks)
    for task in plan.tasks.values():  # each after those it needs
        if not found.isdisjoint(task.needs):
            found.add(task.id)
    return found


def _is_unsure(
    plan: Plan,
    name: str,
    kept: Mapping[str, str],
    fresh: Collection[str],
    stood: Mapping[str, Stand],
    used: Mapping[str, int],
) -> bool:
    """Whether a task was at work on a request that it would not make again, though its digest is the same.

    `used` is of `attempts_used`.
    """
    old, task = kept[name], plan.tasks[name]
    stand = stood.get(old)
    if stand is None or not stand.at_work:
        return False
    if name != old and used.get(name):
        return True  # its new name has a record already, if only of what no longer counts
    if any(kept.get(read) != read for read in task.context):
        return True  # its brief calls others by their names
    # A reviewer's comment goes with the gate it was given at.
    standing_gates = {old for new, old in kept.items() if new not in fresh}
    return stand.revised and any(other.is_gate and gate not in standing_gates for gate, other in stood.items())


def _why(plan: Plan, name: str, parts: Collection[str], fresh: Collection[str], lost: Mapping[str, str]) -> str:
    task = plan.tasks[name]
    if lost.get(name, "it is new") != "it is new":
        return lost[name]
    if f"task {template_of(name)}" in parts and name in lost:
        return "it was edited"
    read = [
        *(f"agent {agent}" for agent in sorted(doers_of(plan, task))),
        *(f"conversation {held}" for held in conversations_of(plan, task)),
        *(f"input {given}" for given in sorted(inputs_of(plan, task))),
        "history",
    ]
    needs = [f"it needs {need}" for need in task.needs if need in fresh]
    return next((f"{part} was edited" for part in read if part in parts), needs[0] if needs else "it was edited")


def stood_of(events: Iterable[Event]) -> dict[str, Stand]:
    """Return how each task stands that has begun."""
    stood: dict[str, Stand] = {}
    for event in events:
        task = "" if event.unit is None else event.unit.task
        match event.data:
            case TaskStarted() | TaskExpanded():
                stood.setdefault(task, Stand()).status = "running"
            case GateOpened() if event.data.task == task and (task not in stood or stood[task].status != "running"):
                stand = stood.setdefault(task, Stand())
                stand.status, stand.is_gate = "gate", True
            case TaskEnded(status=status):
                stood.setdefault(task, Stand()).status = status
            case TaskReset():
                stood[task].status, stood[task].revised = "waiting", True
        if (bill := bill_of(event.data)) is not None:
            stand = stood.setdefault(task, Stand())
            stand.spent = stand.spent.plus(bill)
    return stood


def attempts_used(events: Iterable[Event]) -> Counter[str]:
    """Return the highest number of an attempt that was begun under each name, whichever task it was then."""
    used, now = Counter[str](), defaultdict[str, int](lambda: 1)
    for event in events:
        match event.data:
            case TaskStarted() | TaskExpanded() | GateOpened() if event.unit is not None:
                task = event.unit.task
                used[task] = max(used[task], now[task])
            case TaskReset(task):
                now[task] += 1
            case RunEdited(renamed=renamed, attempts=attempts):
                before, begun = dict(now), dict(used)
                for old, new in renamed.items():
                    now[new] = max(before.get(new, 1), before.get(old, 1))
                    used[new] = max(begun.get(new, 0), begun.get(old, 0))
                now.update(attempts)
    return used


def events_of_fork(source: str, events: Sequence[Event], edit: Edit, opening: Event) -> list[Event]:
    """Return the events that a fork begins with: `opening`, those of tasks that keep their record, whose they were."""
    numbers = Counter[tuple[Unit | None, StepPath, int]]()
    total = edit.spent_on(edit.kept)
    forked = RunForked(source, tuple(edit.kept.values()), tuple(edit.again), edit.parts, total.usage, total.cost)
    left = [_stripped(event, edit) for event in edited(standing(events), edit.event()) if _goes_along(event)]
    made = []
    for event in [opening, *left, opening._replace(data=forked)]:
        place = (event.unit, event.step, event.turn)
        numbers[place] += 1
        made.append(event._replace(run_id=opening.run_id, seq=numbers[place]))
    return made


def moved_steps(steps: Iterable[StepRecord], tasks: Mapping[str, str]) -> list[StepRecord]:
    """Return the ended steps of these tasks (former name -> name), as if they had ended under the new name."""
    ended = (step for step in steps if step.done and step.unit.task in tasks)
    return [step._replace(unit=step.unit._replace(task=tasks[step.unit.task])) for step in ended]


def _goes_along(event: Event) -> bool:
    return event.unit is not None or (isinstance(event.data, RunEdited) and bool(event.data.attempts))


def _stripped(event: Event, edit: Edit) -> Event:
    """Return an earlier edit without what it did: of that, the events beside it are the result."""
    if not isinstance(event.data, RunEdited):
        return event
    return event._replace(data=RunEdited(tuple(edit.plan.tasks), (), attempts=event.data.attempts))
