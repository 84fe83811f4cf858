"""`docs`: lists, prints, opens and searches the pages, of a checkout and of an installed package."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli.documentation import NoSuchPage, documentation_folder, find_page, pages_in, search_pages
from orchestrator.cli.exits import Exit
from tests.patience import PATIENCE_S

PAGES = {
    "index.md": "# Front\n\n```{toctree}\n:hidden:\n\nguides/index\nreference/index\nproject\n```\n",
    "project.md": "# The project\n\n```{toctree}\ndesign\n```\n",
    "design.md": "# Design\n\nWhy, and why not.\n",
    "stray.md": "# Stray\n",
    "guides/index.md": "# Guides\n\n```{toctree}\n:glob:\n\ntools\n*\n```\n\nHow to.\n",
    "guides/agents.md": "# Agents\n\n## Their tools\n\n```sh\n# no heading\n```\n\n### Deep\n\nTwo.\n\n## Models\n",
    "guides/squads.md": "# Squad files\n\nA budget of a day, a budget and a squad.\n",
    "guides/tools.md": "# Tools\n\nThe budget,\nthe day.\n",
    "reference/index.md": "# Reference\n\n```{toctree}\n:glob:\n\n*\n```\n",
    "reference/problems.md": "# Problems\n\n### `unknown-field`\n\nNo such field.\n\n### `tag`\n\nA tag.\n",
    "reference/api/index.md": "# Python API\n\n## All names\n",
    "reference/api/tools.md": "# Python tools\n\n## tool\n\nMakes.\n\n## Tool\n\nIs.\n\n### Tool.call\n\nDoes.\n",
    "reference/squad.md": "# The squad file\n\nEvery field.\n",
}


@pytest.fixture
def pages(tmp_path):
    for name, text in PAGES.items():
        (tmp_path / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pages" / name).write_text(text, "utf-8")
    return pages_in(tmp_path / "pages")


def test_pages_come_in_the_order_of_the_site_and_those_of_no_tree_last(pages):
    assert list(pages) == [
        *("guides", "guides/tools", "guides/agents", "guides/squads"),
        *("reference", "reference/problems", "reference/squad", "project", "design", "reference/api"),
        *("reference/api/tools", "stray"),
    ]


@pytest.mark.parametrize(
    ("wanted", "page", "anchor"),
    [
        ("guides/tools", "guides/tools", ""),
        ("docs/guides/tools.md", "guides/tools", ""),
        ("TOOLS", "guides/tools", ""),
        ("tool", "guides/tools", ""),
        ("guides/index.md", "guides", ""),
        ("squad files", "guides/squads", ""),
        ("squad", "reference/squad", ""),
        ("squad file", "guides/squads", ""),
        ("unknown-field", "reference/problems", "unknown-field"),
        ("their tools", "guides/agents", "their-tools"),
        ("agents#deep", "guides/agents", "deep"),
        ("Tool", "reference/api/tools", "tool-1"),
        ("agents.Tool", "reference/api/tools", "tool-1"),
        ("Tool.call", "reference/api/tools", "toolcall"),
        ("agents.tool", "reference/api/tools", "tool"),
    ],
)
def test_a_page_has_many_names(pages, wanted, page, anchor):
    found = find_page(wanted, pages)
    assert (found.page.name, found.anchor) == (page, anchor)


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("agnets", "did you mean guides/agents?"),
        ("unknwon-field", "did you mean unknown-field?"),
        ("agents#modles", "did you mean guides/agents#models?"),
        ("agents#xyzzy", "it has their-tools, deep, models"),
        ("xyzzy", "`orchestrator docs` lists the pages, `orchestrator docs --search WORDS` looks into them"),
    ],
)
def test_a_misspelt_name_is_told_what_it_may_mean(pages, wanted, hint):
    with pytest.raises(NoSuchPage) as caught:
        find_page(wanted, pages)
    assert caught.value.hint == hint


@pytest.mark.parametrize("wanted", ["", " ", "#inputs", "/", "docs/"])
def test_no_name_is_no_page(pages, wanted):
    with pytest.raises(NoSuchPage, match="no page is called"):
        find_page(wanted, pages)


def test_what_else_may_be_meant_is_named(pages):
    assert find_page("squad", pages).others == ("guides/squads",)


def test_a_part_ends_where_the_next_one_of_its_level_begins(pages):
    part = pages["guides/agents"].part("their-tools")
    assert (part[0], part[-2]) == ("## Their tools", "Two.")
    assert "# no heading" in part
    assert pages["guides/agents"].part("no-heading") == ()


def test_words_are_found_in_one_page_in_any_lines_the_best_page_first(pages):
    hits = search_pages(["BUDGET", "day"], pages)
    assert [(hit.page, hit.line) for hit in hits] == [("guides/squads", 3), ("guides/tools", 3), ("guides/tools", 4)]
    assert search_pages(["udget"], pages) == []


def test_pages_are_those_of_the_package_where_it_has_any(tmp_path):
    package = tmp_path / "orchestrator"
    assert documentation_folder(package) == tmp_path / "docs"
    (package / "documentation").mkdir(parents=True)
    (package / "documentation" / "index.md").write_text("# Front\n")
    assert documentation_folder(package) == package / "documentation"


def test_it_lists_prints_and_tells_where_a_page_stands(call):
    listed = call("docs")
    assert listed.code == Exit.DONE
    assert "  guides/limits  " in listed.out
    assert "orchestrator docs PAGE" in listed.err
    printed = call("docs", "limits")
    assert printed.out.startswith("# Limits")
    where = Path(call("docs", "limits", "--path").out.strip())
    assert where.read_text("utf-8").strip() == printed.out.strip()
    assert Path(call("docs", "--path").out.strip()) == documentation_folder()


def test_a_printed_page_has_no_tree_of_the_site(call):
    printed = call("docs", "guides")
    assert printed.out.startswith("# Guides")
    assert "toctree" not in printed.out


def test_a_problem_is_explained_by_its_code(call):
    printed = call("docs", "unknown-field")
    assert printed.out.startswith("### `unknown-field`")
    assert printed.out.count("###") == 1


def test_mistakes_are_told(call):
    missing = call("docs", "limtis")
    assert (missing.code, "did you mean guides/limits?" in missing.err) == (Exit.NOTHING, True)
    nothing = call("docs", "--search", "xyzzyx")
    assert (nothing.code, "xyzzyx" in nothing.err) == (Exit.NOTHING, True)
    assert call("docs", "--search").code == Exit.USAGE
    assert call("docs", "limits", "--open", "--path").code == Exit.USAGE


def test_words_are_found_with_their_page_and_line(call):
    out = call("docs", "--search", "webhook", "address").out
    assert "guides/budgets  Budgets" in out
    text = (documentation_folder() / "guides" / "budgets.md").read_text("utf-8").splitlines()
    line = 1 + next(at for at, words in enumerate(text) if words.strip().startswith("webhook_env:"))
    assert f"\n  {line}: webhook_env" in out


def test_it_opens_the_built_site_else_the_markdown(spawn, tmp_path):
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    ended = spawn("docs", "limits#limits-over-several-machines", "--open", BROWSER=str(browser))
    assert ended.returncode == 0, ended.stderr
    built = documentation_folder().parent / "build" / "site" / "guides" / "limits.html"
    page = documentation_folder() / "guides" / "limits.md"
    wanted = f"{built.as_uri()}#limits-over-several-machines" if built.is_file() else page.as_uri()
    assert opened.read_text().strip() == wanted


def test_on_a_terminal_a_page_is_drawn(tmp_path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "orchestrator", "docs", "limits"]
    environ = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": str(documentation_folder().parent)}
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, cwd=tmp_path, env=environ) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 65536):
                shown += piece
        except OSError:  # Linux's word for the end of a terminal
            pass
        assert process.wait(PATIENCE_S) == 0
    os.close(leader)
    text = shown.decode()
    assert "\x1b[" in text
    assert "**One call.**" not in text
    assert "One call." in text
