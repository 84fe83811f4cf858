"""A recorded run as pages and the API show it: a fold of its events. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.events import TurnEnded
from orchestrator.events import (
    Event,
    GateAnswered,
    GateOpened,
    RunEdited,
    RunFinished,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskReset,
    TaskStarted,
)
from orchestrator.run.budget import Bill, bill_of


@dataclass(slots=True)
class SpentSoFar:
    """Tokens, micro-USD of calls whose price is known, and how many there are of the others."""

    tokens: int = 0
    cost: int = 0
    unknown: int = 0

    def add(self, bill: Bill) -> None:
        self.tokens += bill.usage.total
        self.cost += bill.cost or 0
        self.unknown += bill.cost is None


@dataclass(slots=True)
class TaskView:
    """One task. Times are epoch seconds."""

    id: str
    status: str = "waiting"
    who: str = ""
    began: float | None = None
    ended: float | None = None
    attempt: int = 1
    turns: int = 0
    spent: SpentSoFar = field(default_factory=SpentSoFar)
    error: str = ""


@dataclass(slots=True)
class RunView:
    """One run. `status` is as recorded: "running" until its last event. `last` is the number of its last event."""

    id: str
    squad: str = ""
    status: str = "running"
    stub: bool = False
    began: float | None = None
    ended: float | None = None
    spent: SpentSoFar = field(default_factory=SpentSoFar)
    last: int = 0
    tasks: dict[str, TaskView] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Take the next event."""
        self.last += 1
        self._count(event)
        match event.data:
            case RunStarted(squad, tasks, stub):
                self.squad, self.stub, self.began = squad, stub, event.at
                self.tasks = {name: TaskView(name) for name in tasks}
            case RunResumed():
                self.status, self.ended = "running", None
            case RunEdited(tasks, again=again):
                self.tasks = {n: TaskView(n) if n in again else self.tasks.get(n, TaskView(n)) for n in tasks}
            case RunFinished() as finished:
                self.status, self.ended = finished.status, event.at
            case TaskStarted(name, attempt, who):
                task = self._task(name)
                task.status, task.who, task.attempt, task.ended = "running", who, attempt, None
                task.began = event.at if task.began is None or attempt > 1 else task.began
            case TaskEnded(name) as ended:
                task = self._task(name)
                task.status, task.ended, task.error = ended.status, event.at, ended.error or ""
            case TaskReset(name):
                self.tasks[name] = TaskView(name)
            case GateOpened() if event.unit is not None:
                self._task(event.unit.task).status = "gate"
            case GateAnswered() if event.unit is not None and self._task(event.unit.task).status == "gate":
                self._task(event.unit.task).status = "running"

    def _count(self, event: Event) -> None:
        if (bill := bill_of(event.data)) is None:
            return
        self.spent.add(bill)
        if event.unit is not None:
            task = self._task(event.unit.task)
            task.spent.add(bill)
            task.turns += isinstance(event.data, TurnEnded)

    def _task(self, name: str) -> TaskView:
        return self.tasks.setdefault(name, TaskView(name))


def view_of(run: str, events: Iterable[Event]) -> RunView:
    """Return a run as its events so far have it."""
    view = RunView(run)
    for event in events:
        view.apply(event)
    return view
