"""The tasks of a run: what each is at, who does it, how often it was tried, what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from agents.events import TurnEnded
from orchestrator.events import (
    AgentChosen,
    CaseChosen,
    CutText,
    ElementEnded,
    ElementStarted,
    Event,
    GateAnswered,
    GateOpened,
    MessageSpoken,
    RunEdited,
    RunFinished,
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
    UserSaid,
)
from orchestrator.server.views.part import PartOfRun
from orchestrator.squad.plan import HUMAN

ENDED = frozenset({"ok", "failed", "skipped", "cancelled"})
"""Statuses of tasks that have ended."""
AT_WORK = frozenset({"running", "gate"})


@dataclass(slots=True)
class TaskView:
    """One task. Times are epoch seconds. `tries` counts what `retry` made of its attempt."""

    id: str
    status: str = "waiting"
    who: str = ""
    began: float | None = None
    ended: float | None = None
    attempt: int = 1
    tries: int = 1
    turns: int = 0
    error: str = ""
    output: Any = None
    output_file: str | None = None
    model: str = ""
    """Who answered last: `provider/model`."""
    elements: dict[str, str] = field(default_factory=dict)
    """Of a `for_each`: the status of each element, by its key."""
    notes: list[str] = field(default_factory=list)
    """What happened to it: tries that failed, the case of a switch, the agent that was chosen."""
    truncated: tuple[CutText, ...] = ()

    def note(self, text: str) -> None:
        """Add to what happened to it."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def elements_done(self) -> int:
        return sum(status in ENDED for status in self.elements.values())


