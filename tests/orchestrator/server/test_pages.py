"""The pages as a browser without scripts meets them, and the stream that keeps them up to date."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from orchestrator.server.pages.registry import PAGES
from orchestrator.server.pages.templating import compile_all, templates
from orchestrator.testing import scripted
from tests.orchestrator.server.served import Served, served, streamed
from tests.orchestrator.server.test_api import squad, until_state

pytestmark = pytest.mark.anyio


async def shows_all(server: Served, run: str = "") -> None:
    """Look at every page; at those of a run where there is one."""
    for page in PAGES:
        path = page.path.replace("{run}", run) if run else page.path
        if "{" not in path:
            shown = await server.http.get(path)
            assert (shown.status_code, "<h1>" in shown.text) == (200, True), page.path
            assert "<script>alert" not in shown.text
            assert shown.headers["content-security-policy"].startswith("default-src 'none'")


async def test_each_page_is_there_before_anything_ran_and_after(tmp_path: Path) -> None:
    said = scripted("<script>alert(1)</script> 🚲")
    async with said as manager, served(manager, tmp_path, None, [squad()]) as server:
        await shows_all(server)
        run = str((await server.http.post("/api/runs", json={"squad": "notes"})).json()["run_id"])
        await until_state(server, run, "waiting")
        await shows_all(server, run)
        assert (await server.http.get("/live?page=/nowhere")).status_code == 404


def test_all_templates_are_compiled_beforehand() -> None:
    compile_all()
    compiled = {name for _, name in (templates().cache or {})}
    assert {f"{page.name}.html" for page in PAGES} < compiled


async def test_who_is_not_logged_in_sees_nothing(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        for page in (*(page.path for page in PAGES), "/live?page=/"):
            assert (await server.http.get(page, headers={"authorization": ""})).status_code == 401, page
        link = f"/login?token={server.access.link('viewer')}"
        followed = await server.http.get(link, headers={"authorization": ""})
        assert (followed.status_code, followed.headers["location"]) == (303, "/")
        assert (await server.http.get(link, headers={"authorization": ""})).status_code == 401
        assert (await server.http.get("/runs/none")).status_code == 404


async def test_the_stream_of_a_page_begins_with_all_its_parts(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        told = [json.loads(one["data"]) for one in await streamed(server, "/live?page=/", 4)]
    assert {one["id"] for one in told} >= {"sentence", "approvals", "live"}
    assert told[0]["html"] == '<p id="sentence" class="sentence">No run is at work.</p>'


async def test_what_is_read_out_when_it_changes_stands_around_what_is_replaced(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        page = (await server.http.get("/")).text
        assert '<div role="status">\n<p id="sentence"' in page
        parts = [json.loads(one["data"])["html"] for one in await streamed(server, "/live?page=/", 4)]
        assert not any('role="status"' in one or "aria-live" in one for one in parts), "a new element is not read out"


async def test_a_browser_keeps_what_comes_with_the_pages_until_it_is_another(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        addresses = re.findall(r'"(/static/[^"]+)"', (await server.http.get("/")).text)
        assert len(addresses) == 4
        for address in addresses:
            kept = await server.http.get(address)
            assert (kept.status_code, "immutable" in kept.headers["cache-control"]) == (200, True), address
            path = address.partition("?")[0]
            for other in (path, f"{path}?v=0123456789ab"):
                assert (await server.http.get(other)).headers["cache-control"] == "no-store", other
