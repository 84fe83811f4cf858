"""Load is rebalanced in a browser, by keyboard: previewed, done with a reason, seen by other processes, undone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from providers.client.control_log import ControlLog
from tests.orchestrator.server.browser.dashboard import keep, logged_in, serving, session_of, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.long


def test_a_provider_is_paused_after_a_preview_with_a_reason_and_that_is_undone(
    browser: Browser, tmp_path: Path
) -> None:
    log = ControlLog(tmp_path)
    with serving(tmp_path, Path("examples/sprint.yaml").resolve()) as server:
        cookies = session_of(browser, server)
        with logged_in(browser, server, cookies) as watched, logged_in(browser, server, cookies) as other:
            looking = other.go("/providers")
            page = watched.go("/providers")
            page.get_by_role("link", name="Pause, drain or weigh stub").press("Enter")
            page.get_by_label("Use of stub").press("p")  # the keyboard picks "paused"
            page.get_by_label("so many minutes").fill("30")
            page.get_by_role("button", name="Show what it would change").press("Enter")
            page.get_by_text("stub: in use → paused").wait_for()
            assert (log.stamp(), violations(page)) == (None, [])
            keep(page, "rebalance-preview")
            page.get_by_label("Reason").fill("Ünder <b>maintenance</b>")
            page.get_by_role("button", name="Do it").press("Enter")
            page.get_by_text("Version 1 is set").wait_for()
            assert log.present().holds["stub"].reason == "Ünder <b>maintenance</b>"
            looking.get_by_text("paused by an operator: Ünder <b>maintenance</b>").first.wait_for()
            page.get_by_role("link", name="Undo it").press("Enter")
            page.get_by_label("Reason").fill("it is over")
            page.get_by_role("button", name="Undo it").press("Enter")
            page.get_by_text("Version 2 is set").wait_for()
            keep(page, "load-undone")
            looking.get_by_text("The one model that is set up can be asked now").wait_for()
            assert log.present().holds == {}
            assert (watched.faults, other.faults) == ([], [])
