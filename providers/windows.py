"""Windows that a limit may have, and the buckets that time falls into by each of them. Pure.

All instants are epoch seconds UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from functools import lru_cache
from math import floor, inf, nextafter
from typing import Literal

BUCKETS = 60
"""Of a rolling window: its memory is bounded by them, and a call is counted at most one of them too long."""
CALENDAR_SECONDS = {"day": 86400.0, "month": 30 * 86400.0}


@dataclass(frozen=True, slots=True)
class Rolling:
    """Any `seconds` in a row."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fixed:
    """Spans of `seconds`, counted from the epoch."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Calendar:
    """A day or a month on the wall clock of `timezone` (an IANA name)."""

    unit: Literal["day", "month"]
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Paced:
    """Spread evenly over `seconds` (GCRA). `burst` calls may come at once; 1 is a minimum spacing.

    What was granted is spent: a refund gives nothing back, for another call may have been paced after it.
    """

    seconds: float
    burst: int = 1


Window = Rolling | Fixed | Calendar | Paced


def span(window: Window) -> float:
    """Return the window's seconds; a month's are nominal."""
    return CALENDAR_SECONDS[window.unit] if isinstance(window, Calendar) else window.seconds


def reach(window: Window) -> int:
    """Return how many buckets before the current one still count."""
    return BUCKETS if isinstance(window, Rolling) else 0


def width(window: Rolling | Fixed | Paced) -> float:
    """Return a bucket's seconds."""
    return window.seconds / BUCKETS if isinstance(window, Rolling) else window.seconds


def index(window: Window, at: float) -> int:
    """Return the number of the bucket that `at` lies in. Numbers rise with time."""
    if not isinstance(window, Calendar):
        return floor(at / width(window))
    local = datetime.fromtimestamp(at, _zone(window.timezone))
    return local.toordinal() if window.unit == "day" else local.year * 12 + local.month - 1


def start(window: Window, number: int) -> float:
    """Return the first instant of a bucket."""
    if isinstance(window, Calendar):
        first = date.fromordinal(number) if window.unit == "day" else date(number // 12, number % 12 + 1, 1)
        return datetime.combine(first, time(), _zone(window.timezone)).timestamp()
    at = number * width(window)
    while floor(at / width(window)) < number:  # a product that was rounded down
        at = nextafter(at, inf)
    return at


def knows_timezone(name: str) -> bool:
    """Whether `name` is an IANA time zone that this machine has."""
    try:
        _zone(name)
    except (ValueError, KeyError, OSError):
        return False
    return True


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # some milliseconds, for those few who count by a wall clock

    return ZoneInfo(name)
