"""Requests to the gateway, told to subscribers: each is a subject of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from agents.events import TextsEmbedded, TurnEnded, TurnStarted
from orchestrator.events import Event
from orchestrator.subscribers import (
    UNTIL_A_SPAN,
    CallEnded,
    Feed,
    GenAiOperation,
    Subject,
    SubjectEnded,
    sampled,
    subject_of,
)
from providers.embeddings import Embeddings
from providers.emit import Emit, ignore
from providers.events import AttemptEnded
from providers.messages import Response
from providers.trace_context import CallScope, TraceContext, call_scope, read_trace_context

NO_TRACE = TraceContext("0" * 32, UNTIL_A_SPAN, sampled=False)


class ObservedRequests:
    """Tells feeds of requests. Those who trace hear all of one, the others how it ended."""

    def __init__(self, feeds: Sequence[Feed] = (), clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._tracing = [feed for feed in feeds if feed.traces]
        self._counting = [feed for feed in feeds if not feed.traces]
        self.in_flight = 0

    @property
    def traced(self) -> bool:
        """Whether somebody makes spans of requests, and so hears all of them."""
        return bool(self._tracing)

    def scope_of(self, ident: str, traceparent: str, tracestate: str) -> CallScope:
        """Return what the calls belong to that a request leads to; the texts are its headers."""
        asked_by = read_trace_context(traceparent, tracestate) if traceparent else None
        if not self._tracing:
            return CallScope(ident, asked_by=asked_by)
        subject = sampled(_subject(ident, asked_by), self._tracing)
        return CallScope(ident, trace=subject.trace, asked_by=asked_by)

    @contextmanager
    def observed(self, operation: GenAiOperation = "chat") -> Iterator[Emit]:
        """Yield what takes the events of a request's attempts, and its answer. Which request it is says the scope."""
        if not (self._tracing or self._counting):
            yield ignore
            return
        call = _RequestSeen(call_scope(), self._clock, self._tracing, operation)
        self.in_flight += 1
        error: BaseException | None = None
        try:
            yield call.take
        except BaseException as failed:
            error = failed
            raise
        finally:
            self.in_flight -= 1
            call.end()
            if self._counting and (call.answer is not None or call.attempts):
                ended = CallEnded(call.answer, error, time.monotonic() - call.began, call.attempts, operation)
                event = Event(call.ident, None, (), 0, 1, self._clock(), ended)
                for feed in self._counting:
                    feed.hear(call.subject, event)


class _RequestSeen:
    """One request, as it goes on."""

    def __init__(
        self, scope: CallScope, clock: Callable[[], float], tracing: Sequence[Feed], operation: GenAiOperation
    ) -> None:
        self.ident, self._clock, self._tracing, self._operation = scope.run, clock, tracing, operation
        subject = _subject(scope.run, scope.asked_by) if tracing else Subject(scope.run, NO_TRACE, is_run=False)
        self.subject = subject if scope.trace is None else replace(subject, trace=scope.trace)
        self.began = time.monotonic()
        self.answer: Response | Embeddings | None = None
        self.attempts: list[AttemptEnded] = []
        self._sequence = 0

    def take(self, what: Any) -> None:
        if isinstance(what, AttemptEnded):
            self.attempts.append(what)
        elif isinstance(what, Response | Embeddings):
            self.answer = what
        if self._tracing:
            if not self._sequence and self._operation == "chat":
                self._tell(TurnStarted("", 1))
            self._tell(_told_of(what))

    def end(self) -> None:
        if self._sequence:
            self._tell(SubjectEnded())

    def _tell(self, payload: Any) -> None:
        self._sequence += 1
        turn = getattr(payload, "turn", 0)
        event = Event(self.ident, None, (), turn, self._sequence, self._clock(), payload)
        for feed in self._tracing:
            feed.hear(self.subject, event)


def _subject(ident: str, asked_by: TraceContext | None) -> Subject:
    subject = subject_of(ident, is_run=False)
    return subject if asked_by is None else replace(subject, trace=asked_by.at(UNTIL_A_SPAN), parent=asked_by)


def _told_of(what: Any) -> Any:
    match what:
        case Response():
            return TurnEnded("", 1, what.provider, what.model, what.usage, what.cost, what.finish, what.estimate)
        case Embeddings():
            billed = (what.usage, what.cost, what.estimate)
            return TextsEmbedded("", len(what.vectors), what.provider, what.model_asked, *billed)
    return what
