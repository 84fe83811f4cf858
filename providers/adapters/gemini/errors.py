"""What an error of Google's Generative Language API means. The body is a google.rpc.Status, in an array now and then.

The status word decides little: a wrong key is a 400, and a 429 is a minute, a day or money by its details alone.
Sources: recorded replies; google-gemini/gemini-cli issues 8437, 14811, 15184; ai.google.dev/gemini-api/docs/rate-limits
and /troubleshooting; 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from providers.adapters.error_report import MAX_BODY, ErrorReport, by_status, read_report, report_of
from providers.errors import (
    AuthFailed,
    ContextTooLong,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    ServerFault,
    Unsupported,
)
from providers.limits.retry_after import MAX_AHEAD_S, instant, retry_at

# google.rpc.Code and the HTTP status it goes with, for errors inside a reply of status 200.
STATUSES = {
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "aborted": 409,
    "resource_exhausted": 429,
    "cancelled": 499,
    "unimplemented": 501,
    "unavailable": 503,
    "deadline_exceeded": 504,
}
# The day of a quota begins at midnight in California (ai.google.dev/gemini-api/docs/rate-limits, 2026-11).
DAY_ZONE = "America/Los_Angeles"

_bad_key = re.compile(r"\bapi[ _-]?key (?:not|expired|invalid|was|has been|is (?:not|in))", re.IGNORECASE).search
_money = re.compile(
    r"(?:prepa(?:id|y)|credit)[^.]*(?:depleted|exhausted|insufficient|run out)|spend(?:ing)? (?:cap|limit)",
    re.IGNORECASE,
).search
_context = re.compile(
    r"exceeds the maximum number of tokens|token count[^.]* exceeds|(?:payload|request) size exceeds"
    r"|context (?:length|window)",
    re.IGNORECASE,
).search
_daily = re.compile(r"per[ _-]?day", re.IGNORECASE).search
_not_allowed = re.compile(r"location is not supported|not available in your country", re.IGNORECASE).search
_not_enabled = re.compile(r"\bis(?:n't| not) (?:enabled|available|allowed) (?:for|in|with)\b", re.IGNORECASE).search


@dataclass(frozen=True, slots=True)
class Details:
    """What stands beside the message: google.rpc's ErrorInfo, QuotaFailure and RetryInfo."""

    message: str = ""
    """As it came, but for its length: what says when to retry stands at its end."""
    reasons: frozenset[str] = frozenset()
    quotas: str = ""
    """The names of the quotas that were exceeded, in one text."""
    delay: str = ""


def error_of(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ProviderError:
    """Return the error that a reply means. Never raises, whatever body and headers hold."""
    try:
        found = json.loads(body[:MAX_BODY].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        found = None
    return _error(status, headers, report_of(body), _details(found), now)


def error_in(chunk: Mapping[str, Any], now: float) -> ProviderError | None:
    """Return the error inside a reply of status 200, or None where there is none."""
    if not chunk.get("error"):
        return None
    report = read_report(chunk)
    known = (STATUSES[code] for code in report.codes & STATUSES.keys())
    return _error(report.status or next(known, 500), {}, report, _details(chunk), now)


def _details(body: Any) -> Details:
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return Details()
    message, entries = error.get("message"), error.get("details")
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    delays = [entry["retryDelay"] for entry in known if isinstance(entry.get("retryDelay"), str)]
    return Details(
        message=message[:MAX_BODY] if isinstance(message, str) else "",
        reasons=frozenset(entry["reason"] for entry in known if isinstance(entry.get("reason"), str)),
        quotas=" ".join(_quotas(known)),
        delay=delays[0] if delays else "",
    )


def _quotas(details: list[dict[str, Any]]) -> Iterator[str]:
    for detail in details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield from (str(violation[key]) for key in ("quotaId", "quotaMetric") if key in violation)


def _error(status: int, headers: Mapping[str, str], report: ErrorReport, details: Details, now: float) -> ProviderError:
    text = report.text or f"HTTP {status}"
    known = (retry_at(headers, details.message or text, now), instant(details.delay, now) if details.delay else None)
    # The delay is the message's figure without its fraction: the later one is the true one.
    at = max((min(max(each, now), now + MAX_AHEAD_S) for each in known if each is not None), default=None)
    error = _sort(status, text, details, at, now)
    if status in (408, 504) or isinstance(error, ServerFault):
        error.retry_at = at
    error.status = status
    return error


def _sort(status: int, text: str, details: Details, at: float | None, now: float) -> ProviderError:
    """Return the class of error. The order is the point: the specific first, the bare status last."""
    if status == 402 or "BILLING_DISABLED" in details.reasons or (status in (400, 403, 429) and _money(text)):
        return QuotaSpent(text, money=True)
    if any(reason.startswith("API_KEY_") for reason in details.reasons) or (status == 400 and _bad_key(text)):
        return AuthFailed(text)
    if status in (401, 403) or (status == 400 and _not_allowed(text)):
        return AuthFailed(text)
    if status == 413 or (status == 400 and _context(text)):
        return ContextTooLong(text)
    if status == 429:
        return _limited(text, details, at, now)
    # A transcript of another model's calls lacks what Gemini alone wants: others take it.
    if status in (404, 405, 410, 501) or (status == 400 and (_not_enabled(text) or "thought_signature" in text)):
        return Unsupported(text, gone=status in (404, 410))
    return Overloaded(text) if status == 500 and "overloaded" in text.lower() else by_status(status, text)


def _limited(text: str, details: Details, at: float | None, now: float) -> ProviderError:
    if _daily(details.quotas) or _daily(text):
        # RetryInfo comes with a day's quota too, and says seconds.
        return QuotaSpent(text, retry_at=_next_midnight(now))
    if not details.quotas and "overloaded" in text.lower():
        return Overloaded(text)
    return RateLimited(text, retry_at=at)


def _next_midnight(now: float) -> float:
    today = datetime.fromtimestamp(now, _day_zone())
    return (today + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def _day_zone() -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(DAY_ZONE)
    except ZoneInfoNotFoundError:  # neither a system database nor the tzdata package
        return timezone(timedelta(hours=-8))  # its winter time: never too early
