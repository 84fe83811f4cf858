"""Scenarios as commands read them. Apart from `files.py`: only two commands need the simulation."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.loading import interrupts_held
from providers.documents.problems import SpecError
from providers.documents.yaml import problems_at, read_mapping
from providers.errors import CatalogError
from providers.simulation import Scenario
from providers.simulation.scenario_file import parse_scenario


@interrupts_held()
def load_scenario_file(file: str) -> Scenario:
    """Return the scenario of a YAML file. Raise `SpecError` with all its mistakes, each in its place."""
    root = read_mapping(file)
    try:
        return parse_scenario(root.plain(), Path(file).stem)
    except CatalogError as error:
        raise SpecError(problems_at(root, error.problems, "scenario")) from None
