"""The pages that begin with a goal: their squads run, and their commands do what the pages say, without a key."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from orchestrator import Squad

GUIDES = Path(__file__).parents[3] / "docs" / "guides"
PAGES = (
    "human-approval",
    "resume-and-replay",
    "fan-out",
    "pipeline",
    "review-loop",
    "debate",
    "triage",
    "many-free-tiers",
)
NAMED_FILE = re.compile(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
WAITS = {"run approval.yaml --run-id mail-1", "runs resume mail-1"}
"""Commands that end with 7, as a person must answer. The last `resume` is after the approval: see below."""


def read(page: str) -> str:
    return (GUIDES / f"{page}.md").read_text("utf-8")


def commands(text: str) -> list[str]:
    """Return the commands of the page, without what a shell would take for itself."""
    lines = [line.partition(" #")[0].partition(" <")[0].strip() for line in "".join(SHELL.findall(text)).splitlines()]
    return [line.removeprefix("orchestrator ") for line in lines if line.startswith("orchestrator ")]


@pytest.mark.few(3)
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_says(page, folder, call):
    text = read(page)
    for name, content in NAMED_FILE.findall(text):
        (folder / name).write_text(content, "utf-8")
    (folder / "cities.json").write_text('["Oslo"]')
    (folder / "mail.txt").write_text("The app does not start.")
    said = commands(text)
    assert len(said) > 0
    approved = False
    for command in said:
        approved = approved or "approvals approve" in command
        done = call(*shlex.split(command))
        assert done.code == (7 if command in WAITS and not approved else 0), (command, done)


@pytest.mark.parametrize("page", PAGES)
def test_the_squads_of_a_page_are_sound(page):
    squads = [content for _, content in NAMED_FILE.findall(read(page)) if "\ntasks:" in content]
    assert squads or page == "many-free-tiers"
    for text in squads:
        assert Squad.from_text(text, page).warnings == ()


@pytest.mark.long
def test_the_figures_of_free_tiers_are_what_the_simulation_says(folder, call):
    text = read("many-free-tiers")
    (scenario,) = [content for name, content in NAMED_FILE.findall(text) if name == "day.yaml"]
    (folder / "day.yaml").write_text(scenario)
    out = call("simulate", "day.yaml").out
    (block,) = re.findall(r"^```text\n(CLAIM.*?)^```", text, re.MULTILINE | re.DOTALL)
    shown = block.splitlines()
    assert len(shown) > 6
    for line in shown:
        assert line == "..." or line in out
