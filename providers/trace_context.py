"""W3C Trace Context, and what the calls to providers that are made now belong to.

A turn does not pass on where it comes from through every layer: as in OpenTelemetry, that stands in a context variable,
which each task inherits. Nothing decides by it.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e\t]{1,512}")
_SAMPLED = 1
ZEROES = frozenset("0")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span, as its children know it: ids in lower-case hex. `state` is `tracestate`, handed on as it came."""

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""

    def at(self, span_id: str) -> TraceContext:
        """Return another span of the same trace."""
        return replace(self, span_id=span_id)

    @property
    def headers(self) -> dict[str, str]:
        """What tells the receiver of a request whose child it is."""
        state = {"tracestate": self.state} if self.state else {}
        return {"traceparent": f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}", **state}


def read_trace_context(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """Return what the two headers say; None where that is nothing which the standard lets be used."""
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or ZEROES in (frozenset(trace_id), frozenset(span_id)):
        return None
    state = tracestate.strip()
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED), state if _STATE.fullmatch(state) else "")


@dataclass(frozen=True, slots=True)
class CallScope:
    """What a call to a provider belongs to: a run, or a request to the gateway. `place` is where in the run.

    `trace` is the trace whose spans its attempts are; None: nobody traces them. `asked_by` is the span of the client
    that asks, where it says so.
    """

    run: str = ""
    place: str = ""
    turn: int = 0
    trace: TraceContext | None = field(default=None, repr=False)
    asked_by: TraceContext | None = field(default=None, repr=False)


_SCOPE: ContextVar[CallScope] = ContextVar("call_scope", default=CallScope())  # noqa: B039  # it is immutable


def call_scope() -> CallScope:
    """Return what a call that is made now belongs to."""
    return _SCOPE.get()


def calls_of(scope: CallScope) -> AbstractContextManager[None]:
    """Let the calls that are made in the block, and in tasks that begin there, belong to `scope`."""
    return _InScope(scope)


class _InScope(AbstractContextManager[None]):
    __slots__ = ("_scope", "_token")

    def __init__(self, scope: CallScope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        self._token = _SCOPE.set(self._scope)

    def __exit__(self, *_: object) -> None:
        _SCOPE.reset(self._token)
