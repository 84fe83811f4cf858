"""Why a task is tried again, and when: pure."""

from __future__ import annotations

from agents import AnswerCut, OutputInvalid, ToolFault
from orchestrator.errors import TaskTimedOut
from orchestrator.squad.plan import RetryCause
from providers.errors import AllAttemptsFailed, BudgetSpent, NoRoute, RateLimited, RoutingError, TimedOut

LONGEST_BACKOFF_S = 60.0
_BY_NAME: dict[str, frozenset[RetryCause]] = {
    "AnswerCut": frozenset({"truncated", "invalid_output"}),
    "GuardrailFailed": frozenset({"invalid_output"}),
    "OutputInvalid": frozenset({"invalid_output"}),
    "SchemaUnusable": frozenset({"invalid_output"}),
    "TaskTimedOut": frozenset({"timeout"}),
    "ToolFault": frozenset({"tool"}),
    "AllAttemptsFailed": frozenset({"rate_limit", "timeout", "provider"}),
    "NoRoute": frozenset({"rate_limit", "provider"}),
}


def causes_of(error: BaseException) -> frozenset[RetryCause]:
    """Return the words by which a plan's `retry.on` names this failure; none where it names it by none."""
    match error:
        case AnswerCut():  # before there was a word of its own, it was an invalid output
            return frozenset({"truncated", "invalid_output"})
        case OutputInvalid():
            return frozenset({"invalid_output"})
        case TaskTimedOut():
            return frozenset({"timeout"})
        case ToolFault():
            return frozenset({"tool"})
        case BudgetSpent() | NoRoute(over_budget=True) | AllAttemptsFailed(refused_twice=True):
            return frozenset()
        case AllAttemptsFailed():
            if any(isinstance(e, RateLimited) for e in error.exceptions):
                return frozenset({"rate_limit"})
            return frozenset({"timeout" if any(isinstance(e, TimedOut) for e in error.exceptions) else "provider"})
        case RoutingError():
            return frozenset({"rate_limit" if getattr(error, "earliest", None) else "provider"})
    return frozenset()


def causes_by_name(kind: str | None) -> frozenset[RetryCause]:
    """Return the same of a failure of which the record has the class's name: of what providers answered, each cause."""
    return _BY_NAME.get(kind or "", frozenset())


def backoff_s(error: BaseException, attempt: int, now: float) -> float:
    """Return seconds to wait before the next try: until the provider takes us again, else 1, 2, 4 ... at most 60."""
    until = [e.retry_at for e in getattr(error, "exceptions", ()) if getattr(e, "retry_at", None)]
    earliest = min(until) if until else getattr(error, "earliest", None)
    wait = 2.0 ** (attempt - 1) if earliest is None else earliest - now
    return min(max(wait, 0.0), LONGEST_BACKOFF_S)
