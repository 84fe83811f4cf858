"""Every page, as people see it: light and dark, wide and 320 px, with and without scripts, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.server.pages.registry import PAGES
from tests.orchestrator.server.browser.dashboard import (
    ServerProcess,
    keep,
    logged_in,
    overflow_of,
    serving,
    session_of,
    violations,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.long
SPRINT = Path("examples/sprint.yaml").resolve()
WAYS = [("light", 1280), ("dark", 1280), ("light", 320), ("dark", 320)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("state"), SPRINT) as served:
        yield served


@pytest.fixture(scope="module")
def cookies(browser: Browser, server: ServerProcess) -> list[Any]:
    return session_of(browser, server)


@pytest.fixture(scope="module")
def paths(server: ServerProcess) -> dict[str, str]:
    """The pages by name, with a run that ended in the place of `{run}`."""
    run = server.api("/api/runs", {"squad": "sprint", "inputs": {"idea": "A bike-repair diary"}})["run_id"]
    while server.api(f"/api/runs/{run}")["state"] == "running":
        pass
    return {page.name: page.path.replace("{run}", run) for page in PAGES}


@pytest.mark.parametrize(("scheme", "width"), WAYS)
@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_a_page_is_readable_and_keeps_to_itself(
    name: str,
    scheme: str,
    width: int,
    browser: Browser,
    server: ServerProcess,
    cookies: list[Any],
    paths: dict[str, str],
) -> None:
    size = {"width": width, "height": 900}
    with logged_in(browser, server, cookies, color_scheme=scheme, viewport=size) as watched:
        page = watched.go(paths[name])
        assert violations(page) == []
        assert overflow_of(page) == 0
        keep(page, f"{name}-{scheme}-{width}")
        assert watched.faults == []


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_a_page_without_scripts_says_the_same(
    name: str, browser: Browser, server: ServerProcess, cookies: list[Any], paths: dict[str, str]
) -> None:
    with (
        logged_in(browser, server, cookies, java_script_enabled=False) as plain,
        logged_in(browser, server, cookies) as live,
    ):
        said = plain.go(paths[name]).locator("main").inner_text()
        assert said.strip()
        assert live.go(paths[name]).locator("h1").inner_text() in said


@pytest.mark.parametrize("name", [page.name for page in PAGES])
def test_all_that_can_be_done_can_be_reached_by_keyboard(
    name: str, browser: Browser, server: ServerProcess, cookies: list[Any], paths: dict[str, str]
) -> None:
    with logged_in(browser, server, cookies) as watched:
        page = watched.go(paths[name])
        wanted = page.evaluate(
            "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]"
            ".filter(one => one.checkVisibility() && !one.disabled).length"
        )
        reached = set()
        for _ in range(wanted + 2):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    "[...document.querySelectorAll('a[href], button, input, select, textarea, summary')]"
                    ".indexOf(document.activeElement)"
                )
            )
            if reached and -1 not in reached:
                assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        assert len(reached - {-1}) >= min(wanted, 1)
        assert len(reached - {-1}) == wanted
