"""What a recorded run says of itself, as expectations ask for it. Pure: events and steps in, plain values out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.events import GuardrailChecked, TextsEmbedded, ToolEnded, ToolStarted, TurnEnded, TurnStarted
from agents.run_context import StepKey
from orchestrator.events import (
    ArtifactWritten,
    ConversationEnded,
    ElementEnded,
    Event,
    FileWritten,
    GateOpened,
    MessageSpoken,
    RunFinished,
    RunResumed,
    RunStarted,
    TaskEnded,
)
from orchestrator.journal.protocols import StepRecord
from orchestrator.squad.elements import as_text
from orchestrator.units import StepPath, Unit
from providers.events import AttemptEnded
from providers.messages import Response, Usage

OUR_FAULT = frozenset({"NoRoute", "AllAttemptsFailed", "NoProvider"})
"""Errors of a task that say nothing of the squad: no provider answered."""


NO_FILES: Mapping[str, str | None] = {}


@dataclass(frozen=True, slots=True)
class TaskFact:
    """How a task ended. `output` is its value, `items` the outputs of a `for_each`'s elements by key."""

    status: str
    output: Any = None
    error: str = ""
    error_kind: str = ""
    items: Mapping[str, Any] | None = None
    attempts: int = 1

    @property
    def text(self) -> str:
        return "" if self.output is None else as_text(self.output)


@dataclass(frozen=True, slots=True)
class ToolFact:
    """One tool call: who made it with which arguments, in which turn of which work, and what came of it."""

    agent: str
    tool: str
    arguments: Mapping[str, Any]
    ok: bool
    result: str
    task: str


