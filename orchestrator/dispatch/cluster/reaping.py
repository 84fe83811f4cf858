"""When jobs of workers that seem dead may be given to others. Pure.

After an outage of the database all heartbeats look old, those of living workers too: the first worker that is
back would rob them. So an observer that has not seen the database without a gap waits until all others had time to
show up.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class GapRule:
    """Looks of one process at the database, each by the database's clock (seconds)."""

    timeout_s: float
    tick_s: float
    _last: float | None = field(default=None, init=False)
    _not_before: float = field(default=0.0, init=False)

    def may_reap(self, now: float) -> bool:
        """Note a look, and return whether what looks dead at `now` is dead."""
        if wait_s := self._wait_s(now):
            self._not_before = now + wait_s
        self._last = now
        return now >= self._not_before

    def _wait_s(self, now: float) -> float:
        if self._last is None or now < self._last:  # just begun, or the database is another one by now
            return self.timeout_s
        gap = now - self._last
        if gap <= max(2 * self.tick_s, self.timeout_s / 4):
            return 0.0
        # A gap above the timeout says no more than one of its length: others need a second or two to come back.
        return self.timeout_s + min(gap, self.timeout_s)
