"""What a process asked of its providers within the last hour, counted as it goes: bounded, and by whatever clock. Pure.

What is older than an hour is forgotten, in steps of half a minute. Percentiles are within a twentieth.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import exp, log
from typing import NamedTuple

from providers.errors import Fault

SLOT_S = 30.0
KEPT_S = 3600.0
MOST_KEYS = 512
"""Agents, tiers and ways of failing over that half a minute tells apart: callers make up names."""
OTHERS = "(others)"
STEPS = 20
"""Steps of a length of time by a factor of e: each is a twentieth more than the one before it."""
SHORTEST_S = 0.0001


@dataclass(frozen=True, slots=True)
class AttemptSeen:
    """One attempt that ended `at` (epoch seconds by the router's clock) after `seconds`.

    `tier` and `agent` are of its turn ("": none). `outcome` is "ok", "failed" or "cancelled", `error` the class's name
    and `detail` its message. `after` is the candidate whose failure in the same turn brought it here, and the class of
    that error. `first_token`: seconds to a stream's first content. Tokens are those of an answer, where they are known.
    """

    at: float
    candidate: str
    outcome: str
    seconds: float
    tier: str = ""
    agent: str = ""
    error: str | None = None
    detail: str | None = None
    fault: Fault | None = None
    after: tuple[str, str] | None = None
    first_token: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class Failover(NamedTuple):
    """`origin` failed with an error of the class `error`, and `target` was asked next in the turn."""

    origin: str
    target: str
    error: str


class Served(NamedTuple):
    """Whose turn was answered by whom."""

    tier: str
    agent: str
    candidate: str


@dataclass(frozen=True, slots=True)
class LastError:
    """The latest failure of a candidate: the class of the error, and its message."""

    at: float
    error: str
    detail: str


@dataclass(slots=True)
class Lengths:
    """Lengths of time, counted in steps."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        self.counts[round(log(max(seconds, SHORTEST_S)) * STEPS)] += 1

    def percentile(self, share: float) -> float | None:
        """Return the seconds that `share` of them do not exceed, None where there are none."""
        total, seen = self.counts.total(), 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= share * total:
                return exp(step / STEPS)
        return None


@dataclass(slots=True)
class EndpointTraffic:
    """What came of the attempts at one candidate. A cancelled one is neither answered nor failed.

    `excused` are failures that were the caller's fault; they say nothing of the provider.
    """

    answered: int = 0
    excused: int = 0
    cancelled: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    took: Lengths = field(default_factory=Lengths)
    first_token: Lengths = field(default_factory=Lengths)
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def failed(self) -> int:
        return self.errors.total()

    @property
    def calls(self) -> int:
        return self.answered + self.failed + self.cancelled

    @property
    def success(self) -> float | None:
        """The share of sound attempts that were answered, 0 to 1; None: there were none."""
        judged = self.answered + self.failed - self.excused
        return self.answered / judged if judged else None

    def saw(self, attempt: AttemptSeen) -> None:
        if attempt.outcome == "ok":
            self.answered += 1
            self.took.add(attempt.seconds)
            self.input_tokens += attempt.input_tokens
            self.output_tokens += attempt.output_tokens
        elif attempt.error is not None:
            self.errors[attempt.error] += 1
            self.excused += attempt.fault is Fault.CALLER
        else:
            self.cancelled += 1
        if attempt.first_token is not None:
            self.first_token.add(attempt.first_token)

    def add(self, other: EndpointTraffic) -> None:
        self.answered += other.answered
        self.excused += other.excused
        self.cancelled += other.cancelled
        self.errors.update(other.errors)
        self.took.counts.update(other.took.counts)
        self.first_token.counts.update(other.first_token.counts)
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens


@dataclass(slots=True)
class TrafficView:
    """What was seen in a stretch of time: by candidate, by whose turn who answered, by tier how long it took."""

    endpoints: dict[str, EndpointTraffic] = field(default_factory=dict)
    served: Counter[Served] = field(default_factory=Counter)
    failovers: Counter[Failover] = field(default_factory=Counter)
    tiers: dict[str, Lengths] = field(default_factory=dict)

    def of(self, names: Iterable[str]) -> EndpointTraffic:
        """Return what was seen of several candidates together."""
        whole = EndpointTraffic()
        for name in names:
            if (one := self.endpoints.get(name)) is not None:
                whole.add(one)
        return whole

    def saw(self, attempt: AttemptSeen) -> None:
        if (endpoint := self.endpoints.get(attempt.candidate)) is None:
            endpoint = self.endpoints[attempt.candidate] = EndpointTraffic()
        endpoint.saw(attempt)
        if attempt.after is not None:
            failover = Failover(attempt.after[0], attempt.candidate, attempt.after[1])
            self.failovers[failover if _has_room(self.failovers, failover) else Failover(OTHERS, OTHERS, OTHERS)] += 1
        if attempt.outcome == "ok":
            served = Served(attempt.tier, attempt.agent, attempt.candidate)
            self.served[served if _has_room(self.served, served) else served._replace(agent=OTHERS)] += 1
            if (took := self.tiers.get(attempt.tier)) is None:
                took = self.tiers[attempt.tier] = Lengths()
            took.add(attempt.seconds)

    def add(self, other: TrafficView) -> None:
        for name, endpoint in other.endpoints.items():
            self.endpoints.setdefault(name, EndpointTraffic()).add(endpoint)
        for tier, lengths in other.tiers.items():
            self.tiers.setdefault(tier, Lengths()).counts.update(lengths.counts)
        self.served.update(other.served)
        self.failovers.update(other.failovers)


def _has_room(counts: Counter[NamedTuple] | Counter[Served] | Counter[Failover], key: NamedTuple) -> bool:
    return len(counts) < MOST_KEYS or key in counts


class Traffic:
    """What was seen within the last hour. `last_errors` and `began` are older where nothing newer is known."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.last_errors: dict[str, LastError] = {}
        self._slots: deque[tuple[int, TrafficView]] = deque()

    def saw(self, attempt: AttemptSeen) -> None:
        """Count an attempt that ended."""
        number = int(attempt.at // SLOT_S)
        if not self._slots or self._slots[-1][0] < number:
            self._slots.append((number, TrafficView()))
        while self._slots[0][0] < number - KEPT_S // SLOT_S:
            self._slots.popleft()
        self._slots[-1][1].saw(attempt)  # an attempt from before a clock was set back counts as of now
        if attempt.error is not None:
            self.last_errors[attempt.candidate] = LastError(attempt.at, attempt.error, attempt.detail or "")

    def over(self, seconds: float, now: float) -> TrafficView:
        """Return what was seen in the last `seconds`; half a minute that has begun counts whole."""
        view, oldest = TrafficView(), (now - seconds) // SLOT_S
        for number, slot in self._slots:
            if number > oldest:
                view.add(slot)
        return view

    def calls_over_time(self, names: Iterable[str], now: float, parts: int = 60) -> list[tuple[int, int]]:
        """Return of each part of the last hour, the oldest first, how many calls of these were answered, and failed."""
        found, names, width = [(0, 0)] * parts, set(names), KEPT_S / parts
        for number, slot in self._slots:
            at = parts - 1 - int((now - number * SLOT_S) // width)
            if 0 <= at < parts:
                seen = slot.of(names)
                found[at] = (found[at][0] + seen.answered, found[at][1] + seen.failed)
        return found