class TasksView(PartOfRun):
    """All tasks, by id, those of the plan first."""

    __slots__ = ("all",)
    TAKES: ClassVar = {
        RunStarted: "_begin",
        RunResumed: "_resume",
        RunEdited: "_edit",
        RunFinished: "_finish",
        TaskStarted: "_start",
        TaskEnded: "_end",
        TaskReset: "_reset",
        TaskParked: "_park",
        TaskResumed: "_start_again",
        TaskRetried: "_retry",
        TaskRepeated: "_repeat",
        TaskExpanded: "_expand",
        ElementStarted: "_start_element",
        ElementEnded: "_end_element",
        AgentChosen: "_choose",
        CaseChosen: "_choose",
        GateOpened: "_ask",
        GateAnswered: "_hear",
        MessageSpoken: "_hear_words",
        TurnEnded: "_turn",
        UserSaid: "_say",
    }

    def __init__(self) -> None:
        self.all: dict[str, TaskView] = {}

    def of(self, name: str) -> TaskView:
        """Return a task; one that no plan told of is a new one."""
        if (task := self.all.get(name)) is None:
            task = self.all[name] = TaskView(name)
        return task

    def ended(self) -> int:
        """Return how many have ended."""
        return sum(task.status in ENDED for task in self.all.values())

    def at_work(self) -> Iterator[TaskView]:
        """Yield those that are at work now."""
        return (task for task in self.all.values() if task.status == "running")

    def counts(self) -> dict[str, int]:
        """Return how many tasks are in each status."""
        counts: dict[str, int] = {}
        for task in self.all.values():
            counts[task.status] = counts.get(task.status, 0) + 1
        return counts

    # -- the run

    def _begin(self, event: Event) -> None:
        self.all = {name: TaskView(name) for name in event.data.tasks}

    def _resume(self, event: Event) -> None:  # noqa: ARG002  # all of these take the event
        for task in self.all.values():
            if task.status in ("parked", "interrupted"):
                task.status, task.ended = "running", None

    def _edit(self, event: Event) -> None:
        edit: RunEdited = event.data
        void = {*edit.again, *edit.gone} - edit.renamed.keys()
        kept = {edit.renamed.get(name, name): task for name, task in self.all.items() if name not in void}
        for name, task in kept.items():
            task.id = name
        self.all = {name: kept.get(name) or TaskView(name) for name in edit.tasks}

    def _finish(self, event: Event) -> None:
        for name, status in event.data.tasks.items():
            task = self.of(name)
            if task.status == "gate" and status == "waiting":
                continue  # a conversation in which a person is to speak is told as waiting, too
            if task.status in AT_WORK and status not in AT_WORK:
                task.ended = event.at
            if task.status != "parked":
                task.status = "interrupted" if status == "running" else status

    # -- one task

    def _start(self, event: Event) -> None:
        task, began = self.of(event.data.task), event.data
        is_again = began.attempt > task.attempt
        task.status, task.who, task.attempt, task.ended = "running", began.who, began.attempt, None
        if task.began is None or is_again:
            task.began = event.at

    def _end(self, event: Event) -> None:
        task, ended = self.of(event.data.task), event.data
        task.status, task.ended, task.error = ended.status, event.at, ended.error or ""
        task.output, task.output_file, task.truncated = ended.output, ended.output_file, ended.truncated
        for key, status in task.elements.items():
            if status not in ENDED:  # no event tells of those that `fail_fast` leaves out
                task.elements[key] = "cancelled"

    def _reset(self, event: Event) -> None:
        was = self.of(event.data.task)
        self.all[was.id] = TaskView(was.id, attempt=was.attempt, turns=was.turns, notes=was.notes)
        was.note(f"attempt {was.attempt} was sent back by a person")

    def _park(self, event: Event) -> None:
        task, parked = self.of(event.data.task), event.data
        if parked.key is None and task.status != "gate":
            task.status, task.error = "parked", parked.reason

    def _start_again(self, event: Event) -> None:
        task = self.of(event.data.task)
        if task.status == "parked":
            task.status, task.error = "running", ""

    def _retry(self, event: Event) -> None:
        task = self.of(event.data.task)
        task.tries = max(task.tries, event.data.attempt)
        key = None if event.unit is None else event.unit.key
        task.note(f"attempt {event.data.attempt}{f' of {key}' if key else ''}, after: {event.data.error}")

    def _repeat(self, event: Event) -> None:
        self.of(event.data.task).note(f"`until` did not hold after attempt {event.data.attempt}")

    def _expand(self, event: Event) -> None:
        task = self.of(event.data.task)
        task.elements = dict.fromkeys(event.data.keys, "waiting")
        task.status, task.began = "running", task.began or event.at

    def _start_element(self, event: Event) -> None:
        self.of(event.data.task).elements[event.data.key] = "running"

    def _end_element(self, event: Event) -> None:
        self.of(event.data.task).elements[event.data.key] = event.data.status

    def _choose(self, event: Event) -> None:
        task, chosen = self.of(event.data.task), event.data
        if isinstance(chosen, AgentChosen):
            task.who = chosen.agent
            task.note(f"{chosen.agent} was chosen, of {', '.join(chosen.among)}")
        else:
            task.note(f"case {chosen.case}, of {', '.join(chosen.cases)}")

    def _ask(self, event: Event) -> None:
        task = self.of(event.unit.task if event.unit is not None else event.data.task)
        task.status = "gate"
        if event.unit is None or event.data.task == task.id:  # an approval: a person does it
            task.who, task.began = task.who or "a person", task.began or event.at

    def _hear(self, event: Event) -> None:
        name = event.unit.task if event.unit is not None else event.data.task
        if name in self.all and self.all[name].status == "gate":
            self.all[name].status = "running"

    def _hear_words(self, event: Event) -> None:
        if event.data.speaker == HUMAN and event.unit is not None:
            self._hear(event)

    def _turn(self, event: Event) -> None:
        if event.unit is not None:
            task = self.of(event.unit.task)
            task.turns += 1
            task.model = f"{event.data.provider}/{event.data.model}"

    def _say(self, event: Event) -> None:
        self.of(f"say-{event.data.number}").who = event.data.agent


def as_it_stands(tasks: Mapping[str, TaskView], standing: str) -> dict[str, TaskView]:
    """Return the tasks as the run's state has them: nothing is at work in a run that nobody drives."""
    if standing == "running":
        return dict(tasks)
    lost = {"running": "cancelled" if standing == "cancelled" else "interrupted"}
    lost |= {"gate": "cancelled", "waiting": "cancelled"} if standing == "cancelled" else {}
    return {
        name: replace(task, status=lost[task.status]) if task.status in lost else task for name, task in tasks.items()
    }
