"""constraints.txt pins what README's commands and .ci/run install."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]


def asked_for() -> list[Requirement]:
    """Return what pyproject.toml asks for, in its dependencies and extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    return [wanted for wanted in map(Requirement, texts) if wanted.name != project["name"]]


def test_it_holds_versions_and_nothing_else() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line)] == []


def test_each_requirement_has_its_pins_within_what_is_allowed() -> None:
    pins = [Requirement(line) for line in LINES]
    for wanted in asked_for():
        versions = [
            next(iter(pin.specifier)).version
            for pin in pins
            if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
        ]
        assert versions, f"{wanted.name} has no pin: run .ci/renew-constraints"
        assert all(version in wanted.specifier for version in versions), f"{wanted}: run .ci/renew-constraints"
