"""What stands before every request: which host it may name, how large it may be, what a browser may do."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 32 << 20
"""Bytes of a request: a transcript of images, and no more."""
REQUEST_ID = re.compile(r"[\w.:-]{1,128}")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ALWAYS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
_ALWAYS = [(name.encode(), value.encode()) for name, value in ALWAYS.items()]

GuardRefusal = Callable[[Scope, int, str], Response]
"""Makes a response of a status and words, in the shape that the asked part of the server has."""


class Guard:
    """Refuses requests that name another host (a page elsewhere may resolve its own name to this machine), that a
    browser sends for another site, and that are too large. Gives each a request id."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], refusal: GuardRefusal, most_body: int = MOST_BODY) -> None:
        self._app, self._hosts, self._refusal, self._most_body = app, frozenset(hosts), refusal, most_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = list(message.get("headers", ()))
                told = {name for name, _ in sent}
                sent += [header for header in _ALWAYS if header[0] not in told]
                message["headers"] = [*sent, (b"x-request-id", request_id.encode())]
            await send(message)

        if (refused := self._refused(scope["method"], headers)) is not None:
            await self._refusal(scope, *refused)(scope, receive, tell)
            return
        await self._app(scope, self._bounded(receive), tell)

    def _refused(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if host not in self._hosts:
            return 421, f"this server is not called {host[:80]!r}"
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        ours = site in ("same-origin", "none") if site is not None else _same_host(origin, headers.get("host", ""))
        if method not in SAFE and not ours:
            return 403, "a page of another site may change nothing here"
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._most_body:
            return 413, self._too_large
        return None

    @property
    def _too_large(self) -> str:
        return f"a request has at most {self._most_body} bytes"

    def _bounded(self, receive: Receive) -> Receive:
        left = self._most_body

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, self._too_large)
            return message

        return bounded


def _same_host(origin: str | None, host: str) -> bool:
    """Return whether a page of this server sent it; a client that is no browser says nothing of where it comes from."""
    return origin is None or origin.partition("://")[2] == host
