"""What a provider still allows: limits, and what was used of them. Pure: `now` is passed in.

A call is counted from the moment it is reserved until its window has passed since it was *settled*: whenever it came to
the provider in between, the provider's own window ends no later than ours. So a count may be high, by a call's duration
and, in a rolling window, by one bucket (1/60 of the window); it is never low, and nothing is admitted past a limit.

A window's past is kept for as long again, and what was counted at an instant later than now counts too: a
clock may step back by a window without a call being forgotten. All instants are epoch seconds UTC.

The count of a rolling window is kept in 60 buckets: a log of calls would grow with traffic, and the buckets err to the
safe side alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from providers.limits.counter import NOTHING, Count, LimitKey, Used, WindowCounter

Amounts = Sequence[tuple[LimitKey, float]]
"""What one call asks of each of its meters."""
_NONE: Mapping[str, Count] = {}


@dataclass(frozen=True, slots=True)
class NoRoom:
    """`meter` leaves no room before `until` (inf: never), whatever becomes of the calls that are out.

    `until` is exact where none is out. It is `now` if only calls in flight fill the limit: any of them may make room.
    """

    meter: LimitKey
    until: float


class CounterStore:
    """Counters by meter, changed in place. `counts` is what they begin with.

    A process that keeps the only copy has one for its life. A ledger that stores counts makes one for each call, of
    what it read, and writes back what `changed`.
    """

    def __init__(self, counts: Mapping[str, Count] = _NONE) -> None:
        self._counts = counts
        self._counters: dict[str, WindowCounter] = {}

    def check(self, amounts: Amounts, now: float) -> NoRoom | None:
        """Return the last of the meters to have room, or None: all have it now."""
        return _last_to_have_room([(self._counter(meter), meter, amount) for meter, amount in amounts], now)

    def reserve(self, amounts: Amounts, lease: str, now: float, expires: float) -> NoRoom | None:
        """Hold all of `amounts` until `expires`, or hold none and return which meter has no room.

        A lease that holds already is granted again and holds once: who asks again has not heard the answer.
        """
        asked = [(self._counter(meter), meter, amount) for meter, amount in amounts]
        if any(counter.holds(lease, now) for counter, _, _ in asked):
            return None
        if refused := _last_to_have_room(asked, now):
            return refused
        for counter, meter, amount in asked:
            counter.hold(lease, amount, meter.amount, now, expires)
        return None

    def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        """Count what the call really used in place of what it held. A lease that is gone changes nothing."""
        for meter, amount in amounts:
            self._counter(meter).settle(lease, amount, now)

    def spend(self, amounts: Amounts, now: float) -> None:
        """Count `amounts`, whether there is room for them or not."""
        for meter, amount in amounts:
            self._counter(meter).spend(amount, meter.amount, now)

    def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        """Take in how much remains by the provider's own word, and until when what was used counts.

        Its word only ever takes room away: an answer may be older than what was reserved since. Calls that are out are
        taken to be among those that it counted. No word reaches further than one window.
        """
        self._counter(meter).observe(meter.amount, remaining, until, now)

    def view(self, meter: LimitKey, now: float) -> Used:
        """Return what is counted under the meter."""
        return self._counter(meter).view(meter, now)

    def forget(self, meters: Iterable[LimitKey]) -> None:
        """Forget what was counted under these meters."""
        self._counters |= {meter.key: WindowCounter(meter.window) for meter in meters}

    def changed(self) -> dict[str, Count]:
        """Return the counts that are others than those that it began with."""
        now = ((key, counter.count()) for key, counter in self._counters.items())
        return {key: count for key, count in now if count != self._counts.get(key, NOTHING)}

    def _counter(self, meter: LimitKey) -> WindowCounter:
        counter = self._counters.get(meter.key)
        if counter is not None and (counter.window is meter.window or counter.window == meter.window):
            return counter
        count = self._counts.get(meter.key, NOTHING) if counter is None else counter.count()
        counter = self._counters[meter.key] = WindowCounter(meter.window, count)
        return counter


def _last_to_have_room(asked: Iterable[tuple[WindowCounter, LimitKey, float]], now: float) -> NoRoom | None:
    last = None
    for counter, meter, amount in asked:
        if counter.lacks(meter.amount, amount, now):
            until = counter.room_at(meter.amount, amount, now)
            # The last one, not the first: a call goes out only with room in all of its meters at once.
            if last is None or until > last.until:
                last = NoRoom(meter, until)
    return last
