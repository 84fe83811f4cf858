"""When a provider may be asked again, read from headers and texts that are not to be trusted. No I/O.

The forms stand in docs/sources.md#rate-limit-headers (2026-11): seconds, Go durations ("6m0s", "12ms"), epoch seconds
and milliseconds, RFC 3339 and HTTP dates. What is none of them is ignored, never raised.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_AHEAD_S = 30 * 86400.0
"""No limit is believed to last longer: that of a month is the longest known."""
MAX_CLOCK_GAP_S = 86400.0
"""A `Date` that is further from our own clock says nothing of either."""

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = r"\d{1,12}(?:\.\d{1,12})?(?:ms|us|µs|ns|[dhms])"
_parts = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|[dhms])").findall
_go_duration = re.compile(f"(?:{_PART})+").fullmatch
# "Please try again in 5.289s" (Groq, OpenAI), "Please retry in 48.9s" (Gemini), "try again in 20 seconds" (Azure).
_in_words = re.compile(
    rf"(?:try again|retry)(?: after| in) (?:((?:{_PART})+)\b|(\d{{1,9}}(?:\.\d{{1,9}})?) ?(second|minute|hour|day))",
    re.IGNORECASE,
).search


def retry_at(
    headers: Mapping[str, str], text: str, now: float, delay: str = "", *, limited: bool = True
) -> float | None:
    """Return epoch seconds UTC, never before `now` and at most 30 days ahead; None where nothing says when.

    The latest of `retry-after`, the message's own words and the body's `delay` wins, then the reset of a limit that has
    nothing left. A limit with something left has no part in a fault of the moment; where the request was `limited`, one
    of tokens may have left too few.
    """
    known = (_retry_after(headers, now), _said(text, now), instant(delay, now))
    found = max((at for at in known if at is not None), default=None)
    if found is None:
        spent, unknown = _resets(headers, now, limited=limited)
        found = max(spent) if spent else min(unknown, default=None)
    return None if found is None else min(max(found, now), now + MAX_AHEAD_S)


def instant(value: str, now: float, clock: float | None = None) -> float | None:
    """Return the instant (epoch seconds) that a header's `value` means, None where it means none.

    A bare number is seconds from now, or epoch seconds, or epoch milliseconds: its size tells which. Where the server's
    own `clock` is given, a point in time is read by that.
    """
    value = value.strip()
    number = _number(value)
    if number is not None:
        if number < 0:
            return None
        if number <= 1e9:
            return now + number
        return _by_our_clock(number / 1000 if number > 1e11 else number, now, clock)
    if _go_duration(value):
        return now + _seconds(value)
    found = _date(value)
    return None if found is None else _by_our_clock(found, now, clock)


def clock_of(headers: Mapping[str, str], now: float) -> float | None:
    """Return what the server's clock shows by its `Date`, None where it does not say, or nothing to be believed."""
    found = _date(headers.get("date", ""))
    return found if found is not None and abs(found - now) <= MAX_CLOCK_GAP_S else None


def _by_our_clock(at: float, now: float, clock: float | None) -> float:
    return at if clock is None else at - clock + now


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return what the headers say, the exact one first. Azure sends `retry-after-ms: 0` beside `retry-after: 1`."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None and milliseconds > 0:
        return now + milliseconds / 1000
    return instant(headers.get("retry-after", ""), now, clock_of(headers, now))


def _said(text: str, now: float) -> float | None:
    found = _in_words(text)
    if found is None:
        return None
    duration, amount, unit = found.groups()
    return now + (_seconds(duration.lower()) if duration else float(amount) * _UNITS[unit[0].lower()])


def _resets(headers: Mapping[str, str], now: float, *, limited: bool) -> tuple[list[float], list[float]]:
    """Return when the limits that are used up begin anew, and those that may be: nobody says how much is left."""
    spent, unknown = [], []
    clock = clock_of(headers, now)
    for name, value in headers.items():
        if "ratelimit" not in name or "reset" not in name or (at := instant(value, now, clock)) is None:
            continue
        left = _number(headers.get(name.replace("reset", "remaining"), ""))
        if left is not None and left <= 0:
            spent.append(at)
        elif left is None or (limited and "token" in name):
            unknown.append(at)
    return spent, unknown


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(duration: str) -> float:
    return sum(float(amount) * _UNITS[unit] for amount, unit in _parts(duration))


def _date(value: str) -> float | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = parse(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
