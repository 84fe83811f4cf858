"""What a provider still allows: limits, and what was used of them. No clock of its own: `now` is passed in.

A call is counted from the moment it is reserved until its window has passed since it was *settled*: whenever it came to
the provider in between, the provider's own window ends no later than ours. So a count may be high, by a call's duration
and, in a rolling window, by one bucket (1/60 of the window); it is never low, and nothing is admitted past a limit.

A window's past is kept for as long again, and what is booked in the future counts now: a clock may step back by a
window without a call being forgotten. All instants are epoch seconds UTC.

A `CounterStore` counts in place, where a process keeps the only copy; the functions do the same to values, for ledgers
that store them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from providers.limits.counter import NOTHING as NOTHING
from providers.limits.counter import Count as Count
from providers.limits.counter import Lease as Lease
from providers.limits.counter import LimitKey as LimitKey
from providers.limits.counter import Used as Used
from providers.limits.counter import WindowCounter
from providers.windows import BUCKETS as BUCKETS
from providers.windows import CALENDAR_SECONDS as CALENDAR_SECONDS
from providers.windows import Calendar as Calendar
from providers.windows import Fixed as Fixed
from providers.windows import Paced as Paced
from providers.windows import Rolling as Rolling
from providers.windows import Window as Window
from providers.windows import index as index
from providers.windows import knows_timezone as knows_timezone
from providers.windows import reach as reach
from providers.windows import span as span
from providers.windows import start as start
from providers.windows import width as width

State = Mapping[str, Count]
Amounts = Sequence[tuple[LimitKey, float]]
"""What one call asks of each of its meters."""


@dataclass(frozen=True, slots=True)
class NoRoom:
    """`meter` leaves no room before `until` (inf: never), whatever becomes of the calls that are out.

    `until` is exact where none is out. It is `now` where they alone stand in the way: any of them may make room.
    """

    meter: LimitKey
    until: float


class CounterStore:
    """Tallies by meter. Methods are as the functions of their names, which see."""

    def __init__(self) -> None:
        self._tallies: dict[str, WindowCounter] = {}

    def reserve(self, amounts: Amounts, lease: str, now: float, expires: float) -> NoRoom | None:
        asked = [(self._tally(meter), meter, amount) for meter, amount in amounts]
        if refused := _last_to_have_room(asked, now):
            return refused
        for tally, meter, amount in asked:
            tally.hold(lease, amount, meter.amount, now, expires)
        return None

    def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        for meter, amount in amounts:
            self._tally(meter).settle(lease, amount, now)

    def spend(self, amounts: Amounts, now: float) -> None:
        for meter, amount in amounts:
            self._tally(meter).spend(amount, meter.amount, now)

    def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        self._tally(meter).observe(meter.amount, remaining, until, now)

    def view(self, meter: LimitKey, now: float) -> Used:
        return self._tally(meter).view(meter, now)

    def forget(self, meter: LimitKey) -> None:
        """Begin anew with the meter."""
        self._tallies.pop(meter.key, None)

    def _tally(self, meter: LimitKey) -> WindowCounter:
        tally = self._tallies.get(meter.key)
        if tally is not None and (tally.window is meter.window or tally.window == meter.window):
            return tally
        tally = self._tallies[meter.key] = WindowCounter(meter.window, NOTHING if tally is None else tally.count())
        return tally


def check(state: State, amounts: Amounts, now: float) -> NoRoom | None:
    """Return the last of the meters to have room, or None: all have it now."""
    return _last_to_have_room([(_tally(state, meter), meter, amount) for meter, amount in amounts], now)


def reserve(state: State, amounts: Amounts, lease: str, now: float, expires: float) -> tuple[State, NoRoom | None]:
    """Return the state with all of `amounts` held until `expires`, or the same state and who refused: all or none."""
    asked = [(_tally(state, meter), meter, amount) for meter, amount in amounts]
    if (refused := _last_to_have_room(asked, now)) is not None:
        return state, refused
    held = dict(state)
    for tally, meter, amount in asked:
        tally.hold(lease, amount, meter.amount, now, expires)
        held[meter.key] = tally.count()
    return held, None


def settle(state: State, amounts: Amounts, lease: str, now: float) -> State:
    """Return the state with what the call came to in place of what it held. A lease that is gone changes nothing."""
    booked = dict(state)
    for meter, amount in amounts:
        tally = _tally(state, meter)
        if tally.settle(lease, amount, now):
            booked[meter.key] = tally.count()
    return booked


def refund(state: State, meters: Iterable[LimitKey], lease: str, now: float) -> State:
    """Return the state without what the call held."""
    return settle(state, [(meter, 0.0) for meter in meters], lease, now)


def spend(state: State, amounts: Amounts, now: float) -> State:
    """Return the state with `amounts` booked, whether there is room for them or not."""
    booked = dict(state)
    for meter, amount in amounts:
        tally = _tally(state, meter)
        tally.spend(amount, meter.amount, now)
        booked[meter.key] = tally.count()
    return booked


def observe(state: State, meter: LimitKey, remaining: float, until: float | None, now: float) -> State:
    """Return the state after the provider said how much remains, and until when what was used counts.

    Its word only ever takes room away: an answer may be older than what was reserved since. Calls that are out are
    taken to be among those that it counted. No word reaches further than one window.
    """
    tally = _tally(state, meter)
    return {**state, meter.key: tally.count()} if tally.observe(meter.amount, remaining, until, now) else state


def view(state: State, meter: LimitKey, now: float) -> Used:
    """Return what stands under the meter."""
    return _tally(state, meter).view(meter, now)


def _tally(state: State, meter: LimitKey) -> WindowCounter:
    return WindowCounter(meter.window, state.get(meter.key, NOTHING))


def _last_to_have_room(asked: Iterable[tuple[WindowCounter, LimitKey, float]], now: float) -> NoRoom | None:
    last = None
    for tally, meter, amount in asked:
        if tally.lacks(meter.amount, amount, now):
            until = tally.room_at(meter.amount, amount, now)
            if last is None or until > last.until:
                last = NoRoom(meter, until)
    return last
