"""What recorded traffic would have come to under another policy, beside what it really came to. Pure.

traffic = await recorded_traffic(journal, since, until)
preview(traffic, RoutingInForce(policy, catalog), RoutingInForce(policy, catalog, control), providers).after.cost
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from orchestrator.forecast.figures import Figures, ModelError, as_recorded, lost_in, model_error, simulated
from orchestrator.forecast.recorded import observed_in, scenario_of
from orchestrator.forecast.traffic import RecordedTraffic
from providers.catalog.model import Catalog
from providers.policy.model import Policy
from providers.routing.control import NOTHING_SET, RoutingControl
from providers.routing.fleet import Fleet
from providers.simulation import Report, Scenario, simulate
from providers.simulation.present import candidates_of
from providers.simulation.summary import tier_of


class RoutingInForce(NamedTuple):
    """A policy, the catalog that it was proved against, and what operators have set over it."""

    policy: Policy
    catalog: Catalog
    control: RoutingControl = NOTHING_SET


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
    before: RoutingInForce,
    after: RoutingInForce,
    providers: Collection[str],
    *,
    seed: int = 1,
) -> Preview:
    """Return what the traffic comes to under both.

    `providers` are the names of those that may be asked: which have a key here; those that were asked are among them in
    any case. Nothing is sent. It takes some seconds for 10,000 turns, all of it computing: call it in a thread where
    others wait.
    """
    trial = PolicyTrial(traffic, before, providers)
    same, changed = trial.figures(trial.under(before, seed)), trial.figures(trial.under(after, seed))
    return Preview(trial.recorded, same, changed, model_error(trial.recorded, same), trial.observed.assumptions)


class PolicyTrial:
    """Recorded traffic, ready to be simulated under any policy; `own` is the one that was in force."""

    def __init__(self, traffic: RecordedTraffic, own: RoutingInForce, providers: Collection[str]) -> None:
        self.traffic = traffic
        self._lost = lost_in(call for turn in traffic.turns for call in turn.calls)
        self._names = sorted({call.name for turn in traffic.turns for call in turn.calls})
        catalog = self._catalog(own)
        self.observed = observed_in(traffic, catalog, providers)
        fleet = Fleet(candidates_of(catalog, self.observed.providers), own.policy, {})
        self.recorded = as_recorded(traffic, lambda turn: tier_of(traffic.needs_of(turn), fleet))

    def scenario(self, routing: RoutingInForce, seed: int = 1) -> Scenario:
        """Return the traffic as a scenario under a policy."""
        made = scenario_of(self.traffic, routing.policy, self._catalog(routing), self.observed, seed)
        return replace(made, control=routing.control)

    def under(self, routing: RoutingInForce, seed: int = 1) -> Report:
        """Return what the traffic comes to under a policy."""
        return simulate(self.scenario(routing, seed))

    def figures(self, report: Report) -> Figures:
        """Return the figures of a simulation of the traffic. Failed calls are billed as the recorded ones were."""
        return simulated(report, self._lost)

    def _catalog(self, routing: RoutingInForce) -> Catalog:
        """Return the catalog with the models that were asked of servers that serve whatever is loaded."""
        return routing.catalog.serving_pinned(self._names)
