"""The programs of docs/comparisons run as they stand, without a key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from orchestrator import Squad, run_sync

COMPARISONS = Path(__file__).parents[2] / "docs" / "comparisons"
PAGES = ("autogen", "crewai", "langgraph", "litellm")


def blocks(page: str, language: str) -> list[str]:
    text = (COMPARISONS / f"{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "litellm"])
def test_the_squad_of_a_page_runs(page):
    (text,) = blocks(page, "yaml")
    squad = Squad.from_text(text, page)
    assert squad.warnings == ()
    result = run_sync(squad, offline=True)
    assert (result.status, result.errors) == ("waiting" if "approval:" in text else "done", {})


def test_the_routing_file_of_a_page_is_sound():
    (text,) = blocks("litellm", "yaml")
    squad = Squad.from_text(
        "name: x\nagents: {a: {role: r}}\ntasks: {t: {agent: a, description: d}}\n", routing=yaml.safe_load(text)
    )
    assert squad.warnings == ()
    assert squad.policy.strategy == "latency"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "crewai"])
def test_the_python_of_a_page_runs(page, capsys):
    (code,) = blocks(page, "python")
    exec(compile(code, page, "exec"), {"__name__": page})  # our own page
    assert capsys.readouterr().out.strip()
