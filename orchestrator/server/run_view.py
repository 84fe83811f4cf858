"""A recorded run as pages and the API show it: a fold of its events, which goes on with each new one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from agents.events import FileOrigin
from orchestrator.events import (
    ArtifactWritten,
    Event,
    FileWritten,
    GateAnswered,
    GateOpened,
    RunFinished,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskReset,
    TaskRetried,
)
from orchestrator.server.views.calls import CallsView
from orchestrator.server.views.money import MoneyView, SpentSoFar
from orchestrator.server.views.notes import WarningsView
from orchestrator.server.views.part import PartOfRun, takers
from orchestrator.server.views.talk import TalksView
from orchestrator.server.views.tasks import TasksView, TaskView
from orchestrator.server.views.timeline import TimelineView
from orchestrator.server.views.turns import TurnsView


class FileView(NamedTuple):
    """A file that the run made. `text` None: it is in the run's folder alone. `at` is epoch seconds."""

    path: str
    sha256: str
    size: int
    at: float
    task: str
    text: str | None


class RunView(PartOfRun):
    """One run. `status` is as recorded: "running" until its last event. `last` is the number of its last event.

    `asked` are questions that may await a person, by name: none that does is missing, and some that do not may be in it
    (`orchestrator.run.approvals` decides). `at` is when the last event was recorded.
    """

    TAKES: ClassVar = {
        RunStarted: "_begin",
        RunResumed: "_resume",
        RunFinished: "_finish",
        ArtifactWritten: "_artifact",
        FileWritten: "_file",
        FileOrigin: "_origin",
        GateOpened: "_ask",
        GateAnswered: "_hear",
        TaskReset: "_close",
        TaskEnded: "_close",
        TaskRetried: "_close",
    }

    def __init__(self, run: str) -> None:
        self.id = run
        self.squad, self.status, self.stub = "", "running", False
        self.began: float | None = None
        self.ended: float | None = None
        self.at = 0.0
        self.last = 0
        self.out: str | None = None
        self.finished: RunFinished | None = None
        self.files: dict[str, FileView] = {}
        self.untrusted: dict[str, tuple[str, ...]] = {}
        """File -> the sources of what others wrote that it may hold."""
        self.asked: dict[str, GateOpened] = {}
        self.work, self.money, self.calls = TasksView(), MoneyView(), CallsView()
        self.timeline, self.talks, self.warnings = TimelineView(), TalksView(), WarningsView()
        self.turns = TurnsView()
        parts = (self, self.work, self.money, self.calls, self.timeline, self.talks, self.warnings, self.turns)
        self._takers = takers(parts)

    @property
    def tasks(self) -> dict[str, TaskView]:
        """All tasks, by id."""
        return self.work.all

    @property
    def spent(self) -> SpentSoFar:
        return self.money.total

    def apply(self, event: Event) -> None:
        """Take the next event."""
        self.last += 1
        self.at = event.at
        for take in self._takers.get(type(event.data), ()):
            take(event)

    def _begin(self, event: Event) -> None:
        self.squad, self.stub, self.began, self.out = event.data.squad, event.data.stub, event.at, event.data.out

    def _resume(self, event: Event) -> None:  # noqa: ARG002  # as all of these
        self.status, self.ended, self.finished = "running", None, None

    def _finish(self, event: Event) -> None:
        self.status, self.ended, self.finished = event.data.status, event.at, event.data

    def _artifact(self, event: Event) -> None:
        made: ArtifactWritten = event.data
        task = event.unit.task if event.unit else ""
        self.files[made.path] = FileView(made.path, made.sha256, made.size, event.at, task, made.text)

    def _file(self, event: Event) -> None:
        path, task = event.data.path, event.unit.task if event.unit else ""
        self.files[path] = FileView(path, event.data.sha256, event.data.size, event.at, task, None)

    def _origin(self, event: Event) -> None:
        self.untrusted[event.data.path] = event.data.untrusted

    def _ask(self, event: Event) -> None:
        self.asked[event.data.name] = event.data

    def _hear(self, event: Event) -> None:
        for name in [name for name, gate in self.asked.items() if event.data.task in (name, gate.task)]:
            del self.asked[name]

    def _close(self, event: Event) -> None:
        of = event.data.task
        for name in [name for name, gate in self.asked.items() if gate.task == of]:
            del self.asked[name]


def view_of(run: str, events: Iterable[Event]) -> RunView:
    """Return a run as its events so far have it."""
    view = RunView(run)
    for event in events:
        view.apply(event)
    return view
