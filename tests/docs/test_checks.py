"""Each check of the pages finds what is wrong, and leaves alone what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import block_problems, unknown_extras
from tests.docs.pages import ROOT, Page, dead_links, missing_entries, reached

SQUAD = "name: a\nagents: {ann: {persona: analyst}}\ntasks: {x: {agent: ann, description: Do it.}}\n"


def found(text: str, folder: Path, name: str = "page.md") -> str:
    return "\n".join(block_problems(Page(folder / name, text), folder / "beside"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "beside").mkdir()
    return tmp_path


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


@pytest.mark.parametrize(
    ("language", "text", "wrong"),
    [
        ("", "ls", "no language"),
        ("pyhton", "x = 1", "nothing is known of the language 'pyhton'"),
        ("yaml rong", SQUAD, "nothing is known of rong"),
        ("yaml", "agents: [", "yaml"),
        ("yaml", SQUAD.replace("persona", "persna"), "'persna' is not a field"),
        ("yaml", SQUAD.replace("agent: ann", "agent: bob"), "unknown-agent"),
        ("yaml", "agents: {ann: {persona: analyst, goall: x}}", "'goall' is not a field"),
        ("yaml", "budget: {max_cost_per_dya: 5}", "'max_cost_per_dya' is not a field"),
        ("yaml", "descriptoin: Do it.", "it fits no file of ours"),
        ("yaml", "agent: ann\ndescriptoin: Do it.", "it fits no file of ours"),
        ("yaml", "- {name: a case, expects: {}}", "'expects' is not a field"),
        ("yaml", "squad: x.yaml\ncases: [{name: a, expect: {runn: {}}}]", "'runn' is not a field"),
        ("yaml", "load: [{count: 1, ovr: 8h}]\nproviders: {groq: {}}", "'ovr' is not a field"),
        ("yaml", "role: Sells.\nprincipels: [x]", "it fits no file of ours"),
        ("yaml wrong", SQUAD, "nothing wrong is found"),
        ("sh wrong", "orchestrator run squad.yaml", "nothing wrong is found"),
        ("yaml other", "a: [", "it is no yaml"),
        ("json", "{'a': 1}", "it is no json"),
        ("toml", "a = ", "it is no toml"),
        ("ini", "a = 1", "it is no ini"),
        ("python", "def f(:", "line 1"),
        ("python", "from orchestrator import Squid", "Squid"),
        ("python", "import orchestrator.squids", "orchestrator.squids"),
        ("python", "from orchestrator import Squad\nSquad.from_fiel('x')", "there is no from_fiel"),
        ("python", "import orchestrator\norchestrator.run_squid()", "there is no run_squid"),
        ("python", "from orchestrator import run_sync\nrun_sync(squad, ofline=True)", "run_sync takes no ofline"),
        ("python", "import anyio\nprint(Squad)", "Squad is not imported: from orchestrator import Squad"),
        ("sh", "orchestrator rnu squad.yaml", "There is no command 'rnu'"),
        ("sh", "python -m orchestrator run squad.yaml --offlin", "No such option"),
        ("sh", "orchestrator runs ls && orchestrator runs show", "Missing argument"),
        ("sh", "orchestrator providers ls more", "unexpected more"),
        ("sh", "orchestrator validate squad.yaml --format yaml", "'yaml' is not one of"),
        ("sh", "A=1 .venv/bin/orchestrator run squad.yaml --timeout", "requires an argument"),
        ("sh", 'X="$(orchestrator rnus ls)"', ""),
        ("sh", "x=$(orchestrator rnus ls)", "There is no command 'rnus'"),
        ("sh", "orchestrator run squd.yaml", "squd.yaml: there is no such file"),
        ("sh", "python examples/embd.py", "examples/embd.py: there is no such file"),
        ("sh", "orchestrator run squad.yaml \\\n  --ofline", "No such option"),
        ("sh", "echo 'never closed", "No closing quotation"),
        ("console", "$ orchestrator rnus ls\nls", "There is no command 'rnus'"),
    ],
)
def test_what_is_wrong_is_found(folder, language, text, wrong):
    said = found(fenced(language, text), folder)
    assert wrong in said
    assert said or not wrong


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("yaml", SQUAD),
        ("yaml", "agents: {ann: {persona: analyst}}"),
        ("yaml", "agents: {ann: {chain: [groq/openai/gpt-oss-120b]}}"),
        ("yaml", "agent: ann\ndescription: Do it."),
        ("yaml", "- {name: a case, inputs: {x: 1}}"),
        ("yaml", "role: Sells bread.\nprinciples: [Be kind.]"),
        ("yaml", "scrape_configs: [{job_name: x}]"),
        ("yaml other", "crew: {agents: [x]}"),
        ("yaml wrong", SQUAD.replace("persona", "persna")),
        ("python", "async with open_run(squad) as run:\n    async for event in run: ..."),
        ("python", "from agents import Agent\nasync def f(m): await Agent('a', manager=m).work('x')"),
        ("sh", "orchestrator run squad.yaml -i idea='a # b' # --no-such-option"),
        ("sh", "orchestrator runs resume RUN | tee x && orchestrator trust DIR > kept.json"),
        ("sh", "cat > x.yaml <<'EOF'\norchestrator rnus\nEOF\norchestrator run x.yaml"),
        ("sh", "orchestrator simulate examples/scenario.yaml --chart day.svg"),
        ("console", "$ orchestrator runs ls\norchestrator rnus"),
        ("sh wrong", "orchestrator rnus"),
        ("text", "orchestrator rnus"),
    ],
)
def test_what_is_right_is_left_alone(folder, language, text):
    assert found(fenced(language, text), folder) == ""


def test_a_squad_is_read_beside_the_files_that_its_page_shows(folder):
    squad = SQUAD.replace("persona: analyst", "persona: analyst, tools: [t]") + 'tools: {t: {python: "t.py:f"}}\n'
    right = fenced("python", "# t.py\ndef f(x: int) -> int:\n    return x") + fenced("yaml", squad)
    assert found(right, folder) == ""
    other = folder / "other"
    (other / "beside").mkdir(parents=True)
    assert "t.py defines no 'f'" in found(right.replace("def f", "def g"), other)


def test_a_conflict_that_was_left_is_found(folder):
    assert "page.md:1: a conflict" in found("<<<<<<< HEAD\none\n", folder)


def test_names_of_earlier_blocks_are_known_in_later_ones(folder):
    first = fenced("python", "from orchestrator import Squad")
    assert found(first + fenced("python", "import anyio\nprint(Squad)"), folder) == ""


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        ("other.md", ""),
        ("other.md#a-part", ""),
        ("other.md#a-part-1", ""),
        ("#here--there", ""),
        ("https://example.com/#x", ""),
        ("othr.md", "no such file"),
        ("Other.md", "no such file"),
        ("other.md#a-prat", "no such heading"),
        ("#hree", "no such heading"),
        ("/other.md", "from the page's folder"),
    ],
)
def test_dead_links_are_found(tmp_path, target, wrong):
    (tmp_path / "other.md").write_text("# Other\n\n## A `part`\n\n## A part\n")
    said = list(dead_links(Page(tmp_path / "page.md", f"# Here & there\n\n[x]({target}) ![y]({target})\n")))
    assert len(said) == (2 if wrong else 0)
    assert all(wrong in one for one in said)


def test_a_link_in_html_counts_and_one_in_code_does_not(tmp_path):
    page = Page(tmp_path / "page.md", '<img src="gone.png">\n\n`[x](gone.md)`\n\n```text\n[x](gone.md)\n```\n')
    assert ["gone.png" in one for one in dead_links(page)] == [True]


def test_pages_outside_the_tree_and_entries_without_a_page_are_found(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "index.md").write_text("```{toctree}\n:hidden:\n\na\nmore/index\ngone\n```\n")
    (tmp_path / "more" / "index.md").write_text("```{toctree}\n:glob:\n\n*\n```\n")
    for name in ("a.md", "stray.md", "more/b.md"):
        (tmp_path / name).write_text("# A page\n")
    assert {path.name for path in set(tmp_path.rglob("*.md")) - reached(tmp_path)} == {"stray.md"}
    assert list(missing_entries(tmp_path)) == ["index.md: gone"]


def test_extras_that_the_project_has_not_are_found():
    text = "pip install 'squad-orchestrator[mcp,clutser]' && pip install -e '.[srever]' -e \".[docs]\" && f(x)[1]"
    assert unknown_extras(text, frozenset({"mcp", "docs"})) == {"clutser", "srever"}


def test_the_checks_are_of_this_checkout():
    assert (ROOT / "docs" / "index.md").is_file()
