"""People whose session is over, and addresses without a page: what they are told, and where they go on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlencode

import anyio
import httpx2
import pytest
from starlette.requests import Request as HttpRequest

from orchestrator.server.gateway.keys import ClientKeys, Key
from orchestrator.server.pages.live import while_allowed
from orchestrator.server.pages.login import LOST
from orchestrator.testing import scripted
from tests.orchestrator.server.served import Served, served

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
    ended = anyio.Event()
    async with scripted() as manager, served(manager, tmp_path) as server:
        cookie = server.access.session("viewer")
        scope = {"type": "http", "headers": [(b"cookie", f"{server.access.cookie_name}={cookie}".encode())]}

        async def changes() -> AsyncGenerator[bytes]:
            try:
                yield b"first"
                server.access.end(cookie)  # logged out in another tab
                yield b"second"
            finally:
                ended.set()

        asked = HttpRequest(scope)
        heard = [one async for one in while_allowed(changes(), lambda: server.access.role_of(asked) is not None)]
    assert (heard, ended.is_set()) == ([b"first"], True)


async def test_an_address_without_a_page_is_told_as_one_to_browsers_and_in_words_to_programs(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        page = await server.http.get("/nowhere/<b>", headers=PAGE)
        assert page.status_code == 404
        assert "There is no page /nowhere/&lt;b&gt;." in page.text
        assert 'href="/runs"' in page.text
        assert (await server.http.get("/nowhere")).text.startswith("there is no GET /nowhere")
        assert "Log out" in (await server.http.get("/runs/none", headers=PAGE)).text


class DefectiveKeys(ClientKeys):
    """Fail as no code foresees it."""

    def all(self) -> tuple[Key, ...]:
        raise RuntimeError("a defect")


async def test_a_page_that_cannot_be_made_is_told_as_a_page_with_the_way_to_others(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path, DefectiveKeys(tmp_path)) as server:
        broken = await server.http.get("/settings", headers=PAGE)
        assert (broken.status_code, "could not be made" in broken.text) == (500, True)
        assert 'href="/runs"' in broken.text
        assert (await server.http.get("/runs", headers=PAGE)).status_code == 200
