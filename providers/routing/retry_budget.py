"""How many attempts beyond each turn's first may be made: an outage must not multiply traffic. Pure.

A further attempt at a candidate whose replies vouch for it is free (`Trust`): no failover to a provider that answers
waits for anything. Of one about which nothing is known a few go ahead, and the others wait for what becomes of them.
Beyond that a further attempt is taken from the process's `RetryBudget`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from providers.errors import ProviderError, RateLimited, Recovery
from providers.routing.health import FAULTS_TO_OPEN

if TYPE_CHECKING:
    from random import Random

WINDOW_S = 10
FLOOR = 10
"""In a window, whatever its turns: a process with few of them may fail over all the same."""
VOUCHED = 4
"""Further attempts that may be out for each recent reply: who answers few calls may soon be sent many."""
TRUST_LASTS_S = 15.0
"""After so long without a reply nothing is known of a candidate: it may have broken down meanwhile."""
BACKOFF_BASE_S = 0.5
BACKOFF_GROWS = 3.0
BACKOFF_CAP_S = 8.0


class RetryBudget:
    """What is taken in `WINDOW_S` seconds is at most `share` of the turns of that time, and `FLOOR`.

    An attempt that was answered is given back: it added no load to a provider in trouble.
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

    def take(self, now: float, floor: int = FLOOR) -> bool:
        """Take leave for one more attempt; False: there is none left now."""
        self._move(int(now))
        if self._taken >= floor + self.share * self._turns:
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


class Trust:
    """How many further attempts at one candidate may be out, by what its replies say of it.

    One about which nothing is known gets as many as open its breaker, less the faults that it has shown: so with
    everything down each candidate costs a few calls, and there is always an attempt out that others may wait for. Each
    reply lets `VOUCHED` more go; a fault takes half of that trust, a rate limit all of it.
    """

    __slots__ = ("_at", "_replies", "out")

    def __init__(self) -> None:
        self.out = 0
        """Further attempts in flight."""
        self._replies, self._at = 0, 0.0

    def admits(self, now: float, faults: int) -> bool:
        """Whether one more may go out, after `faults` in a row."""
        return self.out < max(1, FAULTS_TO_OPEN - faults) + VOUCHED * self.recent(now)

    def recent(self, now: float) -> int:
        """Return how many replies vouch for it."""
        return self._replies if now <= self._at + TRUST_LASTS_S else 0

    def replied(self, now: float) -> None:
        """Note an answer, or a refusal that is the caller's own fault: the candidate is there."""
        self._replies, self._at = self.recent(now) + 1, now

    def failed(self, *, limited: bool) -> None:
        """Note a fault, or that a limit is reached."""
        self._replies = 0 if limited else self._replies // 2


def back_at(error: ProviderError, failures: int, now: float, rng: Random, *, sound: bool = False) -> float:
    """Return from when a turn may ask a candidate again that has failed it so many times; `inf`: never.

    The wait grows with each failure, half of it is drawn, and `retry_at` is its floor. A provider whose answer was
    `sound`, and only did not suit its caller, is well: another draw need not wait.
    """
    if error.recovery is not Recovery.AGAIN:
        return inf
    if sound:
        return now
    wait = rng.uniform(0.5, 1.0) * min(BACKOFF_CAP_S, BACKOFF_BASE_S * BACKOFF_GROWS ** min(failures - 1, 16))
    return max(now + wait, error.retry_at or 0.0)


def costs(error: ProviderError) -> bool:
    """Whether a failure counts against `attempts_per_turn`: not where a provider only asks to wait.

    However often it does, the wait grows, and the turn's deadline ends it.
    """
    return not (isinstance(error, RateLimited) and error.recovery is Recovery.AGAIN)
