"""A limit as a modelled provider enforces it. Pure."""

from __future__ import annotations

from collections import deque
from math import ceil, inf

from providers.catalog.model import Limit
from providers.limits.counter import LimitKey
from providers.windows import Paced, Rolling, index, span, start

SLACK = 1e-6
"""Instants are sums of floats: so much, in seconds or in a share of an amount, is no violation."""


class TrueLimit:
    """A limit as the provider itself enforces it: exact, without buckets, by the instants at which calls come to it."""

    __slots__ = (
        "_due",
        "_from",
        "_last",
        "_seen",
        "_to",
        "_window",
        "meter",
        "peak",
        "scope",
        "total",
        "used",
        "violations",
    )

    def __init__(self, limit: Limit, meter: LimitKey) -> None:
        self.meter, self.scope, self._window = meter, limit.model or "+".join(limit.pool) or "*", meter.window
        self._seen: deque[tuple[float, float]] = deque()
        self._from, self._to, self._due, self._last = inf, -inf, -inf, -inf
        self.used = self.peak = self.total = 0.0
        self.violations = 0

    def again_at(self, amount: float, now: float) -> float | None:
        """Return when a call past the limit may come again; None: it is within it."""
        window, limit = self._window, self.meter.amount
        if isinstance(window, Paced):
            at = self._due - (window.burst - 1) * (window.seconds / limit)
            return at if now < at - SLACK else None
        if isinstance(window, Rolling):
            seen, oldest = self._seen, now - window.seconds
            while seen and seen[0][0] <= oldest:
                self.used -= seen.popleft()[1]
            end = (seen[0][0] if seen else now) + window.seconds
        else:
            if not self._from <= now < self._to:
                number = index(window, now)
                self._from, self._to, self.used = start(window, number), start(window, number + 1), 0.0
            end = self._to
        return end if self.used + amount > limit * (1 + SLACK) else None

    def count(self, amount: float, now: float) -> None:
        """Count a call that has come within the limit."""
        self.total += amount
        self._last = now
        window = self._window
        if isinstance(window, Paced):
            self._due = max(self._due, now) + amount * window.seconds / self.meter.amount
            self.used = 1.0
        else:
            self.used += amount
            if isinstance(window, Rolling):
                self._seen.append((now, amount))
        if self.used > self.peak:
            self.peak = self.used

    def allowed(self, begins: float, ends: float) -> float:
        """Return the most that could have come between two instants, or up to the last call where that came later."""
        window, limit, ends = self._window, self.meter.amount, max(ends, self._last + SLACK)
        if isinstance(window, Paced):
            return limit * ((ends - begins) / window.seconds + window.burst)
        if isinstance(window, Rolling):
            return limit * ceil((ends - begins) / window.seconds)
        return limit * (index(window, ends - SLACK) - index(window, begins) + 1)

    @property
    def seconds(self) -> float:
        return span(self._window)