@dataclass(frozen=True, slots=True)
class ConversationFact:
    """How a conversation was held. `speakers` are those of its utterances, in their order."""

    name: str
    speakers: tuple[str, ...]
    texts: tuple[str, ...]
    ended_by: str
    task: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run, told by its record. `cost` is USD, None where a price is unknown; `files` path -> text, None: not known.

    `spoke` are the agents of all model turns in the order in which they ended; `failovers` the attempts that failed and
    were followed by another.
    """

    run_id: str
    status: str
    cost: float | None
    tokens: int
    turns: int
    seconds: float
    failovers: int
    stub: bool
    outputs: Mapping[str, Any]
    tasks: Mapping[str, TaskFact]
    spoke: tuple[str, ...] = ()
    tools: tuple[ToolFact, ...] = ()
    conversations: tuple[ConversationFact, ...] = ()
    files: Mapping[str, str | None] = field(default_factory=dict)
    guardrails: int = 0
    questions: int = 0

    @property
    def provider_fault(self) -> str:
        """Why the run says nothing of the squad: no provider answered, or a cap was reached; empty: it does."""
        return next((task.error for task in self.tasks.values() if task.error_kind in OUR_FAULT), "")


def facts_of(
    run_id: str, events: Sequence[Event], steps: Sequence[StepRecord], files: Mapping[str, str | None] = NO_FILES
) -> RunFacts:
    """Return what a record says of its run. One that did not end has the status `running`.

    `files` are those that were found after it, beside what the record says of files.
    """
    results = {(step.unit, step.key): step.result for step in steps if step.done}
    reader = _FactReader(results)
    for event in events:
        reader.read(event)
    reader.files.update(files)
    return reader.facts(run_id)


@dataclass(slots=True)
class _FactReader:
    results: Mapping[tuple[Unit, StepKey], Any]
    began: float | None = None
    ended: float = 0.0
    finished: RunFinished | None = None
    stub: bool = False
    cost: int | None = 0
    usage: Usage = field(default_factory=Usage)
    turns: int = 0
    failed: int = 0
    tasks: dict[str, TaskFact] = field(default_factory=dict)
    elements: dict[str, dict[str, Any]] = field(default_factory=dict)
    spoke: list[str] = field(default_factory=list)
    agents: dict[tuple[Unit | None, StepPath], str] = field(default_factory=dict)
    tools: list[ToolFact] = field(default_factory=list)
    talks: dict[tuple[Unit | None, StepPath], list[MessageSpoken]] = field(default_factory=dict)
    conversations: list[ConversationFact] = field(default_factory=list)
    files: dict[str, str | None] = field(default_factory=dict)
    refused: int = 0
    asked: set[tuple[str, int]] = field(default_factory=set)

    def read(self, event: Event) -> None:
        self.ended = event.at
        match event.data:
            case RunStarted(stub=stub):
                self.began, self.stub = event.at, stub
            case RunResumed() if self.began is None:
                self.began = event.at
            case TurnStarted(agent=agent):
                self.agents[event.unit, event.step] = agent
            case TurnEnded() as turn:
                self._turn(turn)
            case TextsEmbedded() as embedded:
                self._paid(embedded)
            case ToolStarted():
                pass
            case ToolEnded() as tool:
                self.tools.append(made := self._tool(event, tool))
                self._wrote(made)
            case GuardrailChecked(passed=False):
                self.refused += 1
            case GateOpened() as gate:
                self.asked.add((gate.name, gate.attempt))
            case AttemptEnded(outcome="failed"):
                self.failed += 1
            case MessageSpoken() as said:
                self.talks.setdefault((event.unit, event.step), []).append(said)
            case ConversationEnded() as ended:
                self._talk(event, ended)
            case ArtifactWritten(path=path, text=text):
                self.files[path] = text
            case FileWritten(path=path):
                self.files[path] = None
            case ElementEnded(task=task, key=key, output=output):
                self.elements.setdefault(task, {})[key] = output
            case TaskEnded() as ended:
                self._task(ended)
            case RunFinished() as finished:
                self.finished = finished

    def _turn(self, turn: TurnEnded) -> None:
        self.turns += 1
        self.spoke.append(turn.agent)
        self._paid(turn)

    def _paid(self, made: TurnEnded | TextsEmbedded) -> None:
        self.usage += made.usage
        self.cost = None if self.cost is None or made.cost is None else self.cost + made.cost

    def _tool(self, event: Event, ended: ToolEnded) -> ToolFact:
        assert event.unit is not None, "tools are called by units"
        agent = self.agents.get((event.unit, event.step), "")
        made = self.results.get((event.unit, StepKey(event.step, ended.turn, f"tool-{ended.call}")))
        result = getattr(made, "content", ended.result)
        return ToolFact(agent, ended.name, self._arguments(event, ended), ended.ok, result, event.unit.task)

    def _wrote(self, call: ToolFact) -> None:
        """Keep what a call of `write_file` wrote: in a squad's workspace nothing else tells of it."""
        path, text = call.arguments.get("path"), call.arguments.get("content")
        is_written = call.ok and call.tool == "write_file" and call.result.startswith("wrote ")
        if is_written and isinstance(path, str) and isinstance(text, str):
            self.files[path] = text

    def _arguments(self, event: Event, ended: ToolEnded) -> Mapping[str, Any]:
        """Return all arguments of a call: its event holds their beginning alone."""
        assert event.unit is not None, "tools are called by units"
        asked = self.results.get((event.unit, StepKey(event.step, ended.turn, "model")))
        calls = asked.tool_calls if isinstance(asked, Response) else ()
        text = calls[ended.call - 1].arguments if 0 < ended.call <= len(calls) else ended.arguments
        try:
            value = json.loads(text or "{}")
        except ValueError:
            value = None
        return value if isinstance(value, dict) else {}

    def _talk(self, event: Event, ended: ConversationEnded) -> None:
        said = self.talks.pop((event.unit, event.step), [])
        speakers, texts = tuple(one.speaker for one in said), tuple(one.text for one in said)
        task = "" if event.unit is None else event.unit.task
        kind = ended.kind or ended.reason
        self.conversations.append(ConversationFact(ended.conversation, speakers, texts, kind, task))

    def _task(self, ended: TaskEnded) -> None:
        before = self.tasks.get(ended.task)
        self.tasks[ended.task] = TaskFact(
            ended.status,
            ended.output,
            ended.error or "",
            ended.error_kind or "",
            self.elements.get(ended.task),
            1 if before is None else before.attempts + 1,
        )

    def facts(self, run_id: str) -> RunFacts:
        finished, cost, usage = self.finished, self.cost, self.usage
        if finished is not None:
            cost, usage = finished.cost, finished.usage
            for name, status in finished.tasks.items():
                self.tasks.setdefault(name, TaskFact("not_started" if status == "waiting" else status))
        return RunFacts(
            run_id,
            "running" if finished is None else finished.status,
            None if cost is None else cost / 1e6,
            usage.total,
            self.turns,
            self.ended - (self.began or self.ended),
            self.failed,
            self.stub,
            {} if finished is None else finished.outputs,
            self.tasks,
            tuple(self.spoke),
            tuple(self.tools),
            tuple(self.conversations),
            self.files,
            self.refused,
            len(self.asked),
        )
