"""What recorded traffic would have come to under another policy, beside what it really came to.

traffic = await recorded_traffic(journal, since, until)
preview(traffic, (policy, catalog), (changed, its_catalog), providers).after.cost
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.forecast.figures import Figures, ModelError, as_recorded, model_error, simulated
from orchestrator.forecast.recorded import model_of, scenario_of
from orchestrator.forecast.traffic import RecordedTraffic
from providers.catalog.model import Catalog
from providers.policy.model import Policy
from providers.routing.fleet import Fleet
from providers.simulation import Report, Scenario, simulate
from providers.simulation.present import candidates_of
from providers.simulation.summary import tier_of

Routing = tuple[Policy, Catalog]
"""A policy, and the catalog that it was proved against."""
MOST_SQUADS = 100
"""Squads whose agents are looked up: those that ran last."""


@dataclass(frozen=True, slots=True)
class Preview:
    """Recorded traffic as it was, simulated under the policy `before`, and under the one `after` a change.

    `error` is how far the simulation under the policy before is from what really happened, where that policy was in
    force; what differs between `before` and `after` is to be trusted no further than that.
    """

    recorded: Figures
    before: Figures
    after: Figures
    error: ModelError
    assumptions: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with money in USD."""
        figures = {"recorded": self.recorded, "before": self.before, "after": self.after}
        return {
            "model_error": self.error.to_json(),
            **{name: each.to_json() for name, each in figures.items()},
            "assumptions": list(self.assumptions),
        }


def preview(
    traffic: RecordedTraffic,
    before: Routing,
    after: Routing,
    providers: Collection[str],
    *,
    drained: Collection[str] = (),
    seed: int = 1,
) -> Preview:
    """Return what the traffic comes to under both.

    `providers` are the names of those that may be asked: which have a key here; those that were asked are among them in
    any case. `drained` ones get nothing after the change. Nothing is sent. It takes some seconds for 10,000 turns,
    all of it computing: call it in a thread where others wait.
    """
    replayed = PolicyTrial(traffic, before, providers)
    real, same = replayed.recorded, simulated(replayed.under(before, seed))
    changed = simulated(replayed.under(after, seed, drained))
    return Preview(real, same, changed, model_error(real, same), replayed.model.assumptions)


class PolicyTrial:
    """Recorded traffic, ready to be simulated under any policy; `own` is the one that was in force."""

    def __init__(self, traffic: RecordedTraffic, own: Routing, providers: Collection[str]) -> None:
        self.traffic = traffic
        self._names = sorted({call.name for turn in traffic.turns for call in turn.calls})
        catalog = self._catalog(own)
        self.model = model_of(traffic, catalog, providers)
        fleet = Fleet(candidates_of(catalog, self.model.providers), own[0], {})
        self.recorded = as_recorded(traffic, lambda turn: tier_of(traffic.needs_of(turn), fleet))

    def scenario(self, routing: Routing, seed: int = 1, drained: Collection[str] = ()) -> Scenario:
        """Return the traffic as a scenario under a policy."""
        there = {name: each for name, each in self.model.providers.items() if name not in drained}
        model = replace(self.model, providers=there)
        return scenario_of(self.traffic, routing[0], self._catalog(routing), model, seed)

    def under(self, routing: Routing, seed: int = 1, drained: Collection[str] = ()) -> Report:
        """Return what the traffic comes to under a policy."""
        return simulate(self.scenario(routing, seed, drained))

    def _catalog(self, routing: Routing) -> Catalog:
        """Return the catalog with the models that were asked of servers that serve whatever is loaded."""
        return routing[1].serving_pinned(self._names)
