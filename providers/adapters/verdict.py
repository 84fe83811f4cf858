"""From what an error reply says to the error that it is: the steps that all dialects share.

A row's own words come first, then the dialect's codes and habits, then the words that vendors share, and the bare
status last. The status decides least: vendors send money as 429, refused content as 403, capacity as 429 and a full
context as 500.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from providers.adapters.error_report import ErrorReport, by_status
from providers.adapters.wordings import heard
from providers.catalog.refusals import Meaning, Refusal, Until, fitting
from providers.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    Blocked,
    ContextTooLong,
    Declined,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    RequestTooLarge,
    ServerFault,
    TimedOut,
    Unsupported,
)
from providers.limits.retry_after import retry_at

# The status that each type or code comes with, for an error inside a 200 that names none: OpenAI's, Anthropic's and
# google.rpc's.
TYPES = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "unauthenticated": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "request_timeout": 408,
    "conflict_error": 409,
    "aborted": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests_error": 429,
    "resource_exhausted": 429,
    "cancelled": 499,
    "unimplemented": 501,
    "unavailable": 503,
    "service_unavailable": 503,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "overloaded_error": 529,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "api_error": 500,
    "server_error": 500,
}
"""Of several the first counts: those that say least come last."""

Own = Callable[[int, ErrorReport, float | None, float], Meaning | ProviderError | None]
"""What a dialect itself makes of a status, what was said, and when to come again, at an instant; None: nothing."""


def judge(
    status: int | None,
    headers: Mapping[str, str],
    report: ErrorReport,
    now: float,
    own: Own,
    refusals: Sequence[Refusal] = (),
    *,
    kind: int | None = None,
) -> ProviderError:
    """Return the error that a reply is. `status` is None for one that came inside a 200 and names none.

    `kind` is the status that it ought to have had, where its body says so. Never raises, whatever body and
    headers hold.
    """
    merged = {**report.headers, **headers} if report.headers else headers
    kind = kind or status or next((TYPES[code] for code in TYPES if code in report.codes), 0)
    at = retry_at(merged, report.said, now, report.delay)
    error = _judged(kind, merged, report, at, now, own, refusals)
    if isinstance(error, ServerFault | TimedOut):
        error.retry_at = retry_at(merged, report.said, now, report.delay, limited=False)
    error.status = status or kind or 500
    return error


def _judged(
    kind: int,
    headers: Mapping[str, str],
    report: ErrorReport,
    at: float | None,
    now: float,
    own: Own,
    refusals: Sequence[Refusal],
) -> ProviderError:
    text = report.text or f"HTTP {kind}"
    row = fitting(refusals, report.said, report.codes, kind or None)
    if row is not None:
        return error_for(row.means, text, report, end_of(row.until, now) if at is None and row.until else at)
    found = own(kind, report, at, now) or heard(kind, headers, report, at)
    if isinstance(found, ProviderError):
        return found
    return by_status(kind or 500, text) if found is None else error_for(found, text, report, at)


def error_for(means: Meaning, text: str, report: ErrorReport, at: float | None) -> ProviderError:
    """Return the error of a meaning, with `at` for when to come again where a clock cures it."""
    match means:
        case "gone":
            return Unsupported(text, gone=True)
        case "unsupported":
            return Unsupported(text)
        case "context":
            return ContextTooLong(text)
        case "size":
            return RequestTooLarge(text)
        case "rate":
            return RateLimited(text, retry_at=at)
        case "quota":
            return QuotaSpent(text, retry_at=at)
        case "no_money":
            return QuotaSpent(text, money=True)
        case "key":
            return AuthFailed(text)
        case "edge":
            return Blocked(text)
        case "overloaded":
            return Overloaded(text)
        case "fault":
            return ServerFault(text)
        case "declined":
            return Declined(text, category=report.category or "content_filter")
        case "draft":
            return BadReply(f"the model's draft was rejected: {text}")
        case "invalid":
            return BadRequest(text)


def end_of(until: Until, now: float) -> float:
    """Return the first instant of the next day, week or month, UTC."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match until:
        case "day":
            return (today + timedelta(days=1)).timestamp()
        case "week":
            return (today + timedelta(days=7 - today.weekday())).timestamp()
        case "month":
            return (today.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
