"""What a scenario's loads ask of providers together, and how much of it these allow: formulas, no simulation. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, expm1, inf, sqrt
from statistics import fmean, pvariance

from providers.errors import Reason, ReasonCode
from providers.messages import Needs
from providers.routing.fleet import Fleet
from providers.simulation.load import Kind, kinds
from providers.simulation.present import candidates_of, present
from providers.simulation.scenario import Behaviour, Latency, Load, Scenario
from providers.simulation.terms import AllTerms
from providers.simulation.true_limit import TrueLimit
from providers.windows import BUCKETS, Rolling

ROUNDS = 60
"""Of a search for the most: each halves what is not known."""
MOST_A_SECOND = 1e7
"""Turns: a load that fits into more is bound by no limit."""


@dataclass(frozen=True, slots=True)
class CandidateOffer:
    """What one candidate is for the turns of a load: how long a call takes, and what it counts for in which limits."""

    name: str
    seconds: float
    variance: float
    calls: float
    """For each answer: those that fail are made again."""
    counts: Mapping[TrueLimit, float]


@dataclass(frozen=True, slots=True)
class PlacedMix:
    """Turns of a mix as providers take them: the mean seconds that a turn waits for them, and their spread (sigma), its
    calls, the share of these that some limit binds, and the share of all turns that finds no room."""

    seconds: float
    spread: float
    calls: float
    bound: float
    left_over: float


class Mix:
    """The loads of a scenario, each with its share of all turns and the candidates that may answer it, in order."""

    def __init__(self, scenario: Scenario) -> None:
        behaviours = present(scenario, scenario.catalog)
        absent = Reason(ReasonCode.NOT_CONFIGURED, "it is not part of the scenario")
        unconfigured = {name: absent for name in scenario.catalog.providers if name not in behaviours}
        self._fleet = Fleet(candidates_of(scenario.catalog, behaviours), scenario.policy, unconfigured)
        hidden = {name: each.hidden for name, each in behaviours.items()}
        self._terms = AllTerms(hidden, scenario.policy.budget, scenario.starts)
        turns, texts, number = sum(each.count for each in scenario.load), dict[int, str](), 0
        self._loads: list[tuple[float, Sequence[CandidateOffer]]] = []
        for load in scenario.load:
            alike = kinds(load, number, texts)
            number += len(alike)
            self._loads.append((load.count / turns, self._offers(load, alike, behaviours)))
        longest = max((offer.seconds for _, offers in self._loads for offer in offers), default=0.0)
        self._rates = {limit: _a_second(limit, longest) for _, limit, _ in self._terms.limits.values()}
        begins = min(each.begins for each in scenario.load)
        self.lasts = max(each.begins + each.over for each in scenario.load) - begins
        self.offered = turns / self.lasts if self.lasts else 0.0
        """Turns a second."""
        self.most = self._most()
        """Turns a second that find room with the providers, for good; infinite: no limit binds them."""

    def place(self, rate: float) -> PlacedMix:
        """Return how `rate` turns a second are taken: each by the first candidate that has room."""
        left, seconds, squares, calls, bound, over = dict(self._rates), 0.0, 0.0, 0.0, 0.0, 0.0
        for share, offers in self._loads:
            need = rate * share
            for offer in offers:
                room = min((left[limit] / count for limit, count in offer.counts.items() if count), default=inf)
                taken = min(need, room / offer.calls)
                for limit, count in offer.counts.items():
                    left[limit] -= taken * offer.calls * count
                need -= taken
                seconds += taken * offer.calls * offer.seconds
                squares += taken * offer.calls * (offer.variance + offer.seconds**2)
                calls += taken * offer.calls
                bound += taken * offer.calls * bool(offer.counts)
            over += need
        taken = rate - over
        if taken <= 0:
            return PlacedMix(0.0, 0.0, 0.0, 0.0, 1.0)
        spread = sqrt(max(0.0, squares / taken - (seconds / taken) ** 2))
        return PlacedMix(seconds / taken, spread, calls / taken, bound / calls, over / rate)

    def _most(self) -> float:
        low, high = 0.0, MOST_A_SECOND
        if self.place(high).left_over <= 1e-9:
            return inf
        for _ in range(ROUNDS):
            middle = (low + high) / 2
            if self.place(middle).left_over <= 1e-9:
                low = middle
            else:
                high = middle
        return low

    def _offers(self, load: Load, alike: Sequence[Kind], behaviours: Mapping[str, Behaviour]) -> list[CandidateOffer]:
        needs = Needs(load.agent, load.persona, load.tier, load.model, chain=load.chain, task_type=load.task_type)
        found = []
        for state in self._fleet.ranking(needs).states:
            candidate = state.candidate
            behaviour = behaviours.get(candidate.provider.name)
            if behaviour is None:
                continue
            counts: dict[TrueLimit, float] = {}
            for kind in alike:
                terms = self._terms.made(candidate, kind, self._fleet.demands(kind.request)[0])
                for limit, amount in () if terms is None else (*terms.answered, *terms.later):
                    counts[limit] = counts.get(limit, 0.0) + amount / len(alike)
            output = fmean(kind.usage.output + kind.usage.reasoning for kind in alike)
            failing = min(0.99, sum(behaviour.errors.values()))
            seconds, variance = _seconds(behaviour.latency, output)
            found.append(CandidateOffer(state.name, seconds, variance, 1.0 / (1.0 - failing), counts))
        return found


def _seconds(latency: Latency, output: float) -> tuple[float, float]:
    """Return how long a call takes on average, and the variance of that."""
    usual = latency.first_token + latency.per_token * output
    if latency.factors:
        return usual * fmean(latency.factors), usual**2 * pvariance(latency.factors)
    mean = usual * exp(latency.spread**2 / 2)
    return mean, mean**2 * expm1(latency.spread**2)


def _a_second(limit: TrueLimit, call: float) -> float:
    """Return how much of a limit the routers use in a second at most: a call counts until its window has passed since
    it ended, and a rolling window has buckets."""
    window, seconds = limit.meter.window, limit.seconds
    if isinstance(window, Rolling):
        seconds += seconds / BUCKETS + call
    return limit.meter.amount / seconds
