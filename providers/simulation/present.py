"""Which providers a scenario has, and the candidates that the routers know of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from providers.catalog.model import Candidate, Catalog
from providers.simulation.scenario import EVERY, Behaviour, Scenario

KEY = "simulated"
"""What every key begins with, and what else an address may need; with its variable's name it is each account's own."""


def present(scenario: Scenario, catalog: Catalog) -> dict[str, Behaviour]:
    """Return the behaviour of each provider that is there, in the catalog's order."""
    said, others = scenario.providers, scenario.providers.get(EVERY)
    found = {name: said.get(name, None if row.opt_in else others) for name, row in catalog.providers.items()}
    return {name: behaviour for name, behaviour in found.items() if behaviour is not None}


def candidates_of(catalog: Catalog, behaviours: Mapping[str, Behaviour]) -> tuple[Candidate, ...]:
    """Return the candidates of the providers in the scenario, each with a made-up key."""
    rows = {name: replace(catalog.providers[name], opt_in=False) for name in behaviours}
    variables = [name for row in rows.values() for name in re.findall(r"\{([A-Z][A-Z0-9_]*)\}", row.base_url)]
    variables += [name for row in rows.values() if row.key_env for name in (row.key_env, *row.more_key_envs)]
    return Catalog(rows).candidates({name: f"{KEY}-{name}" for name in variables})
