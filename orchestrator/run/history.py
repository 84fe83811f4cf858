"""What a resumed run takes from its recorded events. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from agents.events import FileOrigin, TextsEmbedded, TurnEnded, TurnStarted
from agents.file_origins import OF_RUN
from orchestrator.events import (
    AgentChosen,
    ArtifactWritten,
    CaseChosen,
    ControlUnread,
    ConversationEnded,
    ElementEnded,
    Event,
    FileWritten,
    GateAnswered,
    GateOpened,
    MessageSpoken,
    RunEdited,
    RunFinished,
    RunForked,
    RunResumed,
    RunStarted,
    RunStatus,
    TaskEnded,
    TaskRepeated,
    TaskReset,
    TaskRetried,
)
from orchestrator.events.bills import Bill
from orchestrator.run.budget import Paid, counted_of
from orchestrator.run.open_calls import OpenCall, OpenCalls
from orchestrator.run.work_time import WorkTime
from orchestrator.squad.plan import HUMAN
from orchestrator.units import StepPath, Unit, path_of, place_of
from providers.budgets import CallSizes

TOLD_AGAIN = (
    AgentChosen,
    ArtifactWritten,
    CaseChosen,
    ControlUnread,
    ConversationEnded,
    GateOpened,
    MessageSpoken,
    TaskRepeated,
)
"""Events that code emits again when it runs again over recorded steps. They are recorded already, and only once."""


class Gate(NamedTuple):
    """An open gate, and where it was opened."""

    opened: GateOpened
    unit: Unit | None
    step: StepPath
    at: float
    """Epoch seconds UTC."""


@dataclass(slots=True)
class RunHistory:
    """The fold of a run's events, so far as its state does not hold it. `worked_s` is the time that was spent at work,
    without that in which only people were waited for.

    `tried` is the number of failed tries by unit; `artifacts` the events by path, with the unit that wrote each.
    """

    events: Sequence[Event] = ()
    """All that is recorded."""
    standing: Sequence[Event] = ()
    """Those that still count, each under its task's name of today: what an edit made void is not among them."""
    started: RunStarted | None = None
    status: RunStatus | None = None
    """How the run ended last, None where it never did: its process was killed, or is at work."""
    worked_s: float = 0.0
    paid: list[Paid] = field(default_factory=list)
    """All that was billed, answers that would not do included, and what calls had reserved that were cut short."""
    sizes: CallSizes = field(default_factory=CallSizes)
    """What calls really took."""
    open_calls: OpenCalls = field(default_factory=OpenCalls)
    was_cut_short: bool = False
    """Whether calls were open at the end of the record."""
    agents: dict[tuple[Unit | None, StepPath], str] = field(default_factory=dict)
    """Who had the last turn at each place."""
    tried: dict[Unit | None, int] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)
    """The questions that await an answer, by name, oldest first."""
    answers: dict[str, list[GateAnswered]] = field(default_factory=dict)
    """What the questions of each name were answered with, oldest first."""
    artifacts: dict[str, tuple[Unit, ArtifactWritten]] = field(default_factory=dict)
    written: dict[str, set[str]] = field(default_factory=dict)
    """File in the run's folder -> the SHA-256 of each version that the run wrote, what an edit made void included."""
    origins: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Folder and path of a file -> the sources of what others wrote that it may hold."""
    made: dict[Unit | None, str] = field(default_factory=dict)
    """Unit -> the file that it wrote."""
    told: Counter[Hashable] = field(default_factory=Counter)
    """By `telling`: what code that runs again need not tell."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done."""
        return self.status in ("done", "failed", "rejected", "stopped")

    @property
    def is_new(self) -> bool:
        """Whether nothing has happened since the run was recorded."""
        return all(isinstance(event.data, RunStarted) for event in self.events)


def history_of(events: Sequence[Event]) -> RunHistory:
    """Return the fold of the events, oldest first."""
    past, work = RunHistory(events, standing(events)), WorkTime()
    for event in events:
        work.apply(event)
        count(past, event)
    past.was_cut_short = bool(past.open_calls.all)
    for call in past.open_calls.cut_short():
        _book(past, call)
    past.worked_s = work.seconds
    for event in past.standing:
        _fold(past, event)
    return past


def standing(events: Sequence[Event]) -> Sequence[Event]:
    """Return the events that still count, each under its task's name of today."""
    if not any(isinstance(event.data, RunEdited) for event in events):
        return events
    kept: list[Event] = []
    for event in events:
        if isinstance(event.data, RunEdited):
            kept = edited(kept, event.data)
        kept.append(event)
    return kept


def edited(events: Sequence[Event], edit: RunEdited) -> list[Event]:
    """Return what is left of the events after an edit, under the new names."""
    void = {*edit.again, *edit.gone} - edit.renamed.keys()
    return [_under(edit, event) for event in events if event.unit is None or event.unit.task not in void]


def _under(edit: RunEdited, event: Event) -> Event:
    if isinstance(event.data, RunEdited):
        attempts = {edit.renamed.get(task, task): number for task, number in event.data.attempts.items()}
        there = {task: number for task, number in attempts.items() if task in edit.tasks}
        return event._replace(data=replace(event.data, attempts=there))
    if event.unit is None or event.unit.task not in edit.renamed:
        return event
    data = event.data
    if hasattr(data, "task"):  # of a gate inside a unit it is the text of its place
        unit, step = place_of(data.task)
        data = replace(data, task=path_of(_renamed(unit, edit.renamed), step))
    if isinstance(data, GateOpened):
        name = event.data.name
        unit, step = place_of(name)
        call = {"call": path_of(_renamed(unit, edit.renamed), step)} if data.shown.get("call") == name else {}
        data = replace(data, first_asked_as=data.first_asked_as or name, shown={**data.shown, **call})
    return event._replace(unit=_renamed(event.unit, edit.renamed), data=data)


