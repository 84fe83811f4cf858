"""What was used under one key, kept so that a call costs the same few steps whatever was counted before it.

A `Count` is a value: what is written down and sent about. A `WindowCounter` is the same ready for use; it changes by
its own methods alone, and those that only look leave it as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf
from typing import NamedTuple

from providers.budgets import BudgetRef
from providers.windows import Calendar, Paced, Window, index, reach, span, start, width

ROUNDING = 1e-9
"""By more of a limit than this no sum is off that was kept up to date."""
NEAR = 8
"""After so many buckets at most, those that left the window are subtracted; after more, all is added up again."""


@dataclass(frozen=True, slots=True)
class LimitKey:
    """`amount` in `window`, counted under `key`: meters with one key share one count. `label` is for people.

    `budget`: our own budget that it counts for, in micro-USD; None: a provider's limit.
    """

    key: str
    amount: float
    window: Window
    label: str = ""
    budget: BudgetRef | None = None


class Lease(NamedTuple):
    """What one call holds. It counts in full once it expires: a process that died may have been answered."""

    id: str
    amount: float
    expires: float


@dataclass(frozen=True, slots=True)
class Count:
    """What was used under one key. `spent` holds (bucket, amount) in order of time; the last one that something was
    reserved in is among them, also where nothing was used."""

    spent: tuple[tuple[int, float], ...] = ()
    leases: tuple[Lease, ...] = ()
    outside: tuple[float, float] = (0.0, 0.0)
    """(amount, until): what the provider counted beyond our own, by its own word."""
    due: float = 0.0
    """Paced: when the next call would come in an even flow."""


NOTHING = Count()


@dataclass(frozen=True, slots=True)
class Used:
    """What is counted under a meter: `used` of its amount, all of it free at `resets_at`.

    `held` of that is what calls hold that are out.
    """

    meter: LimitKey
    used: float
    resets_at: float
    held: float = 0.0

    @property
    def left(self) -> float:
        """The share that is left, 0 to 1."""
        return max(0.0, 1.0 - self.used / self.meter.amount) if self.meter.amount else float(self.used == 0)


class WindowCounter:
    """A count of one kind of window. Amounts and limits are in the meter's own unit, instants epoch seconds."""

    __slots__ = (
        "_at",
        "_due",
        "_from",
        "_last",
        "_leases",
        "_outside",
        "_paced",
        "_reach",
        "_soonest",
        "_spent",
        "_swept",
        "_to",
        "_used",
        "_width",
        "window",
    )

    def __init__(self, window: Window, count: Count = NOTHING) -> None:
        self.window = window
        self._paced = isinstance(window, Paced)
        self._width = 0.0 if isinstance(window, Calendar) else width(window)
        self._reach = reach(window)
        self._spent = dict(count.spent)
        self._last = count.spent[-1][0] if count.spent else -1
        self._leases = {lease.id: lease for lease in count.leases}
        self._outside = count.outside
        self._due = count.due
        self._at = self._swept = -1
        self._used = 0.0
        """What counts in the bucket `_at`, which begins at `_from` and ends before `_to` where a calendar has it."""
        self._from, self._to = inf, -inf
        self._soonest = self._news()

    def count(self) -> Count:
        """Return it as a value."""
        return Count(tuple(self._spent.items()), tuple(self._leases.values()), self._outside, self._due)

    def lacks(self, limit: float, amount: float, now: float) -> bool:
        """Whether `amount` has no room now."""
        if self._paced:
            return amount > limit or now < self._paced_at(limit, now)
        if now >= self._soonest:
            return self._tidied(now).lacks(limit, amount, now)
        self._look(now)
        if self._used + amount <= limit:
            return False
        if self._used + amount <= limit + ROUNDING * limit:
            self._reckon()  # a sum that was kept up to date may be off by a rounding
        return self._used + amount > limit

    def room_at(self, limit: float, amount: float, now: float) -> float:
        """Return the first instant from `now` on with room for `amount` if what is out came to nothing; inf: never."""
        if amount > limit:
            return inf
        if self._paced:
            return max(now, self._paced_at(limit, now))
        if now >= self._soonest:
            return self._tidied(now).room_at(limit, amount, now)
        self._look(now)
        total = amount
        if self._outside[0]:
            for end, spent in reversed(self._ends()):
                total += spent
                if total > limit:
                    return end
            return now
        oldest = self._at - self._reach
        for number in reversed(self._spent):
            if number < oldest:
                break
            total += self._spent[number]
            if total > limit:
                return start(self.window, number + self._reach + 1)
        return now

    def hold(self, lease: str, amount: float, limit: float, now: float, expires: float) -> None:
        """Count `amount` for a call that goes out, now that `lacks` was asked about it at the same instant.

        Paced: it is spent, for another call may have been paced after it.
        """
        if self._paced:
            self._pace(amount, limit, now)
            return
        if self._at != self._swept or now >= self._soonest:
            self._tidy(now)
        if self._at > self._last:  # for `settle`: the call comes to the provider now at the earliest
            self._last = self._at
            self._spent[self._at] = 0.0
        self._leases[lease] = Lease(lease, amount, expires)
        self._used += amount
        if expires < self._soonest:
            self._soonest = expires

    def holds(self, lease: str, now: float) -> bool:
        """Whether the call is out."""
        held = self._leases.get(lease)
        return held is not None and held.expires > now

    def settle(self, lease: str, amount: float, now: float) -> bool:
        """Count `amount` in place of what the call held. False: there is no such lease, and nothing was done."""
        held = self._leases.get(lease)
        if held is None or held.expires <= now:  # a lease that has expired counts in full
            return False
        self._tidy(now)
        del self._leases[lease]
        self._used -= held.amount
        # Counted now, not at the reservation: the call may have reached the provider at any instant in between, and the
        # provider's window must not end later than ours. Where the clock has stepped back since, not before it.
        self._add(max(self._at, self._last), amount)
        return True

    def spend(self, amount: float, limit: float, now: float) -> None:
        """Count `amount`, whether there is room or not."""
        if self._paced:
            self._pace(amount, limit, now)
        else:
            self._tidy(now)
            self._add(self._at, amount)

    def observe(self, limit: float, remaining: float, until: float | None, now: float) -> bool:
        """Take room away as the provider's own word has it. False: it says nothing new, and nothing was done."""
        if self._paced:
            return False
        tidy = self._tidied(now)
        tidy._reckon(outside=False)
        end = start(self.window, tidy._at + self._reach + 1) if until is None else until
        said = (limit - tidy._used - remaining, min(max(end, now), now + span(self.window)))
        # A word that leaves more room than the last one may be the older of the two: replies overtake each other.
        if said[0] <= 0 or said <= tidy._outside:
            return False
        self._tidy(now)
        self._outside = said
        self._soonest = self._news()
        self._reckon()
        return True

    def view(self, meter: LimitKey, now: float) -> Used:
        """Return what is counted under the meter."""
        if self._paced:
            ahead = max(0.0, self._stepped(now) - now)
            return Used(meter, min(1.0, ahead / span(self.window)) * meter.amount, now + ahead)
        tidy = self._tidied(now)
        tidy._reckon()
        ends = [end for end, _ in tidy._ends()] + [lease.expires for lease in tidy._leases.values()]
        held = 0.0
        for lease in tidy._leases.values():
            held += lease.amount
        return Used(meter, tidy._used, max(ends, default=now), held)

    def _tidied(self, now: float) -> WindowCounter:
        tidy = WindowCounter(self.window, self.count())
        tidy._tidy(now)
        return tidy

    def _tidy(self, now: float) -> None:
        """Drop what can't matter any more; leases that have expired count in full."""
        if now >= self._soonest:
            for lease in [lease for lease in self._leases.values() if lease.expires <= now]:
                del self._leases[lease.id]
                self._add(index(self.window, lease.expires), lease.amount)
            if self._outside[0] and self._outside[1] <= now:
                self._outside = NOTHING.outside
            self._soonest = self._news()
            self._look(now)
            self._reckon()
        else:
            self._look(now)
        if self._at != self._swept:
            # The window before is kept as well: the clock may step back by one without a call being forgotten.
            oldest = self._at - 2 * self._reach - 1
            if self._spent and next(iter(self._spent)) < oldest:
                self._spent = {at: amount for at, amount in self._spent.items() if at >= oldest}
            self._swept = self._at

    def _look(self, now: float) -> None:
        """Know what counts `now`."""
        if self._width:
            number = floor(now / self._width)
            if number == self._at:
                return
        elif self._from <= now < self._to:
            return
        else:
            number = index(self.window, now)
            self._from, self._to = start(self.window, number), start(self.window, number + 1)
        step, self._at = number - self._at, number
        if 0 < step <= NEAR:
            for left in range(number - step - self._reach, number - self._reach):
                self._used -= self._spent.get(left, 0.0)
        else:
            self._reckon()

    def _reckon(self, *, outside: bool = True) -> None:
        # In this order and not by `sum`, which compensates for rounding since Python 3.12: every ledger must come to
        # the same figure.
        total, oldest = self._outside[0] if outside else 0.0, self._at - self._reach
        for number, amount in self._spent.items():
            if number >= oldest:
                total += amount
        for lease in self._leases.values():
            total += lease.amount
        self._used = total

    def _add(self, number: int, amount: float) -> None:
        if not amount:
            return
        if number not in self._spent and number < self._last:  # the clock has stepped back: numbers stay in order
            self._spent = dict(sorted({**self._spent, number: 0.0}.items()))
        self._spent[number] = self._spent.get(number, 0.0) + amount
        self._last = max(self._last, number)
        if number >= self._at - self._reach:
            self._used += amount

    def _news(self) -> float:
        """Return before when no lease expires, and what was used outside counts."""
        ends = [lease.expires for lease in self._leases.values()]
        return min([*ends, self._outside[1]] if self._outside[0] else ends, default=inf)

    def _ends(self) -> Sequence[tuple[float, float]]:
        """Return (instant, amount) of everything but leases that will stop counting, in order of time."""
        oldest, window, more = self._at - self._reach, self.window, self._reach + 1
        ends = [
            (start(window, number + more), amount)
            for number, amount in self._spent.items()
            if amount and number >= oldest
        ]
        return sorted([*ends, (self._outside[1], self._outside[0])] if self._outside[0] else ends)

    def _stepped(self, now: float) -> float:
        """Return when the next paced call is due. What lies further ahead than a burst: the clock has stepped back."""
        assert isinstance(self.window, Paced)
        return min(self._due, now + self.window.seconds * self.window.burst)

    def _paced_at(self, limit: float, now: float) -> float:
        assert isinstance(self.window, Paced)
        return self._stepped(now) - (self.window.burst - 1) * (self.window.seconds / limit)

    def _pace(self, amount: float, limit: float, now: float) -> None:
        self._due = max(self._stepped(now), now) + amount * (span(self.window) / limit)
