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
    TimedOut,
    Unreachable,
    Unsupported,
)
from providers.simulation.load import dice
from providers.simulation.scenario import Behaviour, ErrorKind, Latency, Mode, ModelBehaviour, Outage
from providers.simulation.terms import Terms

DRAWS = 1024
"""Quantiles of a distribution that are drawn from: drawing costs one random number."""
REFUSED_S = 0.02
"""How soon a refused connection or a rate limit's answer comes."""


class ModelledProvider:
    """One provider. Calls come in order of time; `dice` are its own, so that no other one's traffic moves its luck."""

    def __init__(self, name: str, behaviour: Behaviour, regional: Iterable[Outage], starts: float, seed: int) -> None:
        self.name, self._dice = name, dice(seed, name)
        self._usual = _Manner(ModelBehaviour(behaviour.latency, behaviour.errors), starts)
        self._manners = {model: _Manner(each, starts) for model, each in behaviour.models.items()}
        self._outages = _outages(behaviour, regional, starts, dice(seed, name, "outages"))
        self._down = next(self._outages, _NEVER)
        self._was_down = False
        self._recovering = 0
        self.recovery_calls = 0

    def answer(self, now: float, model: str, output: int, terms: Terms | None) -> tuple[float, ProviderError | None]:
        """Return the seconds that a call takes which comes `now`, and the error that it ends in (None: an answer).

        `inf`: nothing ever comes back. `output` are the tokens of the answer, `terms` what it counts for in limits.
        """
        manner = self._manners.get(model, self._usual)
        if now >= self._down.begins and (how := self._mode(now)) is not None:
            return self._fail(how, manner)
        if self._was_down:
            self._recovering += 1
        if (how := manner.mode(now)) is not None:
            return self._fail(how, manner)
        random, kind = self._dice.random, None
        seconds = manner.first + manner.per_token * output
        if manner.factors:
            seconds *= manner.factors[int(random() * len(manner.factors))]
        if manner.kinds and (drawn := bisect_right(manner.shares, random())) < len(manner.kinds):
            kind = manner.kinds[drawn]
        if terms is not None and kind != "unreachable":
            counted = terms.refused if kind in _UNANSWERED else terms.answered
            for limit, amount in counted:
                if (again := limit.again_at(amount, now)) is not None:
                    limit.violations += 1
                    return REFUSED_S, RateLimited(f"{self.name}: {limit.meter.label}", status=429, retry_at=again)
            for limit, amount in counted:
                limit.count(amount, now)
        return (seconds, None) if kind is None else self._fail(kind, manner, seconds)

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

    def _fail(self, how: Mode | ErrorKind, manner: _Manner, seconds: float = 0.1) -> tuple[float, ProviderError | None]:
        usual, error = self._failed(how, seconds)
        return manner.error_seconds.get(how, usual), error

    def _failed(self, how: Mode | ErrorKind, seconds: float) -> tuple[float, ProviderError | None]:
        """Return how long a call takes that ends so, where nobody measured it, and its error."""
        match how:
            case "hangs":
                return inf, TimedOut(f"{self.name} says nothing", phase="first_token")
            case "refuses" | "unreachable":
                return REFUSED_S, Unreachable(f"{self.name} refuses the connection")
            case "overloaded":
                return REFUSED_S, Overloaded(f"{self.name} has no capacity", status=529)
            case "rate_limited" | "limits":
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


class _Manner:
    """How a model answers and fails, ready to be drawn from."""

    __slots__ = ("_down", "_outages", "error_seconds", "factors", "first", "kinds", "per_token", "shares")

    def __init__(self, behaviour: ModelBehaviour, starts: float) -> None:
        latency, errors = behaviour.latency, behaviour.errors
        self.first, self.per_token = latency.first_token, latency.per_token
        self.factors = latency.factors or _quantiles(latency)
        self.kinds: Sequence[ErrorKind] = [kind for kind, share in errors.items() if share > 0]
        self.shares = list(accumulate(errors[kind] for kind in self.kinds))
        self.error_seconds = behaviour.error_seconds
        self._outages = _in_order(behaviour.outages, iter(()), starts)
        self._down = next(self._outages, _NEVER)

    def mode(self, now: float) -> Mode | None:
        """Return how the model alone is down `now`; None: it is not."""
        while now >= self._down.begins + self._down.lasts:
            self._down = next(self._outages, _NEVER)
        return self._down.how if now >= self._down.begins else None


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
    return _in_order([*behaviour.outages, *regional], _flaky(behaviour, own), starts)


def _in_order(stated: Iterable[Outage], flaky: Iterator[Outage], starts: float) -> Iterator[Outage]:
    known = sorted(stated, key=lambda each: each.begins)
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
