"""Logging in and out: by a link, once, or by the server's token in a form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response

from orchestrator.server.access import SESSION_S, Access

OLD = "This link was used, or is too old."
WRONG = "This is not the server's token."
TIRED = "Too many wrong tokens: wait a minute."
LOST = (
    "Nothing was done: you are not logged in any more. Log in in another tab, then load this page again: what you "
    "typed is sent again."
)
MOST_FORM, MOST_ADDRESS = 4096, 1000
"""Bytes of the login's form; characters of the address to go on at, which is in it."""

ShowPage = Callable[[str, Mapping[str, Any], int], Response]
"""Makes a page of its template's name, its values and a status."""
IsPage = Callable[[str], bool]
"""Tells whether one of our pages stands at a path."""


class Login:
    """The routes that log in and out; `show` makes their pages, and `is_page` knows where one may lead to."""

    def __init__(self, access: Access, show: ShowPage, is_page: IsPage) -> None:
        self._access, self._show, self._is_page = access, show, is_page

    def routes(self) -> Iterator[tuple[str, str, Callable[[HttpRequest], Any]]]:
        """Yield the method, path and function of each."""
        yield "GET", "/login", self._follow
        yield "POST", "/login", self._log_in
        yield "POST", "/logout", self._log_out

    def asking(self, status: int, wrong: str = "", then: str = "") -> Response:
        """Return the page that asks who it is; `wrong` says what was, `then` is the address to go on at."""
        values = {"wrong": wrong, "then": self._own(then), "here": "", "live": "", "role": "", "may_change": False}
        return self._show("login", values, status)

    async def _follow(self, http: HttpRequest) -> Response:
        token = http.query_params.get("token", "")
        if not token or http.method == "HEAD":  # who only looks whether there is something uses no link up
            return self.asking(200)
        cookie = self._access.follow(token)
        return self.asking(401, OLD) if cookie is None else self._logged_in(http, cookie)

    async def _log_in(self, http: HttpRequest) -> Response:
        address = "" if http.client is None else http.client.host
        if rest := self._access.rest(address):
            refused = self.asking(429, TIRED)
            refused.headers["retry-after"] = str(ceil(rest))
            return refused
        token, then = await _typed_in(http)
        cookie = self._access.log_in(token, address)
        return self.asking(401, WRONG, then) if cookie is None else self._logged_in(http, cookie, self._own(then))

    def _own(self, address: str) -> str:
        """Return an address where it is one of our pages, else nothing."""
        parts = urlsplit(address[:MOST_ADDRESS])
        is_ours = not parts.scheme and not parts.netloc and self._is_page(parts.path)
        return f"{parts.path}{'?' if parts.query else ''}{parts.query}" if is_ours else ""

    async def _log_out(self, http: HttpRequest) -> Response:
        self._access.end(self._access.cookie_of(http))
        answer = RedirectResponse("/login", 303)
        name, secure = self._access.cookie_name, http.url.scheme == "https"
        answer.delete_cookie(name, httponly=True, samesite="strict", secure=secure)
        return answer

    def _logged_in(self, http: HttpRequest, cookie: str, then: str = "") -> Response:
        answer: Response = RedirectResponse(then or "/", 303)
        if http.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # A link in a chat: a redirect from it gets no Strict cookie, a step from a page of ours does.
            answer = self._show("logged_in", {}, 200)
        name, secure = self._access.cookie_name, http.url.scheme == "https"
        answer.set_cookie(name, cookie, max_age=SESSION_S, httponly=True, samesite="strict", secure=secure)
        return answer


async def _typed_in(http: HttpRequest) -> tuple[str, str]:
    """Return the token of the form, and the address to go on at; empty where it has none."""
    body = bytearray()
    async for part in http.stream():
        body += part
        if len(body) > MOST_FORM:
            return "", ""
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    except ValueError:
        return "", ""
    return fields.get("token", [""])[0].strip(), fields.get("then", [""])[0]
