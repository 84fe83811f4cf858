"""Whether a candidate may be asked: a breaker, and how long an error keeps its candidate or account away. Pure.

`now` and every instant are epoch seconds UTC; the owner of a breaker passes the time in, so that the same code runs
live and on a simulator's clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, exp, inf, log
from typing import Literal

from providers.errors import (
    HEALTH_FAULTS,
    AuthFailed,
    Blocked,
    ProviderError,
    QuotaSpent,
    RateLimited,
    TimedOut,
    Unsupported,
    WrongAddress,
)
from providers.policy.model import Timeouts
from providers.routing.scores import SHORTEST_S, health_value, pace_value

FAULTS_TO_OPEN = 3
CHANCE = 1e-6
"""A row of faults this unlikely, at the rate of faults that was there before it, is an outage."""
FIRST_REST_S = 30.0
LONGEST_REST_S = 600.0
FIRST_PROBE_S = 1.0
"""How long after its breaker opened a candidate is probed where nobody else can answer."""
PROBE_EVERY_S = 1.2
"""How long after each such probe that failed: an answer comes within two seconds of a recovery, however late it is."""
IN_DOUBT_S = 2.0
"""How long a breaker may be open without a failed probe before that counts as an outage."""
FIRST_ROOM = 2
"""Calls that may be out at once after a probe was answered; every further answer doubles them."""
FULL_ROOM = 64
"""From so many on, nothing is held back any more."""
RATE_LIMIT_HOLD_S = 5.0
"""How long a rate limited candidate is left alone when the provider does not say; twice as long each further time."""
LONGEST_LIMIT_HOLD_S = 60.0
QUOTA_HOLD_S = 3600.0
"""The same for a spent allowance: one wasted call an hour is cheap, a guess at the vendor's midnight is wrong."""
GONE_HOLD_S = 3600.0
"""The same for a model that is retired, unknown, or not for this key, and for an address that leads to no API."""
SIZE_HOLD_S = 600.0
"""How long requests of a size that was too large, and larger ones, go elsewhere."""
EDGE_REST_S = 120.0
"""How long an account rests that something in front of its API refused, before it is probed; it doubles each time."""

ERRORS_FADE_S = 15.0
"""Answers and faults count half as much after so long, so a recovered candidate comes back step by step."""
FADE_STEP_S = 0.1
"""What passes in less time than this fades together: the arithmetic is not worth it for each call."""
TRUST = 10.0
"""Answers that every candidate is credited with: one fault of a new one is no error rate of 100 %."""
PACE_FADES_S = 10.0
PACE_LASTS_S = 120.0
"""After so long without a measure nothing is known: a candidate that was slow is tried again."""
NOMINAL_TOKENS = 256
"""Longer answers count as if they had ended here: a long answer is no slow one."""
FIRST_AS_TOKENS = 64
"""What the time to the first token is worth in tokens, where only the whole was measured."""
LATE_S = 2.0
"""What a silence of the policy's own patience counts as in the score: who hedges sooner has less patience."""
OUTPACED_TO_REST = 3
"""Hedges that answered first, in a row: from so many on the candidate is asked after others for a while."""
LONGEST_MEASURE_S = 600.0
"""What is measured anew and was known already lasts twice as long, up to this."""
MEAN_SHARE = 0.1
SET_BACK_S = 60.0
"""A clock that goes back by less is being adjusted."""
NEGLIGIBLE = 0.02
"""An error rate that is none. A single fault costs the first place for half a minute."""

FAIR_S = 1.5
"""Who has been silent for so long, and never answered before, had its time, however little its caller had."""
LEAST_FAIR_S, FAIR_TIMES = 1.0, 3.0
"""The same for who has answered: so many times its usual time, and no less than this."""

