"""When a run was at what: its tasks beside each other, the calls of providers, what was waited for. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from orchestrator.events import (
    ElementEnded,
    ElementStarted,
    Event,
    GateAnswered,
    GateOpened,
    RunFinished,
    RunResumed,
    TaskEnded,
    TaskExpanded,
    TaskParked,
    TaskResumed,
    TaskRetried,
    TaskStarted,
)
from orchestrator.server.views.part import PartOfRun
from orchestrator.units import Unit
from providers.events import AttemptEnded, AttemptStarted, WaitingForBudget, WaitingForProvider

SpanKind = Literal["work", "call", "wait", "person"]
"""A task at work; a provider at work for it; waiting for a provider or a budget; waiting for a person."""


@dataclass(slots=True)
class Span:
    """Something that took time. `ended` None: it goes on. `outcome` is the status it ended with."""

    kind: SpanKind
    began: float
    text: str
    ended: float | None = None
    outcome: str = ""
    why: str = ""
    attempt: int = 1


class ProviderSwitch(NamedTuple):
    """A turn went on with another provider: `why` the first one gave no answer."""

    at: float
    lane: str
    before: str
    after: str
    why: str


@dataclass(slots=True)
class Lane:
    """All that happened for one task, or one element of a `for_each`."""

    name: str
    task: str
    spans: list[Span] = field(default_factory=list)


class TimelineView(PartOfRun):
    """The lanes by name, in the order in which their work began, and the switches from one provider to another."""

    __slots__ = ("_before", "_last", "_open", "lanes", "switches")
    TAKES: ClassVar = {
        TaskStarted: "_start",
        TaskExpanded: "_expand",
        ElementStarted: "_start_element",
        TaskEnded: "_end",
        ElementEnded: "_end",
        TaskParked: "_park",
        TaskResumed: "_start_again",
        TaskRetried: "_retry",
        AttemptStarted: "_call",
        AttemptEnded: "_answer",
        WaitingForProvider: "_wait",
        WaitingForBudget: "_wait",
        GateOpened: "_ask",
        GateAnswered: "_hear",
        RunFinished: "_stop",
        RunResumed: "_resume",
    }

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.switches: list[ProviderSwitch] = []
        self._open: dict[Hashable, tuple[Lane, Span]] = {}
        self._before: dict[Hashable, tuple[str, str]] = {}
        """The provider that a turn asked last, and why it gave no answer."""
        self._last = 0.0

    def _lane(self, unit: Unit | None, task: str = "") -> Lane:
        of = unit or Unit(task)
        name = of.task if of.key is None else f"{of.task}[{of.key}]"
        if (lane := self.lanes.get(name)) is None:
            lane = self.lanes[name] = Lane(name, of.task)
        return lane

    def _begin(self, key: Hashable, event: Event, lane: Lane, span: Span) -> None:
        self._close(key, event.at)
        lane.spans.append(span)
        self._open[key] = lane, span
        self._last = event.at

    def _close(self, key: Hashable, at: float, outcome: str = "", why: str = "") -> Span | None:
        found = self._open.pop(key, None)
        if found is None:
            return None
        span = found[1]
        if span.kind != "wait" or span.ended is None:
            span.ended = at
        span.outcome, span.why = outcome or span.outcome, why or span.why
        self._last = max(self._last, at)
        return span

    # -- work

    def _start(self, event: Event) -> None:
        begun = event.data
        lane = self._lane(None, begun.task)
        self._begin(("work", lane.name), event, lane, Span("work", event.at, begun.who, attempt=begun.attempt))

    def _expand(self, event: Event) -> None:
        lane, count = self._lane(None, event.data.task), len(event.data.keys)
        if ("work", lane.name) not in self._open:
            self._begin(("work", lane.name), event, lane, Span("work", event.at, f"{count} elements"))

    def _start_element(self, event: Event) -> None:
        lane = self._lane(Unit(event.data.task, event.data.key))
        self._begin(("work", lane.name), event, lane, Span("work", event.at, event.data.key))

    def _end(self, event: Event) -> None:
        key = getattr(event.data, "key", None)
        lane = event.data.task if key is None else f"{event.data.task}[{key}]"
        self._close(("wait", lane), event.at)
        if self._close(("work", lane), event.at, event.data.status, event.data.error or "") is None:
            self._last = event.at

    def _park(self, event: Event) -> None:
        lane = self._lane(Unit(event.data.task, event.data.key))
        self._close(("wait", lane.name), event.at)
        self._close(("work", lane.name), event.at, "parked", event.data.reason)

    def _start_again(self, event: Event) -> None:
        lane = self._lane(Unit(event.data.task, event.data.key))
        self._begin(("work", lane.name), event, lane, Span("work", event.at, event.data.key or ""))

    def _retry(self, event: Event) -> None:
        lane = self._lane(event.unit, event.data.task)
        span = self._close(("work", lane.name), event.at, "failed", event.data.error)
        text = span.text if span is not None else ""
        self._begin(("work", lane.name), event, lane, Span("work", event.at, text, attempt=event.data.attempt))

    # -- providers

    def _call(self, event: Event) -> None:
        asked: AttemptStarted = event.data
        lane, turn, name = self._lane(event.unit), (event.unit, event.step, event.turn), _model(asked)
        self._close(("wait", lane.name), event.at)
        before, why = self._before.get(turn, (asked.provider, ""))
        if before != asked.provider:
            self.switches.append(ProviderSwitch(event.at, lane.name, before, asked.provider, why))
        self._before[turn] = asked.provider, ""
        self._begin(("call", turn, asked.number), event, lane, Span("call", event.at, name, attempt=asked.number))

    def _answer(self, event: Event) -> None:
        ended: AttemptEnded = event.data
        turn = event.unit, event.step, event.turn
        why = ": ".join(filter(None, (ended.error, ended.detail)))
        if self._close(("call", turn, ended.number), event.at, ended.outcome, why) is None:
            lane, began = self._lane(event.unit), event.at - ended.ms / 1000
            lane.spans.append(Span("call", began, _model(ended), event.at, ended.outcome, why, ended.number))
        if ended.outcome == "ok":
            self._before.pop(turn, None)
        else:
            self._before[turn] = ended.provider, why or ended.outcome

    def _wait(self, event: Event) -> None:
        lane = self._lane(event.unit)
        reason = event.data.reason if isinstance(event.data, WaitingForProvider) else "room in a budget"
        self._begin(("wait", lane.name), event, lane, Span("wait", event.at, reason))

    # -- people

    def _ask(self, event: Event) -> None:
        lane, key = self._lane(event.unit, event.data.task), ("person", event.data.name)
        if key not in self._open:
            self._begin(key, event, lane, Span("person", event.at, "awaits a person", attempt=event.data.attempt))

    def _hear(self, event: Event) -> None:
        self._close(("person", event.data.task), event.at, event.data.choice)

    # -- the run

    def _stop(self, event: Event) -> None:
        """Nothing is at work any more, but people may still be awaited."""
        for key, (_, span) in list(self._open.items()):
            if span.kind != "person" or event.data.status != "waiting":
                self._close(key, event.at, "interrupted")

    def _resume(self, event: Event) -> None:  # noqa: ARG002  # when it was killed is not known: after its last event
        for key, (_, span) in list(self._open.items()):
            if span.kind != "person":
                self._close(key, max(self._last, span.began), "interrupted")


def _model(of: AttemptStarted | AttemptEnded) -> str:
    return f"{of.provider}/{of.model}"
