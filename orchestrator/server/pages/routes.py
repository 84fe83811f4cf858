"""The routes of the dashboard: the pages, the link that logs in, the stream that keeps pages up to date."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response

from orchestrator.errors import RunNotFound
from orchestrator.run.standing import state_in
from orchestrator.server.access import COOKIE, SESSION_S, Access
from orchestrator.server.event_stream import EventStream
from orchestrator.server.pages.live import LivePages
from orchestrator.server.pages.now import now_of, row_of
from orchestrator.server.pages.templating import Pages
from orchestrator.server.run_view import view_of
from orchestrator.server.state import ServerState

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
STATIC = {"page.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}
MOST_RUNS = 100


class Dashboard:
    """Makes the pages. Each of `_live` can be kept up to date."""

    def __init__(self, state: ServerState, access: Access, live: LivePages) -> None:
        self._state, self._access, self._live, self._pages = state, access, live, Pages()

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/", self._now, methods=["GET"])
        router.add_api_route("/runs", self._runs, methods=["GET"])
        router.add_api_route("/runs/{run}", self._run, methods=["GET"])
        router.add_api_route("/login", self._login, methods=["GET"])
        router.add_api_route("/live", self._changes, methods=["GET"])
        router.add_api_route("/static/{name}", _static, methods=["GET"])
        return router

    async def _now(self, http: HttpRequest) -> Response:
        return await self._page(http, "now", "/", await now_of(self._state), live="now")

    async def _runs(self, http: HttpRequest) -> Response:
        lines = await self._state.journal.runs(MOST_RUNS)
        return await self._page(http, "runs", "/runs", {"runs": [await row_of(self._state, line) for line in lines]})

    async def _run(self, http: HttpRequest, run: str) -> Response:
        try:
            values = await self._run_values(run)
        except RunNotFound:
            return await self._page(http, "missing", "/runs", {"what": f"There is no run {run}."}, status=404)
        return await self._page(http, "run", "/runs", values, live=f"run/{run}")

    async def _run_values(self, run: str) -> Mapping[str, Any]:
        manifest = await self._state.journal.manifest(run)
        view = view_of(run, await self._state.journal.events(run))
        standing = await state_in(self._state.journal, run, view.status)
        return {"run": view, "squad": manifest.squad, "standing": standing, "created": manifest.created_at}

    async def _login(self, http: HttpRequest, token: str = "") -> Response:
        cookie = self._access.follow(token)
        if cookie is None:
            text = "This link was used, or is too old. `orchestrator serve` prints a new one when it starts."
            return self._html("missing", {"what": text, "here": "", "live": "", "offline": False}, 401)
        answer = RedirectResponse("/", 303)
        secure = http.url.scheme == "https"
        answer.set_cookie(COOKIE, cookie, max_age=SESSION_S, httponly=True, samesite="strict", secure=secure)
        return answer

    async def _changes(self, http: HttpRequest, page: str) -> Response:
        if self._access.role_of(http) is None:
            return Response(status_code=401)
        kind, _, run = page.partition("/")
        if kind == "run":
            await self._state.journal.manifest(run)
            return EventStream(self._live.changes(page, partial(self._parts, "run", partial(self._run_values, run))))
        return EventStream(self._live.changes("now", partial(self._parts, "now", partial(now_of, self._state))))

    async def _parts(self, name: str, values: Any) -> Mapping[str, str]:
        return self._pages.parts(name, await values())

    async def _page(
        self, http: HttpRequest, name: str, here: str, values: Mapping[str, Any], *, live: str = "", status: int = 200
    ) -> Response:
        if self._access.role_of(http) is None:
            text = "Log in by the link that `orchestrator serve` printed in its terminal."
            return self._html("missing", {"what": text, "here": "", "live": "", "offline": False}, 401)
        told = {**values, "here": here, "live": live, "offline": self._state.offline}
        return self._html(name, told, status)

    def _html(self, name: str, values: Mapping[str, Any], status: int) -> Response:
        return HTMLResponse(self._pages.page(name, values), status, {"content-security-policy": POLICY})


async def _static(name: str) -> Response:
    if name not in STATIC:
        return Response(status_code=404)
    body = files("orchestrator.server.pages").joinpath("static", name).read_bytes()
    return Response(body, media_type=STATIC[name])