State = Literal["closed", "open", "half-open", "recovering"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """One candidate's breaker, as a value: every event returns the next one.

    Closed until `FAULTS_TO_OPEN` faults in a row, or more where so many are chance; then open for a rest that doubles
    with each trip; then half-open, where one probe at a time may go out. Its answer lets `room` calls be out at once,
    each further answer twice as many, until the breaker is closed and its trips are forgotten. A fault on the way opens
    it anew.

    The rest is for callers whom somebody else can answer. Where nobody can, early probes go out while it lasts.
    """

    faults: int = 0
    trips: int = 0
    open_until: float | None = None
    probing: bool = False
    room: int | None = None
    """None: any number."""
    since: float = 0.0
    """When it opened, or its latest probe ended."""
    lost: int = 0
    """Probes that failed since it opened."""
    not_before: float = 0.0
    """No early probe goes out before this instant: the provider's own word."""

    def state(self, now: float) -> State:
        if self.open_until is None:
            return "closed" if self.room is None else "recovering"
        return "open" if now < self.open_until and not set_back(now, self.since) else "half-open"

    def admits(self, now: float, in_flight: int = 0) -> bool:
        """Whether one more attempt may go out beside those `in_flight`."""
        if self.open_until is None:
            return self.room is None or in_flight < self.room
        return self.state(now) == "half-open" and not self.probing

    def early_probe(self) -> float:
        """Return when a probe may go out where nobody else can answer, whatever is left of the rest."""
        return max(self.since + (PROBE_EVERY_S if self.lost else FIRST_PROBE_S), self.not_before)

    def is_outage(self, now: float) -> bool:
        """Whether it is known that nothing is to be expected of it before long: a probe failed, or does not end."""
        if self.open_until is None:
            return False
        return self.lost > 0 or max(now, self.not_before) > self.since + IN_DOUBT_S

    def started(self) -> Breaker:
        """Return the breaker after an attempt that it admitted went out: the probe, where it is half-open."""
        return self if self.open_until is None else replace(self, probing=True)

    def abandoned(self) -> Breaker:
        """Return the breaker after its probe ended without saying anything about health."""
        return replace(self, probing=False) if self.probing else self

    def succeeded(self, now: float = 0.0) -> Breaker:
        if self.open_until is not None:
            return Breaker(trips=self.trips, room=FIRST_ROOM, since=now)
        if self.room is not None and self.room * 2 < FULL_ROOM:
            return replace(self, room=self.room * 2)
        return CLOSED

    def failed(self, now: float, not_before: float = 0.0, enough: int = FAULTS_TO_OPEN, began: float = inf) -> Breaker:
        """Return the breaker after a fault of an attempt that `began` then; `enough` in a row open it.

        Where it opens, it rests until `not_before` at least.
        """
        state, faults = self.state(now), self.faults + 1
        if state == "closed" and faults < enough:
            return replace(self, faults=faults)
        if state != "closed" and began < self.since:
            return self  # it went out before: that is the same outage, not a new trip, and says nothing of a recovery
        lost = self.lost + (self.open_until is not None)
        if state == "open":  # an early probe: it is one of the same rest
            again = replace(self, faults=faults, probing=False, since=now, lost=lost, not_before=not_before)
            return replace(again, open_until=max(self.open_until or 0.0, not_before, now + PROBE_EVERY_S))
        rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(self.trips, 16))
        until = max(now + rest, not_before)
        return Breaker(faults, self.trips + 1, until, since=now, lost=lost, not_before=not_before)


CLOSED = Breaker()


def set_back(now: float, began: float) -> bool:
    """Whether the clock was set back since `began`: what lasts until an instant would last for as long too much."""
    return now < began - SET_BACK_S


