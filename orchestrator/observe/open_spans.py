"""The spans that are open, each with those below it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from orchestrator.units import StepPath, Unit

OtelKind = Literal["internal", "client"]
Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]
Sort = Literal["run", "task", "agent", "turn", "attempt", "tool", "approval"]


class SpanKey(NamedTuple):
    """What a span is of: its sort, its place, and what tells it from others there."""

    sort: Sort
    unit: Unit | None = None
    step: StepPath = ()
    which: str = ""


@dataclass(slots=True)
class SpanRecord:
    """One span. `parent` is a span's id, empty at the root of a trace; instants are epoch seconds.

    `error` is the class of what went wrong, empty: nothing did; `told` says it in words. `touched` is when something
    last happened in it.
    """

    name: str
    id: str
    parent: str
    start: float
    kind: OtelKind = "internal"
    attributes: dict[str, Value] = field(default_factory=dict)
    end: float = 0.0
    events: list[tuple[str, float, Attributes]] = field(default_factory=list)
    error: str = ""
    told: str = ""
    touched: float = 0.0

    def note(self, name: str, at: float, about: Attributes) -> None:
        """Take an event in it."""
        self.events.append((name, at, about))
        self.touched = max(self.touched, at)


class OpenSpans:
    """The open spans of one subject."""

    def __init__(self) -> None:
        self._open: dict[SpanKey, SpanRecord] = {}
        self._by_id: dict[str, SpanRecord] = {}
        self._below: dict[str, list[SpanKey]] = {}
        """By the id of an open span: what began below it, in its order."""

    def get(self, key: SpanKey) -> SpanRecord | None:
        return self._open.get(key)

    def with_id(self, ident: str) -> SpanRecord | None:
        return self._by_id.get(ident)

    def begin(self, key: SpanKey, span: SpanRecord) -> None:
        span.touched = span.start
        self._open[key] = self._by_id[span.id] = span
        self._below.setdefault(span.parent, []).append(key)

    def end(
        self, key: SpanKey, at: float, about: Attributes | None = None, error: str = "", told: str = ""
    ) -> Iterator[SpanRecord]:
        """End a span, and before it what is open below it; yield them, the innermost first."""
        span = self._open.get(key)
        if span is None:
            return
        for below in self._below.pop(span.id, ()):
            yield from self._end_below(below, at, error)
        del self._open[key], self._by_id[span.id]
        span.end = max(at, span.start)
        span.attributes |= about or {}
        if error:
            span.error, span.told = error, told
            span.attributes["error.type"] = error
        if (above := self._by_id.get(span.parent)) is not None:
            above.touched = max(above.touched, span.end)
        yield span

    def _end_below(self, key: SpanKey, at: float, error: str) -> Iterator[SpanRecord]:
        if (span := self._open.get(key)) is None:
            return
        if key.sort == "turn":
            yield from self.end_turn(key)
        elif key.sort == "agent":  # nothing says when its work is over: it was when it last did something
            yield from self.end(key, span.touched, error=error)
        else:
            yield from self.end(key, at, error=error or "cancelled")

    def end_turn(self, key: SpanKey) -> Iterator[SpanRecord]:
        """End a turn after which nothing came: it has its answer, or it failed as its last attempt did."""
        span = self._open[key]
        if span.end:
            yield from self.end(key, span.end)
        else:
            yield from self.end(key, span.touched, error=span.error or "_OTHER")

    def end_all(self, at: float) -> Iterator[SpanRecord]:
        """End what is still open, as the process lets go of it."""
        for key in [*self._open]:
            yield from self._end_below(key, at, "cancelled")
