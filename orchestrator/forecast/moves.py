"""What may be changed in a policy to find a better one: weights, the order of tiers, amounts of limits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from orchestrator.forecast.policy_edit import Changes
from providers.documents.problems import Path
from providers.documents.yaml import mapping_in
from providers.policy.model import Policy
from providers.simulation import Scenario
from providers.simulation.present import present

Knob = Literal["weights", "order", "limits"]
MoveMaker = Callable[[str, Scenario], Iterator[Changes]]
"""Yields the changes to try next of a file and the scenario that it makes."""
UNITS = 100
"""Weights are shares of so many parts. Everybody keeps one: who has none is never asked, not even where others fail."""
SHIFTS = (40, 20, 10, 5, 2)
"""Parts that move from one provider to another, the large moves first."""
FACTORS = (0.5, 0.8, 1.25, 2.0, 0.67, 0.33, 0.9, 0.2, 0.1)
"""What an amount of a limit is tried at, times what it is."""


class NothingToTune(ValueError):
    """There is nothing of the kind that could be another."""


class Moves(NamedTuple):
    """`root` is where in its file the policy stands, `tiers` are those that turns go by."""

    root: Path
    tiers: Sequence[str]

    def steps(self, knob: Knob, text: str, base: Scenario) -> Iterator[MoveMaker]:
        """Yield what makes changes, large ones first. Raise `NothingToTune`."""
        if knob == "limits":
            if not any(self._amounts(text)):
                raise NothingToTune("the file states no limit with an amount")
            yield lambda found, _: self._limits(found)
            return
        there = present(base, base.catalog)
        if not self.tiers:
            raise NothingToTune("no turn goes by a tier: chains and pinned models have no weights and no order")
        named = {name.partition("/")[0] for tier in self.tiers for name in base.policy.tiers[tier]}
        asked = [name for name in there if name in named]
        if len(asked) < 2:
            raise NothingToTune(f"only {', '.join(asked) or 'nobody'} is there to be asked")
        if knob == "order":
            yield lambda found, scenario: self._orders(found, scenario.policy, asked)
            return
        yield from (partial(_weights, asked=asked, shift=shift) for shift in SHIFTS)

    def _orders(self, text: str, policy: Policy, asked: Collection[str]) -> Iterator[Changes]:
        """Yield each tier with a model that is there at its head, or one place further up."""
        written = self._at(text, ("tiers",))
        for tier in self.tiers:
            names = list(written[tier] if written and tier in written else policy.tiers[tier])
            movable = [at for at, name in enumerate(names) if str(name).partition("/")[0] in asked]
            for before, at in pairwise(movable):
                for to in dict.fromkeys((movable[0], before)):
                    moved = [*names[:to], names[at], *names[to:at], *names[at + 1 :]]
                    if written:
                        yield {("tiers", tier): moved}
                    else:
                        yield {("tiers",): {**{name: list(each) for name, each in policy.tiers.items()}, tier: moved}}

    def _limits(self, text: str) -> Iterator[Changes]:
        for path, amount in self._amounts(text):
            for factor in FACTORS:
                yield {path: _rounded(amount * factor, whole=isinstance(amount, int))}

    def _amounts(self, text: str) -> Iterator[tuple[Path, float]]:
        """Yield where the file states amounts of limits, and these."""
        for name, row in (self._at(text, ("providers",)) or {}).items():
            stated = row.get("limits") if isinstance(row, Mapping) else None
            for at, limit in enumerate(stated or ()):
                amount = limit.get("amount") if isinstance(limit, Mapping) else None
                if isinstance(amount, int | float) and not isinstance(amount, bool):
                    yield ("providers", name, "limits", at, "amount"), amount

    def _at(self, text: str, path: Path) -> Any:
        node = mapping_in(text, "<tuned>").at((*self.root, *path)) if text.strip() else None
        return None if node is None else node.plain()


def _weights(_: str, scenario: Scenario, *, asked: Sequence[str], shift: int) -> Iterator[Changes]:
    """Yield weights with some parts moved from one provider to another."""
    policy = scenario.policy
    strategy: Changes = {} if policy.strategy == "weighted" else {("strategy",): "weighted"}
    parts = _parts(policy, asked)
    if strategy:
        yield {**strategy, ("weights",): _shares(parts)}
    for to in asked:
        for giver in asked:
            if giver != to and parts[giver] > shift:
                moved = {**parts, giver: parts[giver] - shift, to: parts[to] + shift}
                yield {**strategy, ("weights",): _shares(moved)}


def _parts(policy: Policy, asked: Sequence[str]) -> dict[str, int]:
    """Return the parts that providers have now, at least one each; the same for all where the policy has no weights."""
    given = {name: policy.weights.get(name, 0.0) if policy.strategy == "weighted" else 1.0 for name in asked}
    whole = sum(given.values()) or 1.0
    parts = {name: max(1, round(UNITS * weight / whole)) for name, weight in given.items()}
    most = max(parts, key=lambda name: parts[name])
    parts[most] += UNITS - sum(parts.values())
    return parts


def _shares(parts: Mapping[str, int]) -> dict[str, float]:
    return {name: part / UNITS for name, part in parts.items()}


def _rounded(amount: float, *, whole: bool) -> float:
    """Return an amount of two digits; of a whole one a whole number."""
    rounded = float(f"{amount:.2g}")
    return max(1, round(rounded)) if whole else rounded