class HealthStats:
    """What was seen of one candidate: its errors, fading, and its pace, fast to rise and slow to fall."""

    __slots__ = (
        "_at",
        "_good",
        "_lasts",
        "_length",
        "_pace",
        "_rests_from",
        "_rests_until",
        "_trips",
        "_usual",
        "answered_at",
        "bad",
        "latency",
        "mean",
        "outpaced",
        "until",
    )

    def __init__(self) -> None:
        self._good = self._at = self._pace = self._length = 0.0
        self._lasts = PACE_LASTS_S
        self._rests_from = self._rests_until = 0.0
        self._trips = 0
        self._usual = [0.0, 0.0]  # of whole answers; of a stream's first content
        self.outpaced = 0
        """Hedges that answered before it did, in a row."""
        self.answered_at = -inf
        self.bad = 0.0
        """Recent faults; 0: nothing is wrong with its health."""
        self.latency = 1.0
        """The value of the factor, known until `until`."""
        self.until = -inf
        self.mean = 0.0
        """Seconds of an answer of nominal length, over all of them, the late ones counting more; 0 before the first."""

    def answered(self, now: float, pace: float, output: int = 0) -> None:
        """Note an answer of `output` tokens; `pace` are the seconds that one of nominal length would have taken."""
        self._fade(now)
        self._good += 1.0
        self._length += (output - self._length) * (MEAN_SHARE if self._length else 1.0)
        self.answered_at = now
        self._took(now, pace)

    def usually(self, seconds: float, *, streamed: bool) -> None:
        """Note after how long an answer came: whole, or a stream's first content."""
        known = self._usual[streamed]
        self._usual[streamed] += (seconds - known) * (MEAN_SHARE if known else 1.0)

    def usual(self, *, streamed: bool) -> float | None:
        """Return how many seconds that usually takes, time-outs left out. None: it never answered so."""
        return self._usual[streamed] or None

    def was_outpaced(self, now: float, waited: float, patience: float) -> None:
        """Note that it was silent for `waited` seconds, longer than the policy's `patience`, when another answered."""
        known = self.pace(now)
        least = waited if known is None else max(waited, known)
        self._took(now, least)
        self.latency = pace_value(least * max(1.0, LATE_S / max(patience, SHORTEST_S)))
        if self.rests(now):
            return  # asked before it rested: it is told nothing new
        self.outpaced += 1
        if self.outpaced >= OUTPACED_TO_REST:
            rest = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(self._trips, 16))
            self._trips, self._rests_from, self._rests_until = self._trips + 1, now, now + rest

    def was_in_time(self) -> None:
        """Note that it answered within the policy's patience, or before another one that was asked as well."""
        self.outpaced = self._trips = 0

    def rests(self, now: float) -> bool:
        """Whether it is asked after others, for it was outpaced."""
        return now < self._rests_until and not set_back(now, self._rests_from)

    def failed(self, now: float, waited: float | None = None) -> None:
        """Note a fault. `waited`: it was a time-out, and the answer would have taken longer than that."""
        self._fade(now)
        self.bad += 1.0
        if waited is not None:
            self._took(now, waited)

    def forgiven(self) -> None:
        """Forget the faults: they have opened the breaker, and are paid for by its rest."""
        self.bad = 0.0

    def error_rate(self, now: float) -> float:
        """Return the share of faults among the recent answers, 0 to 1."""
        if self.bad == 0.0:
            return 0.0
        faded: float = 0.5 ** (max(now - self._at, 0.0) / ERRORS_FADE_S)
        return self.bad * faded / ((self.bad + self._good) * faded + TRUST)

    def row_of_an_outage(self, row: int) -> int:
        """Return how many faults in a row are no chance, after `row` of them: more where it often fails."""
        # The row itself is left out: its faults would raise the rate by which they are judged.
        before = max(self.bad - row, 0.0)
        rate = before / (before + self._good + TRUST)
        return FAULTS_TO_OPEN if rate == 0.0 else max(FAULTS_TO_OPEN, ceil(log(CHANCE) / log(rate)))

    def health(self, now: float) -> float:
        """Return the value of the factor."""
        rate = self.error_rate(now)
        return round(health_value(rate), 3) if rate > NEGLIGIBLE else 1.0

    def pace(self, now: float, *, still: bool = False) -> float | None:
        """Return the seconds that an answer of nominal length takes, peaks first. None: nothing recent is known.

        `still`: what is older counts as well.
        """
        return self._pace if now <= self.until or (still and self.until > 0.0) else None

    def at_least(self, waited: float) -> float:
        """Return the pace of an answer as long as usual that has not come for `waited` seconds."""
        return pace_of(max(waited, 0.0), round(self._length))

    def _fade(self, now: float) -> None:
        if now > self._at + FADE_STEP_S:
            faded = 0.5 ** ((now - self._at) / ERRORS_FADE_S)
            self._good *= faded
            self.bad = self.bad * faded if self.bad > 0.001 else 0.0
            self._at = now

    def _took(self, now: float, seconds: float) -> None:
        self.mean += (seconds - self.mean) * (MEAN_SHARE if self.mean else 1.0)
        if now > self.until:
            confirmed = self.until > 0.0 and seconds <= 2.0 * self._pace <= 4.0 * seconds
            self._lasts = min(LONGEST_MEASURE_S, 2.0 * self._lasts) if confirmed else PACE_LASTS_S
        elif seconds < self._pace:
            age = max(now - self.until + self._lasts, 0.0)
            seconds += (self._pace - seconds) * exp(-age / PACE_FADES_S)
        self._pace, self.until = seconds, now + self._lasts
        self.latency = pace_value(seconds)


