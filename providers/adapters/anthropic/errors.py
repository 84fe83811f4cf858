"""What an error of the Messages dialect means. Sources: docs/sources.md, recorded and quoted replies, 2026-11.

The type inside the body wins over the status, and the words over both: no credit, a spend limit of one's own and
a full context all come as `invalid_request_error`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from providers.adapters.error_report import ErrorReport, read_report, report_of
from providers.adapters.verdict import TYPES, judge
from providers.catalog.refusals import Meaning, Refusal
from providers.errors import ProviderError, QuotaSpent
from providers.limits.retry_after import instant

# Kinds of 402, 429 and 400, from the SDK anthropic 2.11.0: no waiting cures them.
MONEY_CODES = {
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "linked_organization_billing_unavailable",
    "linked_organization_spend_limit_reached",
}
ACCOUNT_CODES = {"cmek_key_disabled", "organization_on_hold", "organization_type_not_supported"}
VAGUE = {"invalid_request_error", "api_error"}
"""Types that say no more than the first digit of the status does."""
_money = re.compile(
    r"credit balance|spend(?:ing)? limit|(?:specified|monthly) (?:API )?usage limit|purchase credits", re.IGNORECASE
).search
_regain = re.compile(r"regain access on (\d{4}-\d\d-\d\d)(?: at (\d\d:\d\d) UTC)?", re.IGNORECASE).search


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, now: float, refusals: Sequence[Refusal] = ()
) -> ProviderError:
    """Return the error that a reply means. Never raises, whatever body and headers hold."""
    report = report_of(body)
    return judge(status, headers, report, now, _own, refusals, kind=_kind(report, status))


def error_in(
    body: Mapping[str, Any], headers: Mapping[str, str], now: float, refusals: Sequence[Refusal] = ()
) -> ProviderError:
    """Return the error that `body`, which came under status 200, is."""
    report = read_report(body)
    return judge(report.status, headers, report, now, _own, refusals)


def _kind(report: ErrorReport, status: int) -> int:
    known = (TYPES[code] for code in TYPES if code in report.codes and (code not in VAGUE or not 400 <= status <= 599))
    return next(known, status)


def _own(kind: int, report: ErrorReport, at: float | None, now: float) -> Meaning | ProviderError | None:  # noqa: ARG001
    codes, said = report.codes, report.said
    if kind == 402 or codes & MONEY_CODES or (kind in (0, 400, 403, 429) and _money(said)):
        regained = _regained(said, now)
        return QuotaSpent(report.text or f"HTTP {kind}", retry_at=regained, money=regained is None)
    return "key" if codes & ACCOUNT_CODES else None


def _regained(said: str, now: float) -> float | None:
    """Return when a spend limit of one's own ends, where the message says so. Credit does not come back by a clock."""
    found = _regain(said)
    if found is None:
        return None
    day, hour = found.groups()
    at = instant(f"{day}T{hour or '00:00'}:00Z", now)
    return None if at is None else max(at, now)
