"""What an error of the Messages dialect means. Sources: docs/sources.md, recorded and quoted replies, 2026-11.

The type inside the body wins over the status, and the words over both: no credit, a spend limit of one's own and
a full context all come as `invalid_request_error`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.adapters.error_report import ErrorReport, by_status, read_report, report_of
from providers.errors import (
    AuthFailed,
    ContextTooLong,
    Declined,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    ServerFault,
    Unsupported,
)
from providers.limits.retry_after import instant, retry_at

TYPES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that each type comes with, for an error that comes inside a 200."""

# Kinds of 402, 429 and 400, from the SDK anthropic 2.11.0: no waiting cures them.
MONEY_CODES = {
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_billing_unavailable",
    "linked_organization_spend_limit_reached",
}
ACCOUNT_CODES = {"cmek_key_disabled", "organization_on_hold", "organization_type_not_supported"}
_money = re.compile(
    r"credit balance|spend(?:ing)? limit|(?:specified|monthly) (?:API )?usage limit|purchase credits", re.IGNORECASE
).search
_regain = re.compile(r"regain access on (\d{4}-\d\d-\d\d)(?: at (\d\d:\d\d) UTC)?", re.IGNORECASE).search
# The last: a plan whose price does not cover long requests. Shorter ones are served.
_context = re.compile(
    r"prompt is too long|input is too long|context (?:limit|window|size|length)|long context",
    re.IGNORECASE,
).search
_filtered = re.compile(r"content filter|filtering policy|usage policy", re.IGNORECASE).search
_long_window = re.compile(r"per[ _-]?(?:day|week|month)|daily|weekly|monthly", re.IGNORECASE).search
_disabled = re.compile(
    r"organization has been disabled|invalid x-api-key|api key .{0,40}(?:disabled|revoked)", re.IGNORECASE
).search
_unsupported = re.compile(
    r"schema is too complex|compiled grammar is too large|deprecated for this model|not available for", re.IGNORECASE
).search


def error_of(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ProviderError:
    """Return the error that a reply means. Never raises, whatever body and headers hold."""
    return _error(status, headers, report_of(body), now)


def error_in(body: Mapping[str, Any], headers: Mapping[str, str], now: float) -> ProviderError:
    """Return the error that `body`, which came under status 200, is."""
    report = read_report(body)
    return _error(_kind(report, report.status or 500), headers, report, now)


def _kind(report: ErrorReport, status: int) -> int:
    return next((TYPES[code] for code in sorted(report.codes) if code in TYPES), status)


def _error(status: int, headers: Mapping[str, str], report: ErrorReport, now: float) -> ProviderError:
    at = retry_at(headers, report.text, now)
    error = _sort(_kind(report, status), report, at, now)
    if isinstance(error, ServerFault):
        error.retry_at = at
    error.status = status
    return error


def _sort(kind: int, report: ErrorReport, at: float | None, now: float) -> ProviderError:
    """Return the class of error. The order is the point: the specific first, the bare status last."""
    text, codes = report.text or f"HTTP {kind}", report.codes
    if kind == 402 or codes & MONEY_CODES or (kind in (400, 403, 429) and _money(text)):
        regained = _regained(text, now)
        return QuotaSpent(text, retry_at=regained, money=regained is None)
    if kind == 413 or "exceed_context_size_error" in codes or (kind in (400, 422, 429, 500) and _context(text)):
        return ContextTooLong(text)
    if kind in (400, 403) and _filtered(text):
        return Declined(text, category="content_filter")
    if kind == 429:
        return QuotaSpent(text, retry_at=at) if _long_window(text) else RateLimited(text, retry_at=at)
    if kind == 529:
        return Overloaded(text)
    if kind in (401, 403) or codes & ACCOUNT_CODES or (kind == 400 and _disabled(text)):
        return AuthFailed(text)
    if kind in (404, 405, 410, 501) or (kind == 400 and _unsupported(text)):
        return Unsupported(text, gone=kind in (404, 410))
    return by_status(kind, text)


def _regained(text: str, now: float) -> float | None:
    """Return when a spend limit of one's own ends, where the message says so. Credit does not come back by a clock."""
    found = _regain(text)
    if found is None:
        return None
    day, hour = found.groups()
    at = instant(f"{day}T{hour or '00:00'}:00Z", now)
    return None if at is None else max(at, now)
