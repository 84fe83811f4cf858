"""What an error of the Chat Completions dialect means, for every vendor that speaks it: eight shapes of body.

Sources: docs/sources.md, recorded replies and vendors' pages, 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from providers.adapters.error_report import ErrorReport, is_error, read_report, report_of
from providers.adapters.verdict import end_of, judge
from providers.adapters.wrong_address import names_no_path
from providers.catalog.refusals import Meaning, Refusal
from providers.errors import ProviderError, QuotaSpent, WrongAddress

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
# Groq answers 400, Ollama and llama.cpp 500, when the model itself wrote a broken tool call: another draw may be sound.
DRAFT_CODES = {"tool_use_failed", "json_validate_failed"}
NEURON_CODES = {"3036", "4006"}  # Cloudflare's free allocation of a day, renewed at 00:00 UTC
CAPACITY_CODES = {"3040"}
HEAD = 160

# Before all else: what follows these words is the model's, of whatever it speaks.
_draft = re.compile(
    r"error parsing tool call|failed to parse (?:tool call arguments|input at pos)|tool call validation failed"
    r"|failed to (?:call a function|generate json)|which was not in request\.tools",
    re.IGNORECASE,
).search
_spent = re.compile(r"exceeded your current quota", re.IGNORECASE).search


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, now: float, refusals: Sequence[Refusal] = ()
) -> ProviderError:
    """Return the error that a reply means. Never raises, whatever body and headers hold."""
    return judge(status, headers, report_of(body), now, _own, refusals)


def error_in(
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    now: float,
    refusals: Sequence[Refusal] = (),
    *,
    certain: bool = False,
) -> ProviderError | None:
    """Return the error inside a reply of status 200, or None where there is none.

    `certain`: the body is an error by its place, an `event: error` for one, whatever its shape.
    """
    failed = body.get("success") is False and body.get("errors")
    if not (is_error(body.get("error")) or failed or certain or body.get("object") == "error"):
        return None
    report = read_report(body)
    if names_no_path(report.text):  # LM Studio says so under 200
        return WrongAddress(f"the base URL is wrong: {report.text}")
    return judge(report.status, headers, report, now, _own, refusals)


def _own(kind: int, report: ErrorReport, at: float | None, now: float) -> Meaning | ProviderError | None:
    codes = report.codes
    if codes & DRAFT_CODES or (kind in (0, 400, 422, 500) and _draft(report.said[:HEAD])):
        return "draft"
    if codes & MONEY_CODES or kind == 402:
        # Of all 402s one heals by waiting: too much of the balance is held by calls in flight (OpenRouter).
        return "rate" if kind == 402 and at is not None else "no_money"
    # With an instant it is a window (Gemini), without one it is money (OpenAI).
    if kind in (0, 400, 403, 429) and at is None and _spent(report.said):
        return "no_money"
    if codes & NEURON_CODES and kind == 429:
        return QuotaSpent(report.text, retry_at=end_of("day", now))
    if codes & CAPACITY_CODES and kind == 429:
        return "overloaded"
    return None
