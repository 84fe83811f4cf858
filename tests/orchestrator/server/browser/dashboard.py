"""What the browser tests share: `orchestrator serve` as a process, Debian's Chromium, and what a page must not do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from tests.components import absent
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE_MS = PATIENCE_S * 1000
NEEDED = "Chromium and Playwright: apt-get install chromium; pip install -e '.[browser]'"
DEMO = Path(__file__).parents[4] / "examples/serve-demo/demo.py"
QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")
"""What Chromium would do beside showing the page; sandboxed by nothing, since CI is root."""
KEPT_IN = os.environ.get("ORCHESTRATOR_SCREENSHOTS")
"""A folder in which the screenshots of the pages are kept, for README and docs/."""


class ServerProcess:
    """`orchestrator serve` as a process on one port, which may be killed and started anew. Without squads it is the
    one of examples/serve-demo, with its providers. Without a routing file the offline stub answers."""

    def __init__(self, folder: Path, *squads: Path, routing: Path | None = None) -> None:
        self.folder, self._squads, self._routing, self._port = folder, squads, routing, 0
        self.address = self.link = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        where = ["--state", str(self.folder)]
        asks = ["--offline"] if self._routing is None else ["--routing", str(self._routing)]
        serve = ["-m", "orchestrator", *where, "serve", *map(str, self._squads), *asks]
        command = [sys.executable, *(serve if self._squads else [str(DEMO), *where, "--runs", "2"])]
        self._process = subprocess.Popen(
            [*command, "--port", str(self._port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        told = []
        for line in self._process.stdout:
            told.append(line)
            if found := re.search(r"(http://\S+:(\d+))/login\?token=\S+", line):
                self.link, self.address, self._port = found[0], found[1], int(found[2])
                return
        raise AssertionError("".join(told))

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def api(self, path: str, body: Any = None) -> Any:
        """Ask the API as a program does."""
        token = (self.folder / "server-token").read_text("utf-8").strip()
        headers = {"authorization": f"Bearer {token}"}
        method = "GET" if body is None else "POST"
        answer = httpx2.request(method, self.address + path, json=body, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code < 400, (path, answer.text)
        return answer.json()


@contextmanager
def serving(folder: Path, *squads: Path, routing: Path | None = None) -> Iterator[ServerProcess]:
    """Yield a server that runs."""
    server = ServerProcess(folder, *squads, routing=routing)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser. Skips where there is none; never under CI."""
    program = shutil.which("chromium")
    if program is None or find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        absent(NEEDED)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", *(f"--disable-{one}" for one in QUIET)]
        )
        yield browser
        browser.close()


class Watched:
    """A page of a browser that is logged in, with all that it complained of and all that it asked elsewhere for."""

    def __init__(self, context: BrowserContext, server: ServerProcess) -> None:
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on(
            "console", lambda said: self.faults.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", self._asked)
        self._server = server

    def _said(self, said: Any) -> None:
        if said.type in ("error", "warning"):
            self.faults.append(said.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self._server.address, "data:", "about:")):
            self.faults.append(f"asked for {request.url}")

    def go(self, path: str) -> Page:
        """Open a page of the server."""
        self.page.goto(self._server.address + path, wait_until="load")
        return self.page


@contextmanager
def logged_in(
    browser: Browser, server: ServerProcess, cookies: list[Any] | None = None, **options: Any
) -> Iterator[Watched]:
    """Yield a page in a context of its own. `cookies`: those of a session that a link has opened before."""
    context = browser.new_context(**options)
    try:
        if cookies:
            context.add_cookies(cookies)
        yield Watched(context, server)
    finally:
        context.close()


def session_of(browser: Browser, server: ServerProcess) -> list[Any]:
    """Follow the server's link, and return the cookies of the session that it opens."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.link)
    assert page.url == server.address + "/"
    cookies = list(context.cookies())
    context.close()
    return cookies


def overflow_of(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def squeezed_in(page: Page) -> list[str]:
    """Return the texts of a page that stand in a column of a few letters."""
    found = """
    [...document.querySelectorAll("main :not(svg, svg *)")].filter(one => one.children.length === 0
      && one.textContent.trim().length > 3 && one.clientWidth > 0 && one.clientWidth < 40 && one.clientHeight > 72)
      .map(one => one.textContent)
    """
    return list(page.evaluate(found))


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with a page by WCAG 2.2 AA."""
    from axe_playwright_python.sync_playwright import Axe

    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": rules}}).response["violations"]
    return [json.dumps([one["id"], one["help"], [node["html"][:200] for node in one["nodes"]][:3]]) for one in found]


def keep(page: Page, name: str) -> None:
    """Keep a screenshot, of the first 2,000 pixels, where one is wanted."""
    if KEPT_IN:
        Path(KEPT_IN).mkdir(parents=True, exist_ok=True)
        width, height = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        shown: Any = {"x": 0, "y": 0, "width": width, "height": min(height, 2000)}
        page.screenshot(path=f"{KEPT_IN}/{name}.png", full_page=True, clip=shown)
