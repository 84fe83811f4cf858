"""How many attempts beyond each turn's first a process may make: an outage must not multiply traffic. Pure."""

from __future__ import annotations

WINDOW_S = 10
FLOOR = 10
"""In a window, whatever its turns: a process with few of them may fail over all the same."""


class RetryBudget:
    """Retries, hops and hedges of the last `WINDOW_S` seconds are at most `share` of its turns, and `FLOOR`.

    An extra attempt that was answered is given back: it added no load to a provider in trouble. So with one provider
    down and another well no turn waits for long, and with all of them down calls stay within 1 + `share` for each turn.
    """

    __slots__ = ("_second", "_taken", "_taken_by", "_turns", "_turns_by", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self._second = 0
        self._turns_by, self._taken_by = [0] * WINDOW_S, [0] * WINDOW_S
        self._turns = self._taken = 0

    def turn(self, now: float) -> None:
        """Note that a turn begins."""
        self._move(int(now))
        self._turns_by[self._second % WINDOW_S] += 1
        self._turns += 1

    def take(self, now: float) -> bool:
        """Take leave for one more attempt; False: there is none left now."""
        self._move(int(now))
        if self._taken >= FLOOR + self.share * self._turns:
            return False
        self._taken_by[self._second % WINDOW_S] += 1
        self._taken += 1
        return True

    def give_back(self, taken_at: float) -> None:
        """Return what was taken at that instant. After a window it has come back by itself."""
        slot = int(taken_at) % WINDOW_S
        if self._second - WINDOW_S < int(taken_at) <= self._second and self._taken_by[slot]:
            self._taken_by[slot] -= 1
            self._taken -= 1

    def _move(self, second: int) -> None:
        """Forget the seconds that have left the window; all of them where the clock was set."""
        passed, self._second = second - self._second, second
        if passed:
            every = passed >= WINDOW_S or passed < 0
            for slot in range(WINDOW_S) if every else [at % WINDOW_S for at in range(second - passed + 1, second + 1)]:
                self._turns -= self._turns_by[slot]
                self._taken -= self._taken_by[slot]
                self._turns_by[slot] = self._taken_by[slot] = 0
