"""Documentation that fails when it lies."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
GUIDES = DOCS / "guides"


def test_the_providers_page_is_what_the_catalog_says() -> None:
    made = runpy.run_path(str(DOCS / "reference/generate.py"))["page"]()
    assert (DOCS / "reference/providers.md").read_text("utf-8") == made, "run python docs/reference/generate.py"


def test_the_api_page_is_what_the_code_says() -> None:
    made = runpy.run_path(str(DOCS / "reference/generate_api.py"))["page"]()
    assert (DOCS / "reference/api.md").read_text("utf-8") == made, "run python docs/reference/generate_api.py"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_every_local_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_design_page_names_files_that_exist() -> None:
    """In its table of where to find what: a path that moved is found here."""
    root = DOCS.parent
    table = (DOCS / "design.md").read_text("utf-8").partition("## Where to find what")[2].partition("\n## ")[0]
    for row in re.findall(r"^\|[^|]+\|([^|]+)\|$", table, re.MULTILINE)[2:]:
        named = [name for name in re.findall(r"`([^`]+)`", row) if "/" in name or name.endswith((".py", ".yaml"))]
        folder = Path()
        for name in named:
            folder = Path(name).parent if "/" in name[:-1] else folder  # a bare name stands where the last one stood
            assert (root / name).exists() or (root / folder / name).exists(), name


def test_the_walk_of_a_turn_and_a_run_names_files_that_exist() -> None:
    root = DOCS.parent
    walk = (DOCS / "design.md").read_text("utf-8").partition("## One turn")[2].partition("\n## Decisions")[0]
    named = re.findall(r"`((?:\w+/)+\w*(?:\.py)?)`", walk)
    assert len(named) > 20
    for name in named:
        assert any((root / room / name).exists() for room in ("", "providers", "orchestrator")), name


PLANNING = GUIDES / "cluster-planning.md"


def test_the_planning_of_clusters_shows_the_figures_that_are_kept() -> None:
    """The formulas are computed anew; the simulations in part below, and all of them in a long test."""
    made = runpy.run_path(str(GUIDES / "generate_cluster_planning.py"))
    figures, text = json.loads((GUIDES / "cluster-planning.json").read_text("utf-8")), PLANNING.read_text("utf-8")
    hint = "run python docs/guides/generate_cluster_planning.py"
    assert text == made["page"](figures, text), hint
    assert (GUIDES / "cluster-planning.svg").read_text("utf-8") == made["picture"](figures), hint


@pytest.mark.parametrize("name", ["`redis`", "`redis`, away for 20 s, and empty then"])
def test_figures_of_ledgers_are_what_the_simulation_gives(name: str) -> None:
    made = runpy.run_path(str(GUIDES / "generate_cluster_planning.py"))
    kept = json.loads((GUIDES / "cluster-planning.json").read_text("utf-8"))
    assert made["on_ledger"](name) in kept["ledgers"], "run python docs/guides/generate_cluster_planning.py"


@pytest.mark.long
def test_all_figures_of_the_planning_of_clusters_are_what_the_simulation_gives() -> None:
    made = runpy.run_path(str(GUIDES / "generate_cluster_planning.py"))
    assert json.loads((GUIDES / "cluster-planning.json").read_text("utf-8")) == made["measured"]()
