"""Documentation that fails when it lies."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from orchestrator.cli.documentation import NoSuchPage, find_page, pages_in
from tests.docs.blocks import block_problems, unknown_extras
from tests.docs.pages import all_pages, dead_links, missing_entries, page, reached

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = DOCS / "guides"
TEXTS = frozenset({".py", ".md", ".yaml", ".yml", ".toml", ".html", ".js", ".css", ".j2", ".txt"})
"""Endings of files that hold text of ours."""


def test_the_providers_page_is_what_the_catalog_says() -> None:
    made = runpy.run_path(str(DOCS / "reference/generate.py"))["page"]()
    assert (DOCS / "reference/providers.md").read_text("utf-8") == made, "run python docs/reference/generate.py"


PAGES = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in all_pages()]


@pytest.mark.parametrize("path", PAGES)
def test_every_local_link_and_anchor_leads_somewhere(path: Path) -> None:
    assert not (wrong := "\n".join(dead_links(page(path)))), wrong


@pytest.mark.parametrize("path", PAGES)
def test_every_block_of_code_is_what_it_says(path: Path, tmp_path: Path) -> None:
    """Squads, routing files, scenarios, personas and tests are read by our readers, commands by click; Python compiles,
    and what it takes from our packages exists (tests/docs/)."""
    assert not (wrong := "\n".join(block_problems(page(path), tmp_path))), wrong


def test_every_page_is_reached_from_the_front_page() -> None:
    assert list(missing_entries(DOCS)) == []
    assert sorted(set(DOCS.rglob("*.md")) - reached(DOCS)) == [], "add a line to the toctree of the folder's index.md"


def test_every_extra_that_a_page_installs_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    known = frozenset(project["optional-dependencies"])
    for path in all_pages():
        assert unknown_extras(page(path).text, known) == frozenset(), path


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


@pytest.mark.parametrize("name", ["`redis`, away for 20 s, and empty then", "`redis`"])
@pytest.mark.few(1)
def test_figures_of_ledgers_are_what_the_simulation_gives(name: str) -> None:
    made = runpy.run_path(str(GUIDES / "generate_cluster_planning.py"))
    kept = json.loads((GUIDES / "cluster-planning.json").read_text("utf-8"))
    assert made["on_ledger"](name) in kept["ledgers"], "run python docs/guides/generate_cluster_planning.py"


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 100, 10_000])
def test_figures_of_sizes_are_what_the_simulation_gives(workers: int) -> None:
    made = runpy.run_path(str(GUIDES / "generate_cluster_planning.py"))
    kept = json.loads((GUIDES / "cluster-planning.json").read_text("utf-8"))
    assert made["at_size"](workers) in kept["sweep"], "run python docs/guides/generate_cluster_planning.py"


@pytest.mark.sweep
def test_all_figures_of_the_planning_of_clusters_are_what_the_simulation_gives() -> None:
    made = runpy.run_path(str(GUIDES / "generate_cluster_planning.py"))
    assert json.loads((GUIDES / "cluster-planning.json").read_text("utf-8")) == made["measured"]()


ROOMS = ("orchestrator", "agents", "personas", "providers")
CODE = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
WITH_FILES = [*CODE, ROOT / "CHANGELOG.md", ROOT / "AGENTS.md"]
TOLD_FILES = [
    *(file for room in (*ROOMS, "examples") for file in (ROOT / room).rglob("*") if file.suffix in TEXTS),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "AGENTS.md", "pyproject.toml", "benchmarks/README.md")),
]


def commanded(text: str) -> list[str]:
    """Return what a text of ours asks `orchestrator docs` for."""
    named = re.findall(r"(?<!\w)orchestrator docs ([\w/.#-]+)", text)
    return [one.rstrip(".") for one in named if not one.startswith(("-", "PAGE"))]


def linked(text: str) -> list[str]:
    """Return the files of `docs/` that a text names, with the anchor."""
    return re.findall(r"(?<![\w/.])docs/[\w/-]+\.md(?:#[\w-]+)?", text)


def test_pages_that_a_text_names_are_found() -> None:
    told = 'hint = "see `orchestrator docs limits`" # docs/sources.md#turns, orchestrator docs PAGE; a.b/docs/x.md'
    assert (commanded(told), linked(told)) == (["limits"], ["docs/sources.md#turns"])


def test_every_page_that_a_message_names_exists() -> None:
    """In messages, hints, comments and examples: a reader who follows one arrives."""
    pages = pages_in(DOCS)
    for file in TOLD_FILES:
        for name in commanded(file.read_text("utf-8")):
            try:
                find_page(name, pages)
            except NoSuchPage as error:
                raise AssertionError(f"{file.relative_to(ROOT)} names {name}: {error}; {error.hint}") from None
    by_path = {page.path.relative_to(ROOT).as_posix(): page for page in pages.values()}
    for file in WITH_FILES:
        for name in linked(file.read_text("utf-8")):
            path, _, anchor = name.partition("#")
            assert path in by_path, f"{file.relative_to(ROOT)} names {name}"
            assert not anchor or by_path[path].part(anchor), f"{file.relative_to(ROOT)} names {name}"
