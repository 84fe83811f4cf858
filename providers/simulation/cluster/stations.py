"""A server with a queue, on a virtual clock. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from heapq import heapify, heapreplace

from providers.simulation.records import step_of
from providers.simulation.report import Durations
from providers.simulation.summary import durations_of


@dataclass(slots=True)
class MeasuredSpan:
    """The stretch of the clock that is measured, epoch seconds; what happens before and after it counts for nothing."""

    begins: float
    ends: float

    @property
    def seconds(self) -> float:
        return self.ends - self.begins

    def within(self, begins: float, ends: float) -> float:
        """Return how many seconds of a time lie in it."""
        return max(0.0, min(ends, self.ends) - max(begins, self.begins))


@dataclass(slots=True)
class WaitTimes:
    """How long things waited, those that came within the span."""

    span: MeasuredSpan
    counted: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0

    def count(self, seconds: float, at: float) -> None:
        if self.span.begins <= at <= self.span.ends:
            self.counted[step_of(seconds if seconds > 1e-9 else 0.0)] += 1
            self.longest = max(self.longest, seconds)

    def durations(self) -> Durations:
        return durations_of(self.counted, self.longest)


class Station:
    """So many servers, one queue, first come first served. What comes has to come in order of time.

    `taken` is the share of its time that goes elsewhere: what is asked takes that much longer. Several may count their
    `waits` together.
    """

    __slots__ = ("_free", "_pace", "_span", "busy", "taken", "waits")

    def __init__(self, servers: int, span: MeasuredSpan, taken: float = 0.0, waits: WaitTimes | None = None) -> None:
        self._free, self._span = [0.0] * servers, span
        self.taken = min(taken, 0.99)
        self._pace = 1.0 / (1.0 - self.taken)
        self.busy = 0.0
        self.waits = WaitTimes(span) if waits is None else waits

    def take(self, now: float, seconds: float) -> float:
        """Return when that is done which comes `now` and takes so many seconds of a server."""
        begins = max(now, self._free[0])
        ends = begins + seconds * self._pace
        heapreplace(self._free, ends)
        self.busy += self._span.within(begins, ends)
        self.waits.count(begins - now, now)
        return ends

    def burden(self, now: float, seconds: float) -> float:
        """Give all servers together so many seconds of work. Return when the last of them begins with it."""
        each = seconds * self._pace / len(self._free)
        begun = [max(now, free) for free in self._free]
        self.busy += sum(self._span.within(begins, begins + each) for begins in begun)
        self._free = [begins + each for begins in begun]
        heapify(self._free)
        return max(begun)

    @property
    def used(self) -> float:
        """The share of all its time that was used within the span."""
        own = self.busy / (self._span.seconds * len(self._free)) if self._span.seconds else 0.0
        return self.taken + own * (1.0 - self.taken)


class SlotUse:
    """How many of a number of slots are taken, over time."""

    __slots__ = ("_now", "_since", "_span", "slots", "total")

    def __init__(self, slots: int, span: MeasuredSpan) -> None:
        self.slots, self._span = slots, span
        self._now, self._since, self.total = 0, 0.0, 0.0

    def change(self, by: int, now: float) -> None:
        self.total += self._now * self._span.within(self._since, now)
        self._now, self._since = self._now + by, now

    @property
    def used(self) -> float:
        whole = self._span.seconds * self.slots
        tail = self._now * self._span.within(self._since, self._span.ends)
        return (self.total + tail) / whole if whole else 0.0
