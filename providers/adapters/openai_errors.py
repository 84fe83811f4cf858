"""What an error reply means, for every vendor on the OpenAI dialect: eight shapes of body, one error tree.

The status decides least: vendors send money as 429, refused content as 403, capacity as 429, a full context as 500.
So the words and codes are asked first. Sources: docs/sources.md, recorded replies and vendors' pages, 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.adapters.retry_after import retry_at
from providers.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    ContextTooLong,
    Declined,
    Overloaded,
    ProviderError,
    QuotaSpent,
    RateLimited,
    ServerFault,
    TimedOut,
    Unreachable,
    Unsupported,
)
from providers.unicode import clean, cut

EXCERPT = 200
MAX_BODY = 64 * 1024  # an error's sense stands in its head; a proxy's page may be megabytes

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
_unsupported = re.compile(
    r"not support|unsupported|does not exist|not found|is unavailable now|no endpoints found|unknown model"
    r"|no such model|not implemented",
    re.IGNORECASE,
).search
_bad_key = re.compile(
    r"(?:invalid|incorrect|missing|wrong) (?:api|authentication)[ _-]?(?:key|header|token)", re.IGNORECASE
).search


@dataclass(frozen=True, slots=True)
class Report:
    """What a body says. `text` is clean and short; `codes` are its codes and types in lower case."""

    text: str = ""
    codes: frozenset[str] = frozenset()
    headers: Mapping[str, str] | None = None
    """Headers of the upstream provider that an aggregator quotes."""
    category: str = ""
    status: int | None = None


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
    report = _read(body)
    return _error(report.status or _status_of(report), headers, report, now)


def excerpt(body: bytes) -> str:
    """Return the head of `body` for a message: clean, in one line, at most 200 characters."""
    text = clean(body[:MAX_BODY].decode("utf-8", "replace"))
    return cut(" ".join(text[: EXCERPT * 16].split()), EXCERPT) or "an empty body"


def report_of(body: bytes) -> Report:
    """Return what `body` says; where it is no JSON, its head."""
    try:
        found = json.loads(body[:MAX_BODY].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Report(text=excerpt(body))
    report = _read(found)
    return (
        report if report.text else Report(excerpt(body), report.codes, report.headers, report.category, report.status)
    )


def _read(body: Any) -> Report:
    if isinstance(body, list) and body:  # Google wraps an error in an array
        body = body[0]
    if not isinstance(body, dict):
        return Report(text=_short(_words(body)))
    inner = body.get("error")
    if not inner and isinstance(body.get("errors"), list) and body["errors"]:
        inner = body["errors"][0]
    layers = [layer for layer in (inner, body) if isinstance(layer, dict)]
    metadata = next((m for layer in layers if isinstance(m := layer.get("metadata"), dict)), {})
    words = [_words(inner) or _words(body), _words(metadata.get("raw"))]
    quoted = metadata.get("headers")
    return Report(
        text=_short(": ".join(dict.fromkeys(filter(None, words)))),
        codes=frozenset(_codes(layers)),
        headers={str(k).lower(): str(v) for k, v in quoted.items()} if isinstance(quoted, dict) else None,
        category=_category(metadata),
        status=_status(layers),
    )


def _short(text: str) -> str:
    return cut(" ".join(clean(text[: EXCERPT * 16]).split()), EXCERPT * 2)


def _words(value: Any, depth: int = 0) -> str:
    """Return the human words in an error value of any shape."""
    if depth > 5:
        return ""
    if isinstance(value, str):
        return _words_in(value, depth)
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth + 1) for item in value[:3])))
    if not isinstance(value, dict):
        return ""
    for key in ("message", "detail", "msg", "error", "errors", "description", "title"):
        if words := _words(value.get(key), depth + 1):
            place = value.get("loc")
            return f"{'.'.join(map(str, place))}: {words}" if isinstance(place, list) else words
    return ""


def _words_in(text: str, depth: int) -> str:
    """Return `text`, or the words of the JSON that some vendors put into a message as a string."""
    if text[:1] in ("{", "[") and len(text) < MAX_BODY:
        try:
            return _words(json.loads(text), depth + 1) or text
        except (ValueError, RecursionError):
            return text
    return text


def _codes(layers: list[dict[str, Any]]) -> Iterator[str]:
    for layer in layers:
        details = layer.get("details")
        for place in (layer, details if isinstance(details, dict) else {}):
            for key in ("code", "type", "status", "error_code"):
                value = place.get(key)
                if isinstance(value, str | int) and not isinstance(value, bool):
                    yield str(value)[:100].lower()


def _category(metadata: Mapping[str, Any]) -> str:
    reasons = metadata.get("reasons")
    return ", ".join(clean(str(reason))[:40] for reason in reasons[:5]) if isinstance(reasons, list) else ""


def _status(layers: list[dict[str, Any]]) -> int | None:
    for layer in layers:
        for key in ("status_code", "raw_status_code", "code", "status"):
            value = layer.get(key)
            if isinstance(value, str) and value.isdecimal() and len(value) == 3:
                value = int(value)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
    return None


def _status_of(report: Report) -> int:
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


def _error(status: int, headers: Mapping[str, str], report: Report, now: float) -> ProviderError:
    merged = {**report.headers, **headers} if report.headers else headers
    at = retry_at(merged, report.text, now)
    error = _sort(status, report, at, now)
    if status in (408, 504) or isinstance(error, ServerFault):
        error.retry_at = at
    error.status = status
    return error


def _sort(status: int, report: Report, at: float | None, now: float) -> ProviderError:
    """Return the class of error. The order is the point: the specific first, the bare status last."""
    text, codes = report.text or f"HTTP {status}", report.codes
    # "You exceeded your current quota" with an instant is a window (Gemini), without one it is money (OpenAI).
    broke = status in (400, 403) or (status == 429 and at is None)
    if codes & MONEY_CODES or status == 402 or (broke and _money(text)):
        # Of all 402s one heals by waiting: too much of the balance is held by calls in flight (OpenRouter).
        return RateLimited(text, retry_at=at) if status == 402 and at is not None else QuotaSpent(text)
    if codes & NEURON_CODES and status == 429:
        return QuotaSpent(text, retry_at=_next_midnight(now))
    if codes & DRAFT_CODES:
        return BadReply(f"the model's draft was rejected: {text}")
    if codes & CONTEXT_CODES or status == 413 or (status in (400, 422, 429, 500) and _context(text)):
        return ContextTooLong(text)
    if codes & FILTER_CODES or (status in (400, 403, 451) and _filtered(text)):
        return Declined(text, category=report.category or "content_filter")
    if status == 429:
        return _limited(text, codes, at)
    if status in (401, 403) or "invalid_api_key" in codes or (status == 400 and _bad_key(text)):
        return AuthFailed(text)
    if status in (404, 405, 410, 501) or codes & MODEL_CODES:
        return Unsupported(text)
    return _by_status(status, text)


def _limited(text: str, codes: frozenset[str], at: float | None) -> ProviderError:
    if codes & CAPACITY_CODES or _capacity(text):
        return Overloaded(text, retry_at=at)
    return QuotaSpent(text, retry_at=at) if _long_window(text) else RateLimited(text, retry_at=at)


def _by_status(status: int, text: str) -> ProviderError:
    if status in (408, 504, 524):
        return TimedOut(text, phase="total")
    if status in (498, 503, 529):
        return Overloaded(text)
    if status >= 500 or status in (409, 424, 425, 499):
        return ServerFault(text)
    if 300 <= status < 400:
        return Unreachable(f"the endpoint redirects, its base_url is wrong: {text}")
    if status < 300:
        return ServerFault(text)
    return Unsupported(text) if _unsupported(text) else BadRequest(text)


def _next_midnight(now: float) -> float:
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (today + timedelta(days=1)).timestamp()
