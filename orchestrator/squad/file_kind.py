"""What a YAML file is for, told by its own words: a squad, a routing file, or a scenario."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from providers.documents.problems import SpecError

Kind = Literal["squad", "routing", "scenario"]
NAMES: Mapping[Kind, str] = {"squad": "a squad", "routing": "a routing file", "scenario": "a scenario"}


def kind_of(keys: Iterable[str]) -> Kind:
    """Return what a file with these top-level keys is: what most of them are fields of; a squad in case of doubt."""
    from orchestrator.squad.spec import SquadSpec
    from providers.policy.parse import PolicyShape
    from providers.simulation.scenario_file import ScenarioShape

    given = set(keys)
    fields: Mapping[Kind, set[str]] = {
        "squad": set(SquadSpec.model_fields),
        "routing": set(PolicyShape.model_fields),
        "scenario": set(ScenarioShape.model_fields),
    }
    return max(fields, key=lambda kind: len(given & fields[kind]))


def kind_of_file(path: str | Path) -> Kind:
    """Return what a file is. One that cannot be read counts as a squad: who reads it as one says what is wrong."""
    from providers.documents.yaml import read_text, read_tree

    try:
        value = read_tree(read_text(path), str(path), []).value
    except SpecError:
        return "squad"
    return kind_of(value) if isinstance(value, Mapping) else "squad"
