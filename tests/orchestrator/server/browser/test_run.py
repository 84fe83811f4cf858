"""A run in a browser: approved by keyboard where it stands; hostile words of models and providers are text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.local_servers import Asked, LocalServer, Said
from tests.loopback import USAGE
from tests.orchestrator.server.browser.dashboard import logged_in, overflow_of, serving, session_of, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.long
SQUAD = """
name: hostile
description: "<script>alert('squad')</script>"
inputs: {topic: {default: "\\"><svg onload=alert(1)>", description: "<img src=x onerror=alert(2)>"}}
agents:
  ann: {role: "<b onmouseover=alert(3)>Analyst</b>", goal: Find out.}
tasks:
  draft: {agent: ann, description: "Write of ${{ inputs.topic }}.", output_file: "&lt;img' onerror=alert(4) x='.md"}
  gate: {needs: [draft], approval: {prompt: "Good? <script>alert(5)</script>", show: [draft]}}
  broken: {agent: ann, needs: [gate], description: FAIL}
"""
HOSTILE = "\n".join(
    [
        "<script>alert('xss')</script>",
        "</textarea></title></script><script>alert(1)</script>",
        "<img src=https://evil.example/x.png onerror=alert(1)>",
        "![picture](https://evil.example/y.png) [link](javascript:alert(1))",
        '"><svg/onload=alert(1)>',
        "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
        "<style>*{display:none}</style><link rel=stylesheet href=https://evil.example/z.css>",
        "<meta http-equiv=refresh content='0;url=https://evil.example'>",
        "{{ 7 * 7 }} {% raw %} ${alert(1)} <%= 1 %>",
        "&lt;script&gt;alert(1)&lt;/script&gt; \u202e\u2066 \u0000 \ufeff",
        "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
        "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    ]
)
FOREIGN = "main :is(script, img, iframe, style, link, meta, object, embed, form[action^=http], a[href^=javascript])"


def hostile(asked: Asked) -> Said:
    """Answer with all of it; what is asked to fail fails with words as bad."""
    if "FAIL" in str(asked.body["messages"][-1]):
        return Said(400, {"error": {"message": f"cannot: {HOSTILE}", "type": "invalid_request_error"}})
    message = {"role": "assistant", "content": HOSTILE}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Said(200, {"id": "x", "model": "m", "choices": [choice], "usage": USAGE})


@pytest.fixture
def routing(tmp_path: Path) -> Path:
    """A file that knows one provider; its address is put in where it is served."""
    return tmp_path / "agent_routing.yaml"


def test_a_run_is_approved_in_place_and_what_is_hostile_is_text(
    browser: Browser, tmp_path: Path, routing: Path
) -> None:
    squad = tmp_path / "hostile.yaml"
    squad.write_text(SQUAD, "utf-8")
    with LocalServer({"POST /v1/chat/completions": hostile}).serving() as provider:
        tiers = ", ".join(f"{tier}: [near/m]" for tier in ("boss", "worker", "creative", "fallback"))
        routing.write_text(
            f"version: 1\ntiers: {{{tiers}}}\nlast_resort: []\nproviders:\n  near:\n    dialect: openai-chat\n"
            f"    base_url: {provider.root}/v1\n    models: {{m: {{context: 100000, max_output: 4000}}}}\n",
            "utf-8",
        )
        with serving(tmp_path / "state", squad, routing=routing) as server:
            cookies = session_of(browser, server)
            with logged_in(browser, server, cookies) as watched:
                watched.go("/new-run?squad=hostile")
                run = server.api("/api/runs", {"squad": "hostile"})["run_id"]
                page = watched.go(f"/runs/{run}")
                page.get_by_text("Good? <script>alert(5)</script>").first.wait_for()
                for path in (f"/runs/{run}", f"/runs/{run}?task=draft", f"/runs/{run}/events", "/approvals", "/"):
                    page = watched.go(path)
                    assert page.locator(FOREIGN).count() == 0, path
                page = watched.go(f"/runs/{run}")
                assert "![picture](https://evil.example/y.png)" in page.locator("main").inner_text()
                page.get_by_label("A comment that the agents read").fill("<script>alert(6)</script> 👍")
                page.get_by_role("button", name="Approve").press("Enter")
                page.locator("#summary, main").get_by_text("failed").first.wait_for()
                for path in (f"/runs/{run}", f"/runs/{run}?task=broken", f"/decisions/{run}", "/providers", "/load"):
                    page = watched.go(path)
                    assert page.locator(FOREIGN).count() == 0, path
                assert watched.faults == []


LONG = """
name: long
inputs: {items: {type: list}}
agents: {ann: {persona: analyst}}
tasks:
  a_task_with_a_name_that_is_much_longer_than_any_box_of_a_graph: {agent: ann, description: Write.}
  each: {for_each: "${{ inputs.items }}", key: "${{ item }}", agent: ann, description: "Tell of ${{ item }}."}
"""


@pytest.mark.parametrize("width", [1280, 320])
def test_long_names_are_readable_and_take_no_room_of_others(browser: Browser, tmp_path: Path, width: int) -> None:
    squad = tmp_path / "long.yaml"
    squad.write_text(LONG, "utf-8")
    items = ["w" * 200, "l" * 200, "\u05e9\u05dc\u05d5\u05dd " * 20, "\U0001f6b2" * 30]
    with serving(tmp_path / "state", squad) as server:
        run = server.api("/api/runs", {"squad": "long", "inputs": {"items": items}})["run_id"]
        size = {"width": width, "height": 900}
        with logged_in(browser, server, session_of(browser, server), viewport=size) as watched:
            page = watched.go(f"/runs/{run}?task=each")
            page.locator("#summary").get_by_text("done").wait_for()
            assert (overflow_of(page), violations(page), watched.faults) == (0, [], [])
            wider = "[...document.querySelectorAll('.graph a')].filter(one => one.getBBox().width > 230).length"
            assert page.evaluate(wider) == 0, "no name stands out of its box"