def pace_of(elapsed: float, tokens: int, first_token: float | None = None) -> float:
    """Return the seconds that an answer of `tokens` would have taken at nominal length; a shorter one as it is."""
    if tokens <= NOMINAL_TOKENS:
        return elapsed
    if first_token is not None:
        return first_token + (elapsed - first_token) * NOMINAL_TOKENS / tokens
    return elapsed * (FIRST_AS_TOKENS + NOMINAL_TOKENS) / (FIRST_AS_TOKENS + tokens)


def hold_until(error: ProviderError, now: float) -> float | None:
    """Return until when `error` keeps its candidate away, None where it does not. The provider's word goes first."""
    if isinstance(error, WrongAddress) or (isinstance(error, Unsupported) and error.gone):
        return error.retry_at or now + GONE_HOLD_S
    if error.fault not in HEALTH_FAULTS:
        return None
    return limited_until(error, now) if isinstance(error, RateLimited) else error.retry_at


def guessed_hold(met: int) -> float:
    """Return how many seconds a candidate is left alone after so many rate limits in a row that did not say when."""
    return min(LONGEST_LIMIT_HOLD_S, RATE_LIMIT_HOLD_S * 2.0 ** min(max(met - 1, 0), 16))


def limited_until(error: RateLimited, now: float) -> float:
    """Return until when a limit lasts: a guess where the provider does not say."""
    return error.retry_at or now + (QUOTA_HOLD_S if isinstance(error, QuotaSpent) else RATE_LIMIT_HOLD_S)


def trips_breaker(error: ProviderError, elapsed: float, patience: Timeouts, usual: float | None = None) -> bool:
    """Whether `error`, after `elapsed` seconds of the attempt, counts against the candidate's breaker.

    Limits hold a candidate and refused keys shut its account, so neither is a fault of the endpoint as well. A
    time-out of ours counts where the candidate had a fair time: the policy's own patience, or enough by what is
    `usual` with it (seconds; None: unknown). Sooner, and where a stream spoke up to the last, it is the caller's haste.
    """
    if error.fault not in HEALTH_FAULTS or isinstance(error, RateLimited | AuthFailed | Blocked | WrongAddress):
        return False
    if isinstance(error, TimedOut) and error.status is None:
        enough = float(patience.first_token if error.phase == "total" else getattr(patience, error.phase))
        fair = FAIR_S if usual is None else max(LEAST_FAIR_S, FAIR_TIMES * usual)
        waited = elapsed if error.silent_s is None else error.silent_s
        return waited >= 0.9 * min(enough, fair)
    return True
