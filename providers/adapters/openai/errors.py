"""What an error reply means, for every vendor on the OpenAI dialect: eight shapes of body, one error tree.

The status decides least: vendors send money as 429, refused content as 403, capacity as 429, a full context as 500.
So the words and codes are asked first. Sources: docs/sources.md, recorded replies and vendors' pages, 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.adapters.error_report import ErrorReport, by_status, read_report, report_of
from providers.adapters.wrong_address import names_no_path
from providers.errors import (
    AuthFailed,
    BadReply,
    ContextTooLong,
    Declined,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    RequestTooLarge,
    ServerFault,
    Unsupported,
    WrongAddress,
)
from providers.limits.retry_after import retry_at

# OpenAI, checked 2026-11: each of them is a 429 that no waiting cures.
MONEY_CODES = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "enforced_spend_limit_reached",
    "billing_hard_limit_reached",
    "billing_not_active",
    "billing_error",
}
CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error", "request_too_large", "string_above_max_length"}
KEY_CODES = {"invalid_api_key", "api_key_invalid"}
FILTER_CODES = {"content_filter", "content_policy_violation", "content_filter_error", "moderation_blocked"}
MODEL_CODES = {"model_not_found", "unsupported_parameter", "unsupported_value", "not_implemented", "not_found_error"}
# Groq answers 400 when the model itself wrote a broken tool call or broken JSON: another draw may be sound.
DRAFT_CODES = {"tool_use_failed", "json_validate_failed"}
CAPACITY_CODES = {
    "server_is_overloaded",
    "overloaded_error",
    "capacity_exceeded",
    "queue_exceeded",
    "3040",
    "slow_down",
}
NEURON_CODES = {"3036", "4006"}  # Cloudflare's free allocation of a day, renewed at 00:00 UTC

_money = re.compile(
    r"insufficient[ _](?:balance|credit|fund|quota)|credit balance|more credits|exceeded your current quota"
    r"|spend(?:ing)? limit|billing (?:hard )?limit|payment required",
    re.IGNORECASE,
).search
_context = re.compile(
    r"context[ _](?:length|window|size)|maximum context|prompt (?:is )?too long|input is too long"
    r"|exceeds the maximum number of tokens|request too large|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
).search
_not_this_model = re.compile(r"not allowed to sample|access to (?:this |the )?model", re.IGNORECASE).search
_minute = re.compile(r"too large.*(?:per minute|\bTPM\b)", re.IGNORECASE).search
_filtered = re.compile(
    r"content violates|usage guidelines|content[ _](?:policy|filter|management)|flagged|moderation|safety_check"
    r"|guardrail",
    re.IGNORECASE,
).search
_capacity = re.compile(
    r"capacity exceeded|overloaded|over capacity|no capacity|out of capacity|no more data centers|upstream",
    re.IGNORECASE,
).search
_long_window = re.compile(
    r"per[ _-](?:day|month|week)|daily|monthly|\b(?:RPD|TPD)\b|free allocation|usage limit", re.IGNORECASE
).search
_bad_key = re.compile(
    r"(?:invalid|incorrect|missing|wrong) (?:api|authentication)[ _-]?(?:key|header|token)|api key not valid",
    re.IGNORECASE,
).search


def error_of(status: int, headers: Mapping[str, str], body: bytes, now: float) -> ProviderError:
    """Return the error that a reply means. Never raises, whatever body and headers hold."""
    return _error(status, headers, report_of(body), now)


def error_in(
    body: Mapping[str, Any], headers: Mapping[str, str], now: float, *, certain: bool = False
) -> ProviderError | None:
    """Return the error inside a reply of status 200, or None where there is none.

    `certain`: the body is an error by its place, an `event: error` for one, whatever its shape.
    """
    failed = body.get("success") is False and body.get("errors")
    if not (body.get("error") or failed or certain or body.get("object") == "error"):
        return None
    report = read_report(body)
    if names_no_path(report.text):  # LM Studio says so under 200
        return WrongAddress(f"the base URL is wrong: {report.text}")
    return _error(report.status or _status_of(report), headers, report, now)


def _status_of(report: ErrorReport) -> int:
    """Return the status that would have come, had the error not come inside a 200."""
    for code, status in (
        ("rate_limit_exceeded", 429),
        ("rate_limit_error", 429),
        ("too_many_requests_error", 429),
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("permission_error", 403),
    ):
        if code in report.codes:
            return status
    return 500


def _error(status: int, headers: Mapping[str, str], report: ErrorReport, now: float) -> ProviderError:
    merged = {**report.headers, **headers} if report.headers else headers
    at = retry_at(merged, report.text, now)
    error = _sort(status, report, at, now)
    if status in (408, 504) or isinstance(error, ServerFault):
        error.retry_at = at
    error.status = status
    return error


def _sort(status: int, report: ErrorReport, at: float | None, now: float) -> ProviderError:
    """Return the class of error. The order is the point: the specific first, the bare status last."""
    text, codes = report.text or f"HTTP {status}", report.codes
    # "You exceeded your current quota" with an instant is a window (Gemini), without one it is money (OpenAI).
    broke = status in (400, 403) or (status == 429 and at is None)
    if codes & MONEY_CODES or status == 402 or (broke and _money(text)):
        # Of all 402s one heals by waiting: too much of the balance is held by calls in flight (OpenRouter).
        return RateLimited(text, retry_at=at) if status == 402 and at is not None else QuotaSpent(text, money=True)
    if codes & NEURON_CODES and status == 429:
        return QuotaSpent(text, retry_at=_next_midnight(now))
    if codes & DRAFT_CODES:
        return BadReply(f"the model's draft was rejected: {text}")
    if (status == 413 and not _context(text)) or (status in (413, 429) and _minute(text)):
        return RequestTooLarge(text)
    if codes & CONTEXT_CODES or (status in (400, 422, 429, 500) and _context(text)):
        return ContextTooLong(text)
    if codes & FILTER_CODES or (status in (400, 403, 451) and _filtered(text)):
        return Declined(text, category=report.category or "content_filter")
    if status == 429:
        return _limited(text, codes, at)
    if status == 403 and ("model_not_found" in codes or _not_this_model(text)):
        return Unsupported(text, gone=True)
    if status in (401, 403) or codes & KEY_CODES or (status == 400 and _bad_key(text)):
        return AuthFailed(text, edge=status == 403 and not report.is_json)
    if status in (404, 405, 410, 501) or codes & MODEL_CODES:
        return Unsupported(text, gone=status in (404, 410) or "model_not_found" in codes)
    return by_status(status, text)


def _limited(text: str, codes: frozenset[str], at: float | None) -> ProviderError:
    if codes & CAPACITY_CODES or _capacity(text):
        return Overloaded(text, retry_at=at)
    return QuotaSpent(text, retry_at=at) if _long_window(text) else RateLimited(text, retry_at=at)


def _next_midnight(now: float) -> float:
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp()
