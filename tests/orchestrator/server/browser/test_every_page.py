"""Every page, as people see it: light and dark, wide and 320 px, with and without scripts, by keyboard."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
    squeezed_in,
    violations,
)
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.long
REACHED = "a[href], button, input:not([type=hidden]), select, textarea, summary"
SHOWN = """
(() => {
  const one = document.activeElement, boxes = [...one.querySelectorAll("rect")];
  return one === document.body || getComputedStyle(one).outlineStyle !== "none"
    || boxes.some(box => parseFloat(getComputedStyle(box).strokeWidth) >= 2);
})()
"""
"""Whether what has the focus shows it; in the task graph by a thick line around its box."""
WAYS = [
    ("light", 1280),
    ("dark", 320),
    *(pytest.param(*way, marks=pytest.mark.sweep) for way in (("dark", 1280), ("light", 320))),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("state")) as served:
        yield served


@pytest.fixture(scope="module")
def cookies(browser: Browser, server: ServerProcess) -> list[Any]:
    return session_of(browser, server)


@pytest.fixture(scope="module")
def paths(browser: Browser, server: ServerProcess, cookies: list[Any]) -> dict[str, str]:
    """The pages by name: with a run that awaits approval in the place of `{run}`, and a chat in that of `{chat}`."""
    until = time.monotonic() + PATIENCE_S
    while not (waiting := server.api("/api/approvals")["approvals"]):
        assert time.monotonic() < until
        time.sleep(0.2)
    with logged_in(browser, server, cookies) as watched:
        page = watched.go("/chat")
        page.get_by_label("Your message").fill("Where do I begin?")
        page.get_by_role("button", name="Begin a chat").click()
        page.wait_for_url("**/chat/*")
        chat = page.url.rpartition("/")[2]
    return {page.name: page.path.format(run=waiting[0]["run_id"], chat=chat) for page in PAGES}


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
        assert squeezed_in(page) == []
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
        things = (
            "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]"
        )
        wanted = set(
            page.evaluate(f"{things}.flatMap((one, at) => one.checkVisibility() && !one.disabled ? [at] : [])")
        )
        reached: set[int] = set()
        for _ in range(5 * len(wanted) + 20):  # texts that scroll are reached as well
            page.keyboard.press("Tab")
            reached.add(page.evaluate(f"{things}.indexOf(document.activeElement)"))
            assert page.evaluate(SHOWN), page.evaluate("document.activeElement.outerHTML")
            if wanted <= reached:
                break
        assert wanted <= reached
