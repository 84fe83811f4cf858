"""The order among candidates that all may be asked: seven factors, weights, or two drawn at random. Pure arithmetic.

An `Ordering` holds everything that an order is made of, so the same function orders live, in a replay of a record, and
in a counterfactual. The seventh factor, whether a reservation is possible now, is pass or fail: a candidate that fails
it is in no ordering.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import mul
from typing import Any, NamedTuple

from providers.policy.factors import Strategy

SEEN = ("quota", "health", "latency")
"""The factors that are read always; the others where the policy or the request asks for them."""
UNKNOWN_PRICE = 0.5
CHEAPEST = 0.9
"""The value of the cheapest price that is not 0: free comes first, however cheap the others are."""
UNKNOWN_PACE = 0.5
SLOW_S = 10.0
"""A pace that halves a candidate's latency value, and its weight."""
SHORTEST_S = 0.001
"""The pace of a candidate that was not measured and of which nothing is out: it is soon tried, by one call."""
FAR = 10.0
"""Of two that are drawn neither is so many times as loaded as the least loaded one of all."""
STEPS = 100
"""A score that differs by less than a hundredth of all points in play does not differ: there the policy's order
decides, and an estimate that fades away gives the first place back."""


class Ordering(NamedTuple):
    """What decided the order of `names`, which stand in the policy's order. `pool` names the tier they are of.

    `values` has a row for each name and a column for each of `factors`. By `tier` these are the factors that were
    read, with their `points`; by `weighted` the weight in effect and the credit before; by `latency` the load: of
    those within `FAR` of the least two are compared that the `draw` from [0, 1) picks.
    """

    strategy: Strategy
    pool: str
    names: tuple[str, ...]
    factors: tuple[str, ...]
    points: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    draw: float | None = None

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Ordering:
        """Return the ordering of a record that went through JSON."""
        plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in record.items()}
        return cls(**{**plain, "values": tuple(map(tuple, plain["values"]))})

    def without(self, provider: str) -> Ordering:
        """Return the ordering as it would have been without a provider's candidates. What was measured stays."""
        kept = [at for at, name in enumerate(self.names) if name.partition("/")[0] != provider]
        names, values = tuple(self.names[at] for at in kept), tuple(self.values[at] for at in kept)
        return self._replace(names=names, values=values)


def ordered(ordering: Ordering) -> Sequence[int]:
    """Return the indexes of `ordering.names` in the order in which they are to be asked. Ties keep their places."""
    if ordering.strategy == "tier":
        return _by_score(ordering.values, ordering.points)
    if ordering.strategy == "weighted":
        return _by_credit(ordering.values)
    if ordering.strategy == "latency":
        return _by_two_choices([load for (load,) in ordering.values], ordering.draw or 0.0)
    return range(len(ordering.names))


def replay(ordering: Ordering) -> tuple[str, ...]:
    """Return the names in the order that was chosen, out of the record alone."""
    return tuple(ordering.names[at] for at in ordered(ordering))


def score(values: Sequence[float], points: Sequence[float]) -> float:
    """Return the sum of each value times its points."""
    total: float = sum(map(mul, values, points))
    return total


def _by_score(values: Sequence[Sequence[float]], points: Sequence[float]) -> Sequence[int]:
    step = sum(points) / STEPS
    if not step or values.count(values[0]) == len(values):
        return range(len(values))
    ranks = [-round(score(row, points) / step) for row in values]
    return sorted(range(len(values)), key=ranks.__getitem__)


def _by_credit(values: Sequence[Sequence[float]]) -> Sequence[int]:
    """Smooth weighted round-robin: the most credit goes first. Candidates without a weight come after the others."""
    keys = [(weight <= 0.0, -credit - weight) for weight, credit in values]
    return sorted(range(len(values)), key=keys.__getitem__)


def _by_two_choices(loads: Sequence[float], draw: float) -> Sequence[int]:
    """Power of two choices: of two drawn at random the less loaded first; then the others, least loaded first.

    Of a slow one and a slower one neither is to be asked while a fast one is free: those far behind are not drawn.
    """
    order = sorted(range(len(loads)), key=loads.__getitem__)
    near = sum(load <= loads[order[0]] * FAR for load in loads)
    if near > 1:
        one, other = divmod(int(draw * near * (near - 1)), near - 1)
        other += other >= one
        order.insert(0, order.pop(min(one, other)))
    return order


def paid(values: Sequence[Sequence[float]], winner: int) -> list[float]:
    """Return every credit after `winner` was asked: each earned its weight, and the winner paid the sum."""
    after = [credit + weight for weight, credit in values]
    after[winner] -= sum(weight for weight, _ in values)
    return after


def price_values(prices: Sequence[float | None]) -> list[float]:
    """Return 1 for free, `CHEAPEST` for the least price above 0 and in proportion less for more; 0.5 for unknown."""
    least = min((price for price in prices if price), default=0.0)
    return [UNKNOWN_PRICE if price is None else CHEAPEST * least / price if price > 0 else 1.0 for price in prices]


def pace_value(pace: float) -> float:
    """Return 1 for no time at all, 0.5 for `SLOW_S`, towards 0 beyond it."""
    return round(1.0 / (1.0 + pace / SLOW_S), 3)


def known_or_best(values: Sequence[float | None]) -> list[float]:
    """Return the latency values; a candidate without a measure counts like the best measured one, and at least 0.5.

    So a first choice that comes back has its place, and a slow one does not keep it.
    """
    best = max((value for value in values if value is not None), default=UNKNOWN_PACE)
    return [max(best, UNKNOWN_PACE) if value is None else value for value in values]


def health_value(error_rate: float) -> float:
    """Return 1 for no errors of its own, 0 for every other answer one, -1 for nothing but errors."""
    return 1.0 - 2.0 * error_rate


def preference(name: str, preferred: Sequence[str]) -> float:
    """Return 1 for the first of `preferred`, less for each later one, over 0.5 for the last, 0 for any other."""
    return 1.0 - 0.5 * preferred.index(name) / len(preferred) if name in preferred else 0.0


def weight_in_effect(base: float, error_rate: float, mean_latency_s: float) -> float:
    """Return the weight that errors and slowness leave of `base`."""
    return base * (1.0 - 0.5 * error_rate) / (1.0 + mean_latency_s / SLOW_S)


def load(pace_s: float | None, in_flight: int) -> float:
    """Return the time that a new call would wait, if those in flight are served one after the other."""
    return max(pace_s or 0.0, SHORTEST_S) * (in_flight + 1)


def supposed(pace_s: float | None, in_flight: int, silent_s: float) -> float | None:
    """Return the pace to reckon with where calls have waited for `silent_s`: an answer takes as long as that at least.

    A candidate that was not measured is tried by one call; while that is out nothing speaks for it: it counts as slow.
    """
    if pace_s is None and in_flight:
        pace_s = SLOW_S
    return pace_s if pace_s is None else max(pace_s, silent_s)
