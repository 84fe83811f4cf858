"""Modelled providers: how long they take, how they fail, when they are down, and the limits that they enforce."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import exp, inf
from random import Random
from statistics import NormalDist

from providers.errors import (
    BadReply,
    BadRequest,
    Blocked,
    Declined,
    Overloaded,
    ProviderError,
    RateLimited,
    ServerFault,
    Unreachable,
    Unsupported,
)
from providers.simulation.load import dice
from providers.simulation.scenario import Behaviour, ErrorKind, Latency, Mode, Outage
from providers.simulation.terms import Terms

DRAWS = 1024
"""Quantiles of a distribution that are drawn from: drawing costs one random number."""
REFUSED_S = 0.02
"""How soon a refused connection or a rate limit's answer comes."""


class ModelledProvider:
    """One provider. Calls come in order of time; `dice` are its own, so that no other one's traffic moves its luck."""

    def __init__(self, name: str, behaviour: Behaviour, regional: Iterable[Outage], starts: float, seed: int) -> None:
        self.name, self._dice = name, dice(seed, name)
        self._first, self._per_token = behaviour.latency.first_token, behaviour.latency.per_token
        self._spread = _quantiles(behaviour.latency)
        kinds = [kind for kind, share in behaviour.errors.items() if share > 0]
        self._kinds: Sequence[ErrorKind] = kinds
        self._shares = list(accumulate(behaviour.errors[kind] for kind in kinds))
        self._outages = _outages(behaviour, regional, starts, dice(seed, name, "outages"))
        self._down = next(self._outages, _NEVER)
        self._was_down = False
        self._recovering = 0
        self.recovery_calls = 0

    def answer(self, now: float, output: int, terms: Terms | None) -> tuple[float, ProviderError | None]:
        """Return the seconds that a call takes which comes `now`, and the error that it ends in (None: an answer).

        `inf`: nothing ever comes back. `output` are the tokens of the answer, `terms` what it counts for in limits.
        """
        if now >= self._down.begins and (how := self._mode(now)) is not None:
            return self._fail(how)
        if self._was_down:
            self._recovering += 1
        random, kind = self._dice.random, None
        seconds = self._first + self._per_token * output
        if self._spread:
            seconds *= self._spread[int(random() * DRAWS)]
        if self._kinds and (drawn := bisect_right(self._shares, random())) < len(self._kinds):
            kind = self._kinds[drawn]
        if terms is not None and kind != "unreachable":
            counted = terms.refused if kind in _UNANSWERED else terms.answered
            for limit, amount in counted:
                if (again := limit.again_at(amount, now)) is not None:
                    limit.violations += 1
                    return REFUSED_S, RateLimited(f"{self.name}: {limit.meter.label}", status=429, retry_at=again)
            for limit, amount in counted:
                limit.count(amount, now)
        return (seconds, None) if kind is None else self._fail(kind, seconds)

    def answered(self, terms: Terms | None, now: float) -> None:
        """Note that an answer has come back, and count what it came to where its calls were let in by less."""
        if terms is not None:
            for limit, amount in terms.later:
                limit.count(amount, now)
        if self._was_down:
            self.recovery_calls = max(self.recovery_calls, self._recovering)
            self._was_down = False

    def _mode(self, now: float) -> Mode | None:
        """Return how the provider is down `now`, at or after the beginning of an outage; None: it is well again."""
        while now >= self._down.begins + self._down.lasts:
            self._down = next(self._outages, _NEVER)
            self._was_down, self._recovering = True, 0
        return self._down.how if now >= self._down.begins else None

    def _fail(self, how: Mode | ErrorKind, seconds: float = 0.1) -> tuple[float, ProviderError | None]:
        match how:
            case "hangs":
                return inf, None
            case "refuses" | "unreachable":
                return REFUSED_S, Unreachable(f"{self.name} refuses the connection")
            case "overloaded":
                return REFUSED_S, Overloaded(f"{self.name} has no capacity", status=529)
            case "rate_limited":
                return REFUSED_S, RateLimited(f"{self.name}: too many requests", status=429)
            case "refused":
                return REFUSED_S, BadRequest(f"{self.name} refuses the request", status=400)
            case "retires":
                return REFUSED_S, Unsupported(f"{self.name} has no such model any more", status=404, gone=True)
            case "blocks":
                return REFUSED_S, Blocked(f"a firewall in front of {self.name} refuses", status=403)
            case "malformed":
                return seconds, BadReply(f"{self.name} sends what cannot be read", status=200)
            case "declined":
                return seconds, Declined(f"{self.name} declines", status=200)
            case _:
                return seconds, ServerFault(f"{self.name} fails", status=500)


_NEVER = Outage(inf, 0.0)
_UNANSWERED = {"server", "overloaded", "rate_limited", "refused"}
"""Errors of calls that did come to the provider, and were given nothing."""


def _quantiles(latency: Latency) -> Sequence[float]:
    if not latency.spread:
        return ()
    normal = NormalDist(0.0, latency.spread)
    return [exp(normal.inv_cdf((at + 0.5) / DRAWS)) for at in range(DRAWS)]


def _outages(behaviour: Behaviour, regional: Iterable[Outage], starts: float, own: Random) -> Iterator[Outage]:
    """Yield when the provider is down, in order, no two at once; epoch seconds."""
    known = sorted([*behaviour.outages, *regional], key=lambda each: each.begins)
    flaky = _flaky(behaviour, own)
    ahead, until = next(flaky, _NEVER), 0.0
    while known or ahead is not _NEVER:
        if known and known[0].begins <= ahead.begins:
            found = known.pop(0)
        else:
            found, ahead = ahead, next(flaky, _NEVER)
        begins, ends = max(found.begins, until), found.begins + found.lasts
        if ends > begins:
            yield Outage(starts + begins, ends - begins, found.how)
            until = ends


def _flaky(behaviour: Behaviour, own: Random) -> Iterator[Outage]:
    flaky, at = behaviour.flaky, 0.0
    while flaky is not None and flaky.share > 0:
        at += own.expovariate(flaky.share / (1 - flaky.share) / flaky.mean)
        lasts = own.expovariate(1 / flaky.mean)
        yield Outage(at, lasts, flaky.how)
        at += lasts


def modelled_providers(
    behaviours: Mapping[str, Behaviour], regions: Mapping[str, Sequence[Outage]], starts: float, seed: int
) -> dict[str, ModelledProvider]:
    """Return a provider for each behaviour, under its name."""
    return {
        name: ModelledProvider(name, behaviour, regions.get(behaviour.region or "", ()), starts, seed)
        for name, behaviour in behaviours.items()
    }
