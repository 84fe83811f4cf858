"""The provider manager on a virtual clock: the same routing, health and limits, driven against modelled providers.

    report = simulate(load_scenario("quota-exhaustion"))
    report.held, report.claims, report.to_json()

Nothing waits, nothing is sent, and nothing depends on the machine: the same scenario and seed give the same decision
log byte for byte. What is exact and what is modelled is said in `engine.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from providers.catalog.model import Catalog
from providers.policy.model import Policy
from providers.simulation.report import Bucket, Claim, Durations, GroupUse, LimitUse, ProviderUse, Report, Waits
from providers.simulation.scenario import Behaviour, Expectation, Flaky, Latency, Load, ModelBehaviour, Outage, Scenario

__all__ = [
    "Behaviour",
    "Bucket",
    "Claim",
    "Durations",
    "Expectation",
    "Flaky",
    "GroupUse",
    "Latency",
    "LimitUse",
    "Load",
    "ModelBehaviour",
    "Outage",
    "ProviderUse",
    "Report",
    "Scenario",
    "Waits",
    "load_scenario",
    "shipped",
    "simulate",
]


def shipped() -> Sequence[str]:
    """Return the names of the scenarios that come with the package, sorted."""
    from providers.simulation import scenario_file

    return scenario_file.shipped()


def load_scenario(source: str | Path) -> Scenario:
    """Return a scenario: a shipped one by its name, or one of a YAML file.

    Raise `CatalogError` with every problem of the file, each under its path of keys; also where there is no such file.
    """
    from providers.simulation import scenario_file

    return scenario_file.load(source)


def simulate(
    scenario: Scenario,
    *,
    policy: Policy | None = None,
    catalog: Catalog | None = None,
    load: Sequence[Load] | None = None,
    seed: int | None = None,
    log: BinaryIO | None = None,
) -> Report:
    """Run the scenario to its end and return what it came to. What is given goes before what the scenario says.

    `catalog` holds the facts that `policy` was proved against. `log` gets the decision log, a line for each decision,
    as UTF-8. The claims of a scenario whose load or policy was replaced are measured all the same.
    """
    from providers.simulation import engine
    from providers.simulation.cluster import simulation

    if scenario.cluster is not None:
        return simulation.run(scenario, scenario.cluster, policy=policy, catalog=catalog, load=load, seed=seed, log=log)
    return engine.run(scenario, policy=policy, catalog=catalog, load=load, seed=seed, log=log)
