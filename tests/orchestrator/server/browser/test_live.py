"""A page that is looked at while a run goes on, and while the server is killed and comes back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.orchestrator.server.browser.dashboard import logged_in, serving, session_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.long
SQUAD = """
name: notes
agents: {ann: {persona: analyst}}
tasks:
  draft: {agent: ann, description: Write.}
  gate: {needs: [draft], approval: {prompt: "Is it good?", show: [draft]}}
  tell: {agent: ann, needs: [gate], description: Tell it.}
"""


def test_of_two_who_answer_the_second_loses_no_word(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text(SQUAD, "utf-8")
    with serving(tmp_path / "state", file) as server:
        cookies = session_of(browser, server)
        run = server.api("/api/runs", {"squad": "notes"})["run_id"]
        with logged_in(browser, server, cookies) as first, logged_in(browser, server, cookies) as second:
            first.go(f"/runs/{run}").get_by_role("button", name="Approve").wait_for()
            page = second.go("/approvals")
            page.get_by_label("A comment that the agents read").fill("My <b>careful</b> words")
            first.page.get_by_role("button", name="Approve").click()
            page.get_by_text("somebody answered it").wait_for()
            assert "My <b>careful</b> words" in page.locator("main").inner_text()
            assert second.faults == []


def test_a_page_is_live_goes_stale_with_the_server_and_catches_up(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text(SQUAD, "utf-8")
    with serving(tmp_path / "state", file) as server:
        cookies = session_of(browser, server)
        with logged_in(browser, server, cookies) as watched:
            page = watched.go("/")
            page.get_by_text("No run is at work").first.wait_for()
            run = server.api("/api/runs", {"squad": "notes"})["run_id"]
            page.locator("#approvals").get_by_text("Is it good?").wait_for()
            assert page.locator("#stale").is_hidden()
            server.kill()
            page.locator("#stale").wait_for(state="visible")
            assert "connection to the server is lost" in page.locator("#stale").inner_text()
            server.start()
            server.api(f"/api/approvals/{run}", {"choice": "approve"})
            page.locator("#latest").get_by_text("done").wait_for()
            page.locator("#stale").wait_for(state="hidden")
            page.locator("#approvals").get_by_text("Nothing awaits approval").wait_for()


def test_costs_and_decisions_follow_a_run(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "notes.yaml"
    file.write_text(SQUAD, "utf-8")
    with serving(tmp_path / "state", file) as server:
        cookies = session_of(browser, server)
        with logged_in(browser, server, cookies) as costs, logged_in(browser, server, cookies) as decisions:
            spent = costs.go("/costs?by=agent").locator("#where")
            assert "Nothing was spent" in spent.inner_text()
            run = server.api("/api/runs", {"squad": "notes"})["run_id"]
            spent.get_by_role("row", name="ann").wait_for()
            turns = decisions.go(f"/decisions/{run}").locator("#decisions article")
            turns.first.wait_for()
            assert turns.count() == 1
            server.api(f"/api/approvals/{run}", {"choice": "approve"})
            turns.nth(1).wait_for()
            assert "2 turns" in decisions.page.locator("#count").inner_text()
            assert (costs.faults, decisions.faults) == ([], [])
