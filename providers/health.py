"""Whether a candidate may be asked: a breaker, and how long an error keeps its candidate or account away. Pure.

`now` and every instant are epoch seconds UTC; whoever holds a breaker passes the time in, so that the same code runs
live and on a simulator's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from providers.errors import HEALTH_FAULTS, AuthFailed, ProviderError, QuotaSpent, RateLimited, TimedOut
from providers.policy import Timeouts

FAULTS_TO_OPEN = 3
FIRST_REST_S = 30.0
LONGEST_REST_S = 600.0
RATE_LIMIT_HOLD_S = 5.0
"""How long a rate limited candidate is left alone when the provider does not say."""
QUOTA_HOLD_S = 3600.0
"""The same for a spent allowance: one wasted call an hour is cheap, a guess at the vendor's midnight is wrong."""

State = Literal["closed", "open", "half-open"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """One candidate's breaker, as a value: every event returns the next one.

    Closed until `FAULTS_TO_OPEN` faults in a row; then open for a rest that doubles with each trip; then half-open,
    where one probe at a time may go out. A success closes it and forgets the trips.
    """

    faults: int = 0
    trips: int = 0
    open_until: float | None = None
    probing: bool = False

    def state(self, now: float) -> State:
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half-open"

    def admits(self, now: float) -> bool:
        """Whether one more attempt may go out."""
        return self.open_until is None or (now >= self.open_until and not self.probing)

    def started(self) -> Breaker:
        """Return the breaker after an attempt that it admitted went out: the probe, unless it is closed."""
        return self if self.open_until is None else replace(self, probing=True)

    def abandoned(self) -> Breaker:
        """Return the breaker after its probe ended without saying anything about health."""
        return replace(self, probing=False) if self.probing else self

    def succeeded(self) -> Breaker:
        return self if self is CLOSED else CLOSED

    def failed(self, now: float, not_before: float = 0.0) -> Breaker:
        """Return the breaker after a fault; where it opens, it rests until `not_before` at least."""
        if self.state(now) == "open":
            return self  # attempts that went out before it opened: they are the same outage, not a new trip
        faults = self.faults + 1
        if self.open_until is None and faults < FAULTS_TO_OPEN:
            return replace(self, faults=faults)
        rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(self.trips, 16))
        return Breaker(faults, self.trips + 1, max(now + rest, not_before))


CLOSED = Breaker()


def hold_until(error: ProviderError, now: float) -> float | None:
    """Return until when `error` keeps its candidate away, None where it does not. The provider's word goes first."""
    if error.fault not in HEALTH_FAULTS:
        return None
    if error.retry_at is not None:
        return error.retry_at
    if isinstance(error, QuotaSpent):
        return now + QUOTA_HOLD_S
    return now + RATE_LIMIT_HOLD_S if isinstance(error, RateLimited) else None


def trips_breaker(error: ProviderError, elapsed: float, patience: Timeouts) -> bool:
    """Whether `error`, after `elapsed` seconds of the attempt, counts against the candidate's breaker.

    Limits hold a candidate and refused keys shut its account, so neither is a fault of the endpoint as well. A
    time-out that came sooner than the policy's own patience is the caller's haste.
    """
    if error.fault not in HEALTH_FAULTS or isinstance(error, RateLimited | AuthFailed):
        return False
    if isinstance(error, TimedOut):
        enough = patience.first_token if error.phase == "total" else getattr(patience, error.phase)
        return elapsed >= 0.9 * float(enough)
    return True
