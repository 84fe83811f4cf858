"""What the dashboard costs: its pages over a long record, and many of them open while a run goes on.

    python -m benchmarks.gateway.pages --server mockllm [--runs 10000] [--tasks 1000] [--dashboards 100] [--seconds 20]
                                       [--record FILE] [--browser CHROMIUM]

`mockllm` is the loopback model server of the neutral benchmark that `../README.md` names. The record is made anew, or
kept in `--record` for the next time. Of each page stand how long a request took until its last byte (the first one,
and the middle of seven), the CPU that both took the server, and its size; with a browser (and playwright) when
something was painted first. Then so many streams of the page Now are open while a run goes on, and the server's CPU
beside that of the same run without them.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, median

from benchmarks.gateway.processes import Gateway, ours, upstream
from benchmarks.gateway.recorded import LARGE, record
from orchestrator.server.pages.registry import PAGES

TIMES = 7
SETTLE_S = 4.0


class Dashboard:
    """A browser that is logged in at a server, as far as its requests go."""

    def __init__(self, gateway: Gateway, link: str) -> None:
        self.gateway, self.port = gateway, gateway.ports["whole"]
        self.cookie = self.asked("GET", link)[1].getheader("set-cookie", "").partition(";")[0]
        assert self.cookie, "the link did not log in"

    def asked(self, method: str, path: str, body: str | None = None) -> tuple[bytes, http.client.HTTPResponse]:
        cookie = {"cookie": self.cookie} if hasattr(self, "cookie") else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, {**cookie, "content-type": "application/json"})
        reply = connection.getresponse()
        return reply.read(), reply

    def figures(self, path: str) -> tuple[float, float, float, float, int, int]:
        """Return ms of the first request and of the middle one, ms of CPU of both, the status and the bytes."""
        took, cpu = list[float](), list[float]()
        for _ in range(TIMES + 1):
            before, began = self.gateway.cpu_s("whole"), time.perf_counter()
            body, reply = self.asked("GET", path)
            took.append((time.perf_counter() - began) * 1000)
            cpu.append((self.gateway.cpu_s("whole") - before) * 1000)
        return took[0], median(took[1:]), cpu[0], mean(cpu[1:]), reply.status, len(body)


def paths(given: list[str]) -> Iterator[str]:
    """Yield the addresses of all pages; those of one run for the run of many tasks."""
    for page in PAGES:
        path = page.path.replace("{run}", LARGE)
        if "{" not in path:
            yield path
    yield from given


async def listen(port: int, cookie: str, number: int, seconds: float) -> int:
    """Be one open dashboard for so long; return the bytes that it heard. Each is a sender of its own: one session may
    have so many streams and no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /live?page=/ HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: {cookie}\r\nauthorization: Basic {number}\r\n\r\n"
    writer.write(head.encode())
    heard, until = 0, time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            heard += len(await asyncio.wait_for(reader.read(65536), left))
        except TimeoutError:
            break
    writer.close()
    return heard


def share(dashboard: Dashboard, open_at_once: int, seconds: float) -> tuple[float, int]:
    """Return the share of a core that the server takes while a run goes on, and the bytes that the pages heard.

    What it takes to open the pages does not count.
    """
    body, reply = dashboard.asked("POST", "/api/runs", json.dumps({"squad": "slow"}))
    assert reply.status == 201, body

    async def measured() -> tuple[float, int]:
        whole = SETTLE_S + seconds
        ends = [
            asyncio.create_task(listen(dashboard.port, dashboard.cookie, number, whole))
            for number in range(open_at_once)
        ]
        await asyncio.sleep(SETTLE_S)
        before, began = dashboard.gateway.cpu_s("whole"), time.monotonic()
        await asyncio.sleep(seconds)
        used, passed = dashboard.gateway.cpu_s("whole") - before, time.monotonic() - began
        return used / passed, sum(await asyncio.gather(*ends))

    found = asyncio.run(measured())
    dashboard.asked("POST", f"/api/runs/{json.loads(body)['run_id']}/cancel")
    time.sleep(SETTLE_S)
    return found


def painted(browser: str, port: int, cookie: str, path: str) -> float:
    """Return after how many ms a browser that was on another page has painted something of this one: the median."""
    from playwright.sync_api import sync_playwright

    name, _, value = cookie.partition("=")
    with sync_playwright() as play:
        window = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        context = window.new_context()
        context.add_cookies([{"name": name, "value": value, "url": f"http://127.0.0.1:{port}"}])
        took, page = list[float](), context.new_page()
        script = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        for _ in range(TIMES):
            page.goto(f"http://127.0.0.1:{port}/login")
            page.goto(f"http://127.0.0.1:{port}{path}")
            while not (at := page.evaluate(script)):  # its policy allows no `wait_for_function`
                page.wait_for_timeout(20)
            took.append(at)
        window.close()
    return median(took)


SLOW = """
version: 1
name: slow
agents: {ann: {role: writer, goal: Write what is asked., model: up-slow/gpt-4o-mini}}
inputs: {parts: {type: list, default: [%s]}}
tasks:
  part:
    agent: ann
    description: Write ${{ item }}.
    for_each: ${{ inputs.parts }}
    key: ${{ item }}
    max_parallel: 2
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--server", type=Path, required=True)
    options.add_argument("--runs", type=int, default=10_000)
    options.add_argument("--tasks", type=int, default=1_000)
    options.add_argument("--dashboards", type=int, default=100)
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--record", type=Path)
    options.add_argument("--browser")
    options.add_argument("--page", action="append", default=[], help="one more address to ask for")
    given = options.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept = (given.record or folder / "journal.db").absolute()
        if not kept.exists():
            asyncio.run(record(kept, given.runs, given.tasks))
        (folder / "slow.yaml").write_text(SLOW % ", ".join(f"P-{number}" for number in range(500)))
        stack.enter_context(upstream(given.server.resolve(), folder))
        more = ["slow.yaml", "--db", f"sqlite:///{kept}"]
        gateway = stack.enter_context(ours(folder, more=more))
        link = next(word for word in (folder / "ours.log").read_text().split() if "/login?token=" in word)
        dashboard = Dashboard(gateway, "/login?" + link.partition("?")[2])
        time.sleep(SETTLE_S)
        print(f"{given.runs:,} runs, one of {given.tasks:,} tasks; load average {os.getloadavg()[0]:.1f}\n")
        print(
            "| page | first, ms | again, ms | CPU of the first, ms | CPU again, ms | bytes |"
            + (" painted, ms |" if given.browser else "")
        )
        print("|---|---|---|---|---|---|" + ("---|" if given.browser else ""))
        for path in paths(given.page):
            first, again, cpu, later, status, size = dashboard.figures(path)
            at = "" if status == 200 else f" (status {status})"
            seen = f" {painted(given.browser, dashboard.port, dashboard.cookie, path):.0f} |" if given.browser else ""
            print(f"| {path}{at} | {first:.0f} | {again:.0f} | {cpu:.0f} | {later:.0f} | {size:,} |{seen}", flush=True)
        if given.dashboards:
            alone, _ = share(dashboard, 0, given.seconds)
            watched, heard = share(dashboard, given.dashboards, given.seconds)
            print(
                f"\nA run of 10 turns a second alone: {alone:.1%} of a core; with {given.dashboards} dashboards open:"
            )
            print(
                f"{watched:.1%}, so they take {watched - alone:.1%}. Each heard {heard / given.dashboards:,.0f} bytes."
            )
        print(f"RSS {gateway.rss_mb():.0f} MB; load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
