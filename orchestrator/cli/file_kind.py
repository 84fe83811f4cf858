"""What a file is for, told by its own words: a squad, a routing file, a scenario, a persona or a test file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from orchestrator.squad.spec import SquadSpec
from personas.markdown import is_markdown

FileKind = Literal["squad", "routing", "scenario", "persona", "tests"]
NAMES: Mapping[FileKind, str] = {
    "squad": "a squad",
    "routing": "a routing file",
    "scenario": "a scenario",
    "persona": "a persona",
    "tests": "a test file",
}
_BY_NAME: Mapping[str, FileKind] = {"agent_routing": "routing"}
"""What a file of this name is where its keys leave that open: that of `orchestrator init` has one key, `version`."""

_MARKS: Mapping[FileKind, tuple[frozenset[str], ...]] = {
    "squad": tuple(frozenset({"tasks", other}) for other in ("agents", "conversations", "include")),
    "routing": (frozenset({"tiers"}), frozenset({"last_resort"}), frozenset({"providers"})),
    "scenario": (frozenset({"load"}),),
    "persona": (frozenset({"role"}), frozenset({"instructions"}), frozenset({"extends"})),
    "tests": (frozenset({"cases"}),),
}
"""Keys that a file of the kind has, all those of one set; files of other programs seldom do."""
_TOP_KEY = re.compile(r"^([A-Za-z_][\w-]*)[ \t]*:", re.MULTILINE)


def is_ours(text: str, file: str) -> bool:
    """Return whether a YAML text is meant for us rather than for another program: by its name, else by its keys.

    The text need not be sound: a squad with a mistake is one. A part that squads include is none of its own.
    """
    if Path(file).stem in (*_BY_NAME, "squad"):
        return True
    keys = frozenset(_TOP_KEY.findall(text))
    kinds: Mapping[FileKind, frozenset[str]] = {"squad": frozenset(SquadSpec.model_fields), **_others()}
    return any(
        2 * len(keys & fields) > len(keys) and any(mark <= keys for mark in _MARKS[kind])
        for kind, fields in kinds.items()
    )


def kind_of(keys: Iterable[str], file: str = "") -> FileKind:
    """Return what a file with these top-level keys is: what most of them are fields of; in case of doubt what its name
    says, else a squad."""
    if is_markdown(file):
        return "persona"
    given, of_squads = set(keys), frozenset(SquadSpec.model_fields)
    named = _BY_NAME.get(Path(file).stem)
    if named is None and given <= of_squads:
        return "squad"
    fits = {kind: len(given & fields) for kind, fields in {"squad": of_squads, **_others()}.items()}
    if named is not None and fits[named] == max(fits.values()):
        return named
    return max(fits, key=lambda kind: fits[kind])


def _others() -> Mapping[FileKind, frozenset[str]]:
    """Return the fields of each kind but a squad, which most files are."""
    from orchestrator.evals.spec import SuiteSpec
    from personas.persona import PersonaSpec
    from providers.policy.shapes import PolicyShape
    from providers.simulation.scenario_shape import ScenarioShape

    return {
        "routing": frozenset(PolicyShape.model_fields),
        "scenario": frozenset(ScenarioShape.model_fields),
        "persona": frozenset(PersonaSpec.model_fields),
        "tests": frozenset(SuiteSpec.model_fields),
    }