def count(past: RunHistory, event: Event) -> None:
    """Take from the next event what was spent, whatever it was spent on, and what calls in flight have reserved."""
    answered = past.open_calls.answered(event.unit, event.step) if isinstance(event.data, TurnEnded) else ()
    lost = past.open_calls.take(event.unit, event.step, event.data)
    bill = counted_of(event.data)
    for call in lost:
        _book(past, call, bill)
    match event.data:
        case RunStarted():
            past.started = event.data
        case RunResumed():
            past.status = None
        case RunEdited(renamed=renamed):
            past.status = None
            if renamed:
                past.paid = [call._replace(unit=_renamed(call.unit, renamed)) for call in past.paid]
        case RunForked():
            past.paid = []
        case RunFinished(status=status):
            past.status = status
        case ArtifactWritten(path=path, sha256=sha256) | FileWritten(path=path, sha256=sha256):
            past.written.setdefault(path, set()).add(sha256)
            if isinstance(event.data, ArtifactWritten):
                past.made[event.unit] = path
        case FileOrigin(path=path, folder=folder, untrusted=untrusted):
            past.origins[folder, path] = untrusted
        case TaskEnded(untrusted=untrusted) | ElementEnded(untrusted=untrusted):
            if (made := past.made.get(event.unit)) is not None:
                past.origins[OF_RUN, made] = untrusted
        case TurnStarted(agent=agent):
            past.agents[event.unit, event.step] = agent
    if bill is not None and not lost:
        agent = getattr(event.data, "agent", None) or past.agents.get((event.unit, event.step), "")
        turns = 0 if isinstance(event.data, TextsEmbedded) else 1
        past.paid.append(Paid(event.unit, event.step, agent, bill.cost, bill.usage.total, turns))
    # An answer that was continued took several calls, and its turn tells what they cost together.
    past.paid.extend(Paid(event.unit, event.step, event.data.agent, 0, 0) for _ in answered[1:])
    if len(answered) == 1 and (usage := event.data.usage).total:
        (call,), sent = answered, usage.input + usage.cache_read + usage.cache_write
        past.sizes.learn(event.data.agent, call.model, call.reckoned, sent, usage.output + usage.reasoning)


def _book(past: RunHistory, call: OpenCall, bill: Bill | None = None) -> None:
    """Count a call of which nobody knows what it came to: it may have cost all that it had reserved, or its `bill`."""
    agent = past.agents.get((call.unit, call.step), "")
    cost, tokens = (0, 0) if bill is None else (bill.cost or 0, bill.usage.total)
    past.paid.append(Paid(call.unit, call.step, agent, max(call.cost, cost), max(call.tokens, tokens)))


def _renamed(unit: Unit | None, names: Mapping[str, str]) -> Unit | None:
    return None if unit is None else unit._replace(task=names.get(unit.task, unit.task))


def _fold(past: RunHistory, event: Event) -> None:
    data = event.data
    match data:
        case TaskRetried(attempt=attempt):
            past.tried[event.unit] = attempt
            _close(past, lambda gate: gate.unit == event.unit)
        case GateOpened():
            past.gates.pop(data.name, None)
            past.gates[data.name] = Gate(data, event.unit, event.step, event.at)
        case GateAnswered(task=task):
            # Earlier releases recorded a call's answer under its unit: it is that of the latest question there.
            same = [name for name, gate in past.gates.items() if task in (name, gate.opened.task)]
            for name in same[-1:]:
                del past.gates[name]
            past.answers.setdefault(same[-1] if same else task, []).append(data)
        case TaskReset(task=task) | TaskEnded(task=task):
            _close(past, lambda gate: gate.unit is not None and gate.unit.task == task)
        case ElementEnded(task=task, key=key):
            _close(past, lambda gate: gate.unit is not None and gate.unit[:2] == (task, key))
        case MessageSpoken(speaker=speaker) if speaker == HUMAN:  # all that earlier releases recorded of an answer
            _close(past, lambda gate: _is_below(gate, event))
        case ArtifactWritten(path=path) if event.unit is not None:
            past.artifacts[path] = (event.unit, data)
    if isinstance(data, TOLD_AGAIN):
        past.told[telling(event.unit, event.step, data)] += 1


def _close(past: RunHistory, is_closed: Callable[[Gate], bool]) -> None:
    """Let the questions wait no longer of which that holds."""
    for name in [name for name, gate in past.gates.items() if is_closed(gate)]:
        del past.gates[name]


def _is_below(gate: Gate, event: Event) -> bool:
    return gate.unit == event.unit and gate.step[: len(event.step)] == event.step and gate.step != event.step


def is_question(said: Hashable) -> bool:
    """Return whether `telling` returned it for a question."""
    return isinstance(said, tuple) and len(said) > 3


def telling(unit: Unit | None, step: StepPath, payload: Any) -> Hashable:
    """Return what a payload that was said at a place in the run is known by."""
    if isinstance(payload, GateOpened):
        return unit, step, payload.name, payload.attempt, payload.prompt, tuple(payload.shown.items()), payload.tool
    return unit, step, payload
