"""What an error of Google's Generative Language API means. The body is a google.rpc.Status, in an array now and then.

The status word decides little: a wrong key is a 400, and a 429 is a minute, a day or money by its details alone.
Sources: recorded replies; google-gemini/gemini-cli issues 8437, 14519, 14811, 15184, 27548;
ai.google.dev/gemini-api/docs/rate-limits and /troubleshooting; 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

from providers.adapters.error_report import ErrorReport, is_error, read_report, report_of
from providers.adapters.verdict import judge
from providers.adapters.wordings import allows_nothing
from providers.catalog.refusals import Meaning, Refusal
from providers.errors import ProviderError, QuotaSpent

# The day of a quota begins at midnight in California (ai.google.dev/gemini-api/docs/rate-limits, 2026-11).
DAY_ZONE = "America/Los_Angeles"

_money = re.compile(
    r"(?:prepa(?:id|y)|credit)[^.]*(?:depleted|exhausted|insufficient|run out)|spend(?:ing)? (?:cap|limit)",
    re.IGNORECASE,
).search
_daily = re.compile(r"per[ _-]?day", re.IGNORECASE).search
# Said of a preview model to accounts that have the others: gemini-cli issue 14519.
_no_permission = re.compile(r"caller does not have permission", re.IGNORECASE).search


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, now: float, refusals: Sequence[Refusal] = ()
) -> ProviderError:
    """Return the error that a reply means. Never raises, whatever body and headers hold."""
    return judge(status, headers, report_of(body), now, _own, refusals)


def error_in(chunk: Mapping[str, Any], now: float, refusals: Sequence[Refusal] = ()) -> ProviderError | None:
    """Return the error inside a reply of status 200, or None where there is none."""
    if not is_error(chunk.get("error")):
        return None
    report = read_report(chunk)
    return judge(report.status, {}, report, now, _own, refusals)


def _own(kind: int, report: ErrorReport, at: float | None, now: float) -> Meaning | ProviderError | None:
    said, codes = report.said, report.codes
    if kind == 402 or "billing_disabled" in codes or (kind in (0, 400, 403, 429) and _money(said)):
        return "no_money"
    if any(code.startswith("api_key_") for code in codes):
        return "key"
    if kind == 403 and _no_permission(said):
        return "gone"
    if kind == 429 and not allows_nothing({}, report):
        return _limited(report, at, now)
    return None


def _limited(report: ErrorReport, at: float | None, now: float) -> Meaning | ProviderError | None:
    if _daily(report.quotas) or _daily(report.said):
        # RetryInfo comes with a day's quota too, and says seconds.
        return QuotaSpent(report.text, retry_at=_next_midnight(now))
    # What the quotas are called says more than the message, which may name all of them.
    return "rate" if report.quotas and at is not None else None


def _next_midnight(now: float) -> float:
    today = datetime.fromtimestamp(now, _day_zone())
    return (today + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def _day_zone() -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(DAY_ZONE)
    except ZoneInfoNotFoundError:  # neither a system database nor the tzdata package
        return timezone(timedelta(hours=-8))  # its winter time: never too early
