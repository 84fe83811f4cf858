"""Scenarios as commands read them. Apart from `files.py`: only two commands need the simulation."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cli.loading import interrupts_held
from providers.documents.problems import Problem
from providers.documents.yaml import read_mapping
from providers.simulation import Scenario
from providers.simulation.scenario_file import parse_scenario


@interrupts_held()
def load_scenario_file(file: str) -> Scenario:
    """Return the scenario of a YAML file. Raise `SpecError` with all its mistakes, each in its place."""
    read: list[Problem] = []
    return parse_scenario(read_mapping(file, read), Path(file).stem, read)
