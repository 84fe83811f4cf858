"""Structured logs: what happens as lines for people, or as JSON, with the run, the task and the turn in each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

from agents.events import GuardrailChecked
from orchestrator.events import (
    BudgetReached,
    ElementEnded,
    Event,
    GateAnswered,
    GateOpened,
    RunFinished,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskRetried,
    TaskStarted,
    to_json,
)
from orchestrator.subscribers import CallEnded, Subject, SubjectEnded, Subscriber
from providers.events import AlertNotPosted, AttemptEnded, BudgetAlert

LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")
_TOLD = RunStarted | RunResumed | RunFinished | TaskStarted | TaskEnded | GateOpened | GateAnswered | CallEnded
_WARNED = BudgetReached | BudgetAlert | TaskRetried | AlertNotPosted
_ELSEWHERE = frozenset(
    {"type", "id", "place", "output", "outputs", "text", "arguments", "result", "contest", "refused", "shown", "prompt"}
    | {"artifacts", "truncated", "items", "schema", "schema_version", "comment", "run_id", "at"}
)
"""Fields that stand in the record, and would make lines too long to read; words of models and of people are among
them."""
EMPTY: tuple[Any, ...] = (None, "", [], {})


def open_log(form: str, *, color: bool, file: TextIO, level: LogLevel = "debug") -> Any:
    """Return a structlog logger to `file` of what is of this level, or above it. Nothing global is configured."""
    import structlog  # on use: it is not needed where nothing is logged

    processors, kept = _log_steps(form, color, level)
    return structlog.wrap_logger(structlog.PrintLogger(file), processors=processors, wrapper_class=kept)


def log_all_to(form: str, *, color: bool, file: TextIO, level: LogLevel) -> None:
    """Have all of this process's logs written to `file` in one form, also of parts that are given no logger."""
    import structlog  # as above

    processors, kept = _log_steps(form, color, level)
    structlog.configure(
        processors=processors,
        wrapper_class=kept,
        logger_factory=structlog.PrintLoggerFactory(file),
        cache_logger_on_first_use=False,
    )


def _log_steps(form: str, color: bool, level: LogLevel) -> tuple[list[Any], Any]:
    """Return what makes a line of what is logged, and what keeps out what is of a lower level."""
    import structlog  # as above

    steps: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    if form == "console":
        # Plain: a traceback with all variables takes seconds, in which the event loop stands still, and tells secrets.
        plain = structlog.dev.plain_traceback
        steps.append(structlog.dev.ConsoleRenderer(colors=color, exception_formatter=plain))
    else:
        steps += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    return steps, structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])


def bound_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task and the turn of the document of an event, as far as it has them."""
    place = document.get("place") or {}
    found = {"task": document.get("task") or place.get("task"), "turn": place.get("turn")}
    return {name: value for name, value in found.items() if value}


class LogLines(Subscriber):
    """Logs what happens, but for what models and people say. `shown` makes of a document what may be shown of it."""

    def __init__(self, log: Any, shown: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        self._log, self._shown = log, shown

    def hear(self, subject: Subject, event: Event) -> None:
        if isinstance(event.data, SubjectEnded):
            return
        write = getattr(self._log, level_of(event.data))
        if isinstance(event.data, CallEnded):
            write("request", request=subject.id, **self._shown(_of_call(event.data)))
            return
        document = self._shown(to_json(event))
        fields = {name: value for name, value in document.items() if name not in _ELSEWHERE and value not in EMPTY}
        write(event.type, run=subject.id, **bound_fields(document) | fields)


def level_of(payload: Any) -> LogLevel:
    """Return how much what happened should be heeded."""
    match payload:
        case TaskEnded(status="failed") | ElementEnded(status="failed") | AttemptEnded(outcome="failed"):
            return "warning"
        case RunFinished(status="failed" | "stopped" | "rejected") | GuardrailChecked(passed=False):
            return "warning"
        case CallEnded(answer=None):
            return "warning"
    return "warning" if isinstance(payload, _WARNED) else "info" if isinstance(payload, _TOLD) else "debug"


def _of_call(call: CallEnded) -> dict[str, Any]:
    last = call.attempts[-1] if call.attempts else None
    told: dict[str, Any] = {"ms": round(call.seconds * 1000), "attempts": len(call.attempts)}
    if last is not None:
        told |= {"provider": last.provider, "model": last.model}
    if call.answer is None:
        return {**told, "error_kind": type(call.error).__name__, "error": str(call.error)}
    return told if call.answer.cost is None else {**told, "cost_usd": call.answer.cost / 1e6}
