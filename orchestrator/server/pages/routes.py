"""The routes of the dashboard: pages, their forms, the link that logs in, the stream that keeps pages up to date."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import compile_path

from orchestrator.errors import OrchestratorError
from orchestrator.server.access import Access, AccessRole
from orchestrator.server.api.errors import RequestRefused
from orchestrator.server.event_stream import EventStream
from orchestrator.server.pages.forms import SentForm, sent_form
from orchestrator.server.pages.live import LivePages, while_allowed
from orchestrator.server.pages.login import LOST, Login
from orchestrator.server.pages.page import Page, PageMissing, PageRequest
from orchestrator.server.pages.registry import PAGES
from orchestrator.server.pages.static_files import KEPT, static_file
from orchestrator.server.pages.templating import Pages
from orchestrator.server.state import ServerState

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NO_FORM = SentForm()


class Dashboard:
    """Makes the pages. Each of `_live` can be kept up to date."""

    def __init__(self, state: ServerState, access: Access, live: LivePages) -> None:
        self._state, self._access, self._live, self._pages = state, access, live, Pages()
        self._paths = [(compile_path(page.path)[0], page) for page in PAGES]
        self._login = Login(access, self._html, lambda path: any(one.match(path) for one, _ in self._paths))

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        for page in PAGES:
            router.add_route(page.path, partial(self._shown, page), methods=["GET"])
            if page.act:
                router.add_route(page.path, partial(self._done, page), methods=["POST"])
        router.add_route("/provider-status", _to_providers, methods=["GET"])
        for method, path, answer in self._login.routes():
            router.add_route(path, answer, methods=[method])
        router.add_route("/live", self._changes, methods=["GET"])
        router.add_route("/static/{name}", _static, methods=["GET"])
        return router

    async def _shown(self, page: Page, http: HttpRequest) -> Response:
        address = f"{http.url.path}?{http.url.query}" if http.url.query else http.url.path
        if (role := self._access.role_of(http)) is None:
            return self._login.asking(401, then=address)
        asked = self._asked(http.path_params, http.query_params, role)
        try:
            return self._page(page, await page.values(asked), role, address)
        except PageMissing as missing:
            return self._message("Not here", str(missing), 404, page.under or page.path, role)

    async def _done(self, page: Page, http: HttpRequest) -> Response:
        assert page.act is not None, "routes() adds it for these alone"
        role = self._access.role_of(http)
        if role is None:
            return self._login.asking(401, LOST, http.url.path)
        here = page.under or page.path
        if role != "operator":
            why = f"You are logged in as a {role}, who may look and change nothing."
            return self._message("Not done", why, 403, here, role)
        form = sent_form(http.headers.get("content-type", ""), await http.body())
        asked = self._asked(http.path_params, http.query_params, role, form)
        try:
            done = await page.act(asked)
            if isinstance(done, str):
                return RedirectResponse(done, 303)
            address = f"{http.url.path}?{http.url.query}" if http.url.query else http.url.path
            return self._page(page, {**await page.values(asked), **done, "is_draft": True}, role, address, 422)
        except PageMissing as missing:
            return self._message("Not here", str(missing), 404, here, role)
        except (OrchestratorError, RequestRefused) as error:
            return self._message("Not done", self._state.mask(str(error)), 409, here, role)

    def missing(self, http: HttpRequest) -> Response:
        """Return the page for an address at which there is none."""
        return self._message(
            "Not here", f"There is no page {http.url.path[:120]}.", 404, "", self._access.role_of(http)
        )

    def broken(self, http: HttpRequest) -> Response:
        """Return the page for one that could not be made."""
        why = "This page could not be made, by a fault of ours: the server's terminal tells more. Its runs go on."
        return self._message("Something broke", why, 500, "", self._access.role_of(http))

    async def _changes(self, http: HttpRequest) -> Response:
        """Answer with the parts of the page at an address, and then with each that changes."""
        if (role := self._access.role_of(http)) is None:
            return Response(status_code=401)
        address = urlsplit(http.query_params.get("page", ""))
        for pattern, one in self._paths:
            if one.is_live and (found := pattern.match(address.path)):
                asked = self._asked(found.groupdict(), QueryParams(address.query), role)
                name = f"{role} {address.path}?{address.query}"
                changes = self._live.changes(name, partial(self._parts, one, asked))
                return EventStream(while_allowed(changes, lambda: self._access.role_of(http) is not None))
        return Response(status_code=404)

    async def _parts(self, page: Page, asked: PageRequest) -> Mapping[str, str]:
        return self._pages.parts(page.name, {**await page.values(asked), "may_change": asked.may_change})

    def _asked(
        self, path: Mapping[str, str], query: QueryParams, role: AccessRole, form: SentForm = NO_FORM
    ) -> PageRequest:
        return PageRequest(state=self._state, role=role, path=path, query=query, form=form.fields, files=form.files)

    def _page(
        self, page: Page, values: Mapping[str, Any], role: AccessRole, address: str, status: int = 200
    ) -> Response:
        told = {"here": page.under or page.path, "live": address if page.is_live else "", "role": role}
        return self._html(page.name, {**values, **told, "may_change": role == "operator"}, status)

    def _message(self, title: str, what: str, status: int, here: str, role: AccessRole | None) -> Response:
        told = {"title": title, "what": what, "here": here, "live": "", "role": role or "", "may_change": False}
        return self._html("missing", told, status)

    def _is_of_use(self, page: Page) -> bool:
        """Return whether a page is worth a link: that of the cluster, where there is one."""
        return page.name != "cluster" or self._state.cluster is not None

    def _html(self, name: str, values: Mapping[str, Any], status: int) -> Response:
        told = {
            "offline": self._state.offline,
            "is_draft": False,
            "links": [(page.label, page.path) for page in PAGES if page.label and self._is_of_use(page)],
        }
        page = self._pages.page(name, {**told, **values}).encode(
            "utf-8", "replace"
        )  # a model's name may hold half a character
        return HTMLResponse(page, status, {"content-security-policy": POLICY})


async def _to_providers(_: HttpRequest) -> Response:
    return RedirectResponse("/providers", 308)


async def _static(http: HttpRequest) -> Response:
    try:
        file = static_file(http.path_params["name"])
    except KeyError:
        return Response(status_code=404)
    kept = {"cache-control": KEPT} if http.query_params.get("v") == file.edition else {}
    return Response(file.body, headers=kept, media_type=file.kind)
