"""What went wrong with a request to the gateway, in terms that every dialect can say. Pure."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from agents.memory.database import MemoryUnusable
from providers.errors import (
    AllAttemptsFailed,
    AuthFailed,
    BadReply,
    BadRequest,
    BudgetSpent,
    ContextTooLong,
    Declined,
    NoRoute,
    ProviderError,
    QuotaSpent,
    RateLimited,
    ReasonCode,
    RequestTooLarge,
    TimedOut,
)

FailureKind = Literal[
    "invalid_request", "authentication", "permission", "not_found", "rate_limit", "quota", "upstream", "ours"
]
TOO_LONG = "context_length_exceeded"
OUT_OF_QUOTA = "insufficient_quota"
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ABSENT = frozenset({ReasonCode.NO_KEY, ReasonCode.NOT_CONFIGURED})
"""Why models are not asked that are as good as none."""


@dataclass(eq=False)
class GatewayFailure(Exception):
    """A request that gets no answer. `status` is HTTP's, `code` and `param` are OpenAI's words for what is wrong.

    `may_retry`: whether the same request may be answered later, `retry_after` in how many seconds, where known.
    `headers` are told beside it.
    """

    status: int
    kind: FailureKind
    message: str
    code: str | None = None
    param: str | None = None
    may_retry: bool = False
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


def invalid(message: str, param: str | None = None, code: str | None = None) -> GatewayFailure:
    """Return the failure of a request that can never be answered as it is."""
    return GatewayFailure(400, "invalid_request", message, code, param)


def client_left() -> GatewayFailure:
    """Return the failure of a request whose client closed its connection: nobody reads it."""
    return GatewayFailure(499, "ours", "the client closed the connection")


def stopping(why: str) -> GatewayFailure:
    """Return the failure of a request that gets no answer, for the server stops."""
    return GatewayFailure(503, "ours", why, "server_stopping", may_retry=True, retry_after=5.0)


def not_allowed(key: str, model: str) -> GatewayFailure:
    """Return the failure of a request for a model that its key may not ask."""
    text = f"the key '{key}' may not ask the model '{model[:80]}'"
    return GatewayFailure(403, "permission", text, "model_not_allowed", "model")


def failure_of(error: Exception, now: float) -> GatewayFailure:
    """Return what a client is told of an error of routing or of a provider. `now` is in epoch seconds.

    A key of ours that a provider refuses is no fault of the client's: it is told as a fault upstream.
    """
    match error:
        case GatewayFailure():
            return error
        case BudgetSpent():
            return GatewayFailure(429, "quota", str(error), OUT_OF_QUOTA)
        case NoRoute():
            return _no_route(error, now)
        case AllAttemptsFailed():
            return _all_failed(error, now)
        case ProviderError():
            return _of_one(error, now)
        case MemoryUnusable():
            return GatewayFailure(503, "ours", str(error), "cannot_write")
        case OSError(errno=number, strerror=why) if number in UNWRITABLE:
            return GatewayFailure(503, "ours", f"the server cannot write what it has to keep: {why}", "cannot_write")
    return GatewayFailure(500, "ours", "the server met an error of its own; its log says which", "internal_error")


def _no_route(error: NoRoute, now: float) -> GatewayFailure:
    codes = {reason.code for reason in error.reasons.values()} - ABSENT
    text, wait = str(error), _wait(error.earliest, now)
    if error.over_budget:
        return GatewayFailure(429, "quota", text, OUT_OF_QUOTA)
    if codes == {ReasonCode.UNKNOWN}:
        return GatewayFailure(404, "not_found", text, "model_not_found", "model")
    if codes == {ReasonCode.CONTEXT}:
        return GatewayFailure(400, "invalid_request", text, TOO_LONG, "messages")
    if codes and codes <= {ReasonCode.CAPABILITY, ReasonCode.CONTEXT, ReasonCode.UNKNOWN}:
        return GatewayFailure(400, "invalid_request", text, "unsupported_by_model")
    if codes and codes <= {ReasonCode.LIMIT, ReasonCode.HELD, ReasonCode.CAPABILITY, ReasonCode.CONTEXT}:
        return GatewayFailure(429, "rate_limit", text, "rate_limit_exceeded", may_retry=True, retry_after=wait)
    return GatewayFailure(503, "upstream", text, "no_provider_available", may_retry=wait is not None, retry_after=wait)


def _all_failed(error: AllAttemptsFailed, now: float) -> GatewayFailure:
    failed, text, wait = error.exceptions, str(error), _wait(error.earliest, now)
    if error.refused_twice:
        return GatewayFailure(400, "invalid_request", text)
    if all(isinstance(one, RateLimited) and not isinstance(one, RequestTooLarge) for one in failed):
        return GatewayFailure(429, "rate_limit", text, "rate_limit_exceeded", may_retry=True, retry_after=wait)
    if all(isinstance(one, ContextTooLong | RequestTooLarge) for one in failed):
        return GatewayFailure(400, "invalid_request", text, TOO_LONG, "messages")
    if all(isinstance(one, TimedOut) for one in failed):
        return GatewayFailure(504, "upstream", text, "upstream_timeout", may_retry=True, retry_after=wait)
    is_shut = all(isinstance(one, AuthFailed) for one in failed)
    return GatewayFailure(502, "upstream", text, "upstream_error", may_retry=not is_shut, retry_after=wait)


def _of_one(error: ProviderError, now: float) -> GatewayFailure:
    text, wait = str(error), _wait(error.retry_at, now)
    match error:
        case ContextTooLong() | RequestTooLarge():
            return GatewayFailure(400, "invalid_request", text, TOO_LONG, "messages")
        case Declined():
            return GatewayFailure(400, "invalid_request", text, "content_filter")
        case BadRequest():
            return GatewayFailure(400, "invalid_request", text)
        case QuotaSpent():
            return GatewayFailure(429, "quota", text, OUT_OF_QUOTA, may_retry=wait is not None, retry_after=wait)
        case RateLimited():
            return GatewayFailure(429, "rate_limit", text, "rate_limit_exceeded", may_retry=True, retry_after=wait)
        case TimedOut():
            return GatewayFailure(504, "upstream", text, "upstream_timeout", may_retry=True)
        case BadReply():
            return GatewayFailure(502, "upstream", text, "bad_reply", may_retry=True)
    return GatewayFailure(502, "upstream", text, "upstream_error", may_retry=True, retry_after=wait)


def _wait(earliest: float | None, now: float) -> float | None:
    """Return the whole seconds until an instant, at least one."""
    return None if earliest is None else float(max(1, ceil(earliest - now)))
