"""What stands before every request: which host it may name, how large and how slow it may be, what a browser may do."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from os import urandom
from time import monotonic
from urllib.parse import urlsplit

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.server.access import COOKIE
from orchestrator.server.connections import HAS_COME, MOST_HEAD
from orchestrator.server.event_stream import event

REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ALWAYS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
_ALWAYS = [(name.encode(), value.encode()) for name, value in ALWAYS.items()]
STOPS = "the server stops; ask again once it is back"
STOPPING = event({}, "stopping")
"""The last event of a stream that ends because the server stops: come again later."""

GuardRefusal = Callable[[Scope, int, str, Mapping[str, str] | None], Response]
"""Makes a response of a status, words and headers, in the shape that the asked part of the server has."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bytes of a request (a transcript of images, and no more) and of its head; how slowly its body may come; how many
    streams of events one session, or one token, may have open."""

    most_body: int = 32 << 20
    most_head: int = MOST_HEAD
    body_s: float = 30.0
    bytes_per_s: int = 16 << 10
    most_streams: int = 64


LIMITS = RequestLimits()


class Guard:
    """Refuses requests that name another host (a page elsewhere may resolve its own name to this machine), that a
    browser sends for another site, that are too large or too slow, or for which there is no room. Gives each a request
    id. `is_full` tells whether there is room.

    Streams of events that are open as the server stops end with an event that says so; requests that are cancelled then
    are refused, where nothing was answered yet.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        refusal: GuardRefusal,
        limits: RequestLimits = LIMITS,
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app, self._hosts, self._refusal = app, frozenset(map(_host_name, hosts)), refusal
        self._limits, self.is_full = limits, is_full
        self._streams = Counter[str]()
        self._open: set[anyio.CancelScope] = set()
        self._is_stopping = False

    def stop(self) -> None:
        """End the streams of events, and begin none: the server stops."""
        self._is_stopping = True
        for scope in self._open:
            scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else f"req_{urandom(12).hex()}"
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        body, is_begun = _Body(receive, headers, self._limits, has_come=state.get(HAS_COME, False)), False

        async def told(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                sent = list(message.get("headers", ()))
                known = {name for name, _ in sent}
                sent += [header for header in _ALWAYS if header[0] not in known]
                if not body.is_read or message["status"] in (500, 503):
                    # What is left of the request would be taken for the next one; and uvicorn closes after a fault.
                    sent.append((b"connection", b"close"))
                if "anthropic-version" in headers:
                    sent.append((b"request-id", request_id.encode()))  # what Anthropic's clients tell of an error
                message["headers"] = [*sent, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if (refused := self._refused(scope, headers)) is not None:
                await self._refusal(scope, *refused, None)(scope, receive, told)
            elif scope["method"] == "GET":
                await self._maybe_streamed(scope, body.receive, told, headers)
            else:
                await self._app(scope, body.receive, told)
        except anyio.get_cancelled_exc_class():
            if not self._is_stopping:
                raise
            if not is_begun:
                await self._refusal(scope, 503, STOPS, {"retry-after": "5"})(scope, receive, told)

    async def _maybe_streamed(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        """Answer; where the answer is a stream of events, count it, and end it as the server stops."""
        sender, ending = "", anyio.CancelScope()

        async def told(message: Message) -> None:
            nonlocal sender
            if message["type"] == "http.response.start" and _is_events(message):
                asking = _sender(scope, headers)
                if self._is_stopping or self._streams[asking] >= self._limits.most_streams:
                    raise _NoStream
                sender = asking
                self._streams[sender] += 1
                await send(message)
                self._open.add(ending)
            else:
                await send(message)

        try:
            with ending:
                await self._app(scope, receive, told)
            if ending.cancelled_caught:
                await send({"type": "http.response.body", "body": STOPPING, "more_body": False})
        except _NoStream:
            status, text = (503, STOPS) if self._is_stopping else (429, self._too_many)
            await self._refusal(scope, status, text, {"retry-after": "5"})(scope, receive, send)
        finally:
            self._open.discard(ending)
            if sender:
                self._streams[sender] -= 1
                if not self._streams[sender]:
                    del self._streams[sender]

    @property
    def _too_many(self) -> str:
        return f"one session has at most {self._limits.most_streams} streams of events open: close other tabs"

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > self._limits.most_head:
            return 431, f"a request's headers have at most {self._limits.most_head} bytes"
        named = [value for name, value in scope["headers"] if name == b"host"]
        host = _host_name(headers["host"]) if len(named) == 1 else ""
        if host not in self._hosts and not _is_its_address(host, scope):
            return 421, f"this server is not called {host[:80]!r}: `serve --allowed-host` allows a name"
        if "transfer-encoding" in headers and "content-length" in headers:
            return 400, "a request says the length of its body in one way"  # a proxy before us may take the other
        if scope["method"] not in SAFE and not _is_ours(headers):
            return 403, "a page of another site may change nothing here"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._limits.most_body:
            return 413, _too_large(self._limits)
        if self.is_full():
            return 503, "the server has as many connections as it takes: try again later"
        return None


class _Body:
    """The body of a request as it comes: no more than is allowed, and not slower."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], limits: RequestLimits, *, has_come: bool) -> None:
        self._receive, self._limits, self._began, self._has_come = receive, limits, monotonic(), has_come
        self._came = 0
        self.is_read = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        """Return the next part. Raise `HTTPException` where it is too much, or too slow."""
        if self.is_read:
            return await self._receive()
        message = await (self._receive() if self._has_come else self._in_time())
        self._came += len(message.get("body", b""))
        if self._came > self._limits.most_body:
            raise HTTPException(413, _too_large(self._limits))
        self.is_read = not message.get("more_body", False)
        return message

    async def _in_time(self) -> Message:
        left = self._began + self._limits.body_s + self._came / self._limits.bytes_per_s - monotonic()
        with anyio.move_on_after(max(left, 0)):
            return await self._receive()
        raise HTTPException(408, f"the body of the request did not come within {self._limits.body_s:g} s")


class _NoStream(Exception):
    """A stream of events was about to begin, and may not."""


def _too_large(limits: RequestLimits) -> str:
    return f"a request has at most {limits.most_body} bytes"


def _host_name(host: str) -> str:
    """Return a host without its port, in one spelling."""
    name, colon, port = host.strip().rpartition(":")
    is_port = bool(colon) and port.isdigit() and not (":" in name and not name.endswith("]"))
    return (name if is_port else host.strip()).lower().removesuffix(".").strip("[]")


def _is_its_address(host: str, scope: Scope) -> bool:
    """Return whether a host is the very address that the client connected to: no other site is called so."""
    try:
        return ip_address(host) == ip_address((scope.get("server") or ("",))[0])
    except ValueError:
        return False


def _is_ours(headers: Mapping[str, str]) -> bool:
    """Return whether a page of this server sent it; a client that is no browser says nothing of where it comes from."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").strip().lower()


def _is_events(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"])


def _sender(scope: Scope, headers: Mapping[str, str]) -> str:
    """Return who sends a request: a session, a token, or an address."""
    session = re.search(rf"(?:^|;\s*){COOKIE}_\w+=([^;]*)", headers.get("cookie", ""))
    said = headers.get("authorization") or (session and session[1]) or str((scope.get("client") or ("",))[0])
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()
