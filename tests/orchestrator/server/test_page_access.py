"""People whose session is over, and addresses without a page: what they are told, and where they go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx2
import pytest

from orchestrator.server.pages.login import LOST
from orchestrator.testing import scripted
from tests.orchestrator.server.served import Served, served
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
PAGE = {"accept": "text/html,*/*"}
NOBODY = {**PAGE, "authorization": ""}
FORM = {**NOBODY, "content-type": "application/x-www-form-urlencoded"}


async def post(server: Served, path: str, **form: str) -> httpx2.Response:
    return await server.http.post(path, content=urlencode(form), headers=FORM)


async def test_who_was_logged_out_is_told_that_nothing_was_done_and_goes_on_where_he_was(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        lost = await post(server, "/approvals", choice="approve", comment="typed")
        assert (lost.status_code, LOST in lost.text) == (401, True)
        asked = await server.http.get("/runs?state=done&q=a%26b", headers=NOBODY)
        assert (asked.status_code, 'name="then" value="/runs?state=done&amp;q=a%26b"' in asked.text) == (401, True)
        wrong = await post(server, "/login", token="wrong", then="/runs?state=done")
        assert 'value="/runs?state=done"' in wrong.text, "a mistyped token loses no place"
        into = await post(server, "/login", token=server.access.token, then="/runs?state=done&q=a%26b")
        assert (into.status_code, into.headers["location"]) == (303, "/runs?state=done&q=a%26b")


@pytest.mark.parametrize(
    "then",
    ["//evil.example/", "https://evil.example/runs", "/\\evil.example", "/api/runs", "/runs\r\nx: y", "javascript:1"],
)
async def test_a_login_leads_to_pages_of_ours_alone(then: str, tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        into = await post(server, "/login", token=server.access.token, then=then)
        assert into.headers["location"] in ("/", "/runs"), into.headers["location"]
        assert "x" not in into.headers


async def test_a_page_that_is_open_hears_nothing_more_once_its_session_is_over(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        cookie, heard = server.access.session("operator"), bytearray()
        given = {"host": "test", "cookie": f"{server.access.cookie_name}={cookie}"}
        headers = [(name.encode(), value.encode()) for name, value in given.items()]
        scope = {"type": "http", "method": "GET", "path": "/live", "query_string": b"page=/", "headers": headers}

        async def send(message: Any) -> None:
            heard.extend(message.get("body", b""))
            if heard:  # logged out in another tab, after the first part
                server.access.end(cookie)

        with anyio.fail_after(PATIENCE_S):
            await server.app(scope, anyio.sleep_forever, send)
        assert heard.count(b"event: part") == 1


async def test_an_address_without_a_page_is_told_as_one_to_browsers_and_in_words_to_programs(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        page = await server.http.get("/nowhere/<b>", headers=PAGE)
        assert page.status_code == 404
        assert "There is no page /nowhere/&lt;b&gt;." in page.text
        assert 'href="/runs"' in page.text
        assert (await server.http.get("/nowhere")).text.startswith("there is no GET /nowhere")
        assert "Log out" in (await server.http.get("/runs/none", headers=PAGE)).text
