"""What a provider still allows: limits, and what was used of them. Pure: state in, state out, `now` is passed in.

A call is counted from the moment it is reserved until its window has passed since it was *settled*: whenever it came to
the provider in between, the provider's own window ends no later than ours. So a count may be high, by a call's duration
and, in a rolling window, by one bucket (1/60 of the window); it is never low, and nothing is admitted past a limit.

A window's past is kept for as long again, and what is booked in the future counts now: a clock may step back by a
window without a call being forgotten. All instants are epoch seconds UTC.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Meter:
    """`amount` in `window`, counted under `key`: meters with one key share one count. `label` is for people."""

    key: str
    amount: float
    window: Window
    label: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """What one call holds: booked whole once it expires, for whoever died with it may have been heard."""

    id: str
    amount: float
    expires: float


@dataclass(frozen=True, slots=True)
class Count:
    """What was used under one key. `spent` holds (bucket, amount) in order of time."""

    spent: tuple[tuple[int, float], ...] = ()
    leases: tuple[Lease, ...] = ()
    outside: tuple[float, float] = (0.0, 0.0)
    """(amount, until): what the provider counted beyond our own, by its own word."""
    due: float = 0.0
    """Paced: when the next call would come in an even flow."""


NOTHING = Count()
State = Mapping[str, Count]
Amounts = Sequence[tuple[Meter, float]]
"""What one call asks of each of its meters."""


@dataclass(frozen=True, slots=True)
class Refused:
    """`meter` leaves no room before `until` (inf: never), whatever becomes of the calls that are out.

    `until` is exact where none is out. It is `now` where they alone stand in the way: any of them may make room.
    """

    meter: Meter
    until: float


@dataclass(frozen=True, slots=True)
class Used:
    """What stands under a meter: `used` of its amount (calls that are out included), all of it free at `resets_at`."""

    meter: Meter
    used: float
    resets_at: float

    @property
    def left(self) -> float:
        """The share that is left, 0 to 1."""
        return max(0.0, 1.0 - self.used / self.meter.amount) if self.meter.amount else float(self.used == 0)


def check(state: State, amounts: Amounts, now: float) -> Refused | None:
    """Return the last of the meters to have room, or None: all have it now."""
    refused = [found for meter, amount in amounts if (found := _lacking(state, meter, amount, now)) is not None]
    return max(refused, key=lambda each: each.until, default=None)


def reserve(state: State, amounts: Amounts, lease: str, now: float, expires: float) -> tuple[State, Refused | None]:
    """Return the state with all of `amounts` held until `expires`, or the same state and who refused: all or none."""
    if (refused := check(state, amounts, now)) is not None:
        return state, refused
    held = dict(state)
    for meter, amount in amounts:
        count = tidied(state.get(meter.key, NOTHING), meter.window, now)
        if isinstance(meter.window, Paced):
            held[meter.key] = _paced(count, meter, amount, now)
        else:
            held[meter.key] = replace(count, leases=(*count.leases, Lease(lease, amount, expires)))
    return held, None


def settle(state: State, amounts: Amounts, lease: str, now: float) -> State:
    """Return the state with what the call came to in place of what it held. A lease that is gone changes nothing."""
    booked = dict(state)
    for meter, amount in amounts:
        count = tidied(state.get(meter.key, NOTHING), meter.window, now)
        others = tuple(each for each in count.leases if each.id != lease)
        if len(others) < len(count.leases):
            booked[meter.key] = _spend(replace(count, leases=others), index(meter.window, now), amount)
    return booked


def refund(state: State, meters: Iterable[Meter], lease: str, now: float) -> State:
    """Return the state without what the call held."""
    return settle(state, [(meter, 0.0) for meter in meters], lease, now)


def spend(state: State, amounts: Amounts, now: float) -> State:
    """Return the state with `amounts` booked, whether there is room for them or not."""
    held = dict(state)
    for meter, amount in amounts:
        count = tidied(state.get(meter.key, NOTHING), meter.window, now)
        if isinstance(meter.window, Paced):
            held[meter.key] = _paced(count, meter, amount, now)
        else:
            held[meter.key] = _spend(count, index(meter.window, now), amount)
    return held


def observe(state: State, meter: Meter, remaining: float, until: float | None, now: float) -> State:
    """Return the state after the provider said how much remains, and until when what was used counts.

    Its word only ever takes room away: an answer may be older than what was reserved since. Calls that are out are
    taken to be among those that it counted. No word reaches further than one window.
    """
    if isinstance(meter.window, Paced):
        return state
    count = tidied(state.get(meter.key, NOTHING), meter.window, now)
    number = index(meter.window, now)
    own = _sum(replace(count, outside=NOTHING.outside), number - reach(meter.window))
    end = start(meter.window, number + reach(meter.window) + 1) if until is None else until
    said = (meter.amount - own - remaining, min(max(end, now), now + span(meter.window)))
    return state if said[0] <= 0 or said <= count.outside else {**state, meter.key: replace(count, outside=said)}


def view(state: State, meter: Meter, now: float) -> Used:
    """Return what stands under the meter."""
    count = tidied(state.get(meter.key, NOTHING), meter.window, now)
    if isinstance(meter.window, Paced):
        ahead = max(0.0, count.due - now)
        return Used(meter, min(1.0, ahead / meter.window.seconds) * meter.amount, now + ahead)
    used = _sum(count, index(meter.window, now) - reach(meter.window))
    ends = [*(end for end, _ in _ends(count, meter.window, now)), *(each.expires for each in count.leases)]
    return Used(meter, used, max(ends, default=now))


def tidied(count: Count, window: Window, now: float) -> Count:
    """Return the count without what can't matter any more, expired leases booked."""
    if isinstance(window, Paced):
        # Nothing granted lies further ahead: the clock has stepped back.
        most = now + window.seconds * window.burst
        return replace(count, due=most) if count.due > most else count
    for lease in count.leases:
        if lease.expires <= now:
            rest = tuple(each for each in count.leases if each is not lease)
            count = _spend(replace(count, leases=rest), index(window, lease.expires), lease.amount)
    oldest = index(window, now) - 2 * reach(window) - 1
    if count.spent and count.spent[0][0] < oldest:
        count = replace(count, spent=tuple(each for each in count.spent if each[0] >= oldest))
    return replace(count, outside=NOTHING.outside) if count.outside[0] and count.outside[1] <= now else count


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


def _lacking(state: State, meter: Meter, amount: float, now: float) -> Refused | None:
    count = tidied(state.get(meter.key, NOTHING), meter.window, now)
    if amount > meter.amount:
        return Refused(meter, inf)
    if isinstance(meter.window, Paced):
        at = count.due - (meter.window.burst - 1) * (meter.window.seconds / meter.amount)
        return None if now >= at else Refused(meter, at)
    if _sum(count, index(meter.window, now) - reach(meter.window)) + amount <= meter.amount:
        return None
    return Refused(meter, _room_at(replace(count, leases=()), meter, amount, now))


def _paced(count: Count, meter: Meter, amount: float, now: float) -> Count:
    return replace(count, due=max(count.due, now) + amount * (span(meter.window) / meter.amount))


def _room_at(count: Count, meter: Meter, amount: float, now: float) -> float:
    """Return the first instant from `now` on with room for `amount`, if nothing else is booked."""
    ends = [now, *(end for end, _ in _ends(count, meter.window, now))]

    def roomy(at: float) -> bool:
        later = tidied(count, meter.window, at)
        return _sum(later, index(meter.window, at) - reach(meter.window)) + amount <= meter.amount

    return ends[bisect_left(ends, True, key=roomy)]


def _ends(count: Count, window: Window, now: float) -> list[tuple[float, float]]:
    """Return (instant, amount) of everything that will stop counting, in order of time."""
    oldest = index(window, now) - reach(window)
    ends = [(start(window, i + reach(window) + 1), amount) for i, amount in count.spent if i >= oldest]
    return sorted([*ends, (count.outside[1], count.outside[0])] if count.outside[0] else ends)


def _sum(count: Count, oldest: int) -> float:
    # Not `sum`, which compensates for rounding since Python 3.12: every ledger must come to the same figure.
    total = count.outside[0]
    for number, amount in count.spent:
        if number >= oldest:
            total += amount
    for lease in count.leases:
        total += lease.amount
    return total


def _spend(count: Count, number: int, amount: float) -> Count:
    if not amount:
        return count
    booked = dict(count.spent)
    booked[number] = booked.get(number, 0.0) + amount
    return replace(count, spent=tuple(sorted(booked.items())))
