"""Connections of the server: how many are open, and how long a client may take over a request's head or an answer.

uvicorn limits neither: a client that sends a byte now and then, or reads nothing, would keep its place for good. What
comes after a request's head is the guard's.
"""

from __future__ import annotations

import asyncio
import json
import re
from asyncio import TimerHandle, Transport
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import anyio

MOST_HEAD = 64 << 10
"""Bytes of a request's head: its first line, and all its headers."""
HAS_COME = "has_come"
"""Under this stands in the state of a request's scope whether its body came with its head, so that no time is needed to
wait for it."""
DISCONNECT = "disconnect"
"""Under this stands there the `ClientDisconnect` of its connection."""
PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
CODES = {400: "invalid_request", 408: "too_slow", 431: "too_large", 503: "busy"}


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds, and counts. Beyond `most` requests are refused; beyond `most` and `spare`, connections."""

    head_s: float = 10.0
    """From its first byte to the end of a request's head; for the first one from the connection on."""
    write_s: float = 60.0
    """How long a client may read nothing of what waits for it."""
    idle_s: int = 30
    """How long a connection is kept without a request."""
    most: int = 800
    spare: int = 50
    most_head: int = MOST_HEAD


CONNECTIONS = ConnectionLimits()


class ClientDisconnect:
    """Whether the client of a connection has disconnected, and what is cancelled as soon as it has."""

    __slots__ = ("_cancels", "_is_gone")

    def __init__(self) -> None:
        self._is_gone, self._cancels = False, set[anyio.CancelScope]()

    def cancels(self, work: anyio.CancelScope) -> None:
        """Cancel what is done for the client alone, as soon as it disconnects."""
        self._cancels.add(work)
        if self._is_gone:
            work.cancel()

    def forget(self, work: anyio.CancelScope) -> None:
        """Cancel it no more: it is done."""
        self._cancels.discard(work)

    def happened(self) -> None:
        """Take note that the client has disconnected."""
        self._is_gone = True
        for work in self._cancels:
            work.cancel()


def bounded_connection(limits: ConnectionLimits, parser: str | None = None) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with these limits; `parser` is "httptools" or "h11", the first that is installed."""
    if (parser or ("httptools" if find_spec("httptools") else "h11")) == "httptools":
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Parser
    else:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Parser  # type: ignore[assignment]  # its like

    class ServerConnection(_Bounded, Parser):  # type: ignore[misc]  # mixed into either
        _limits = limits

    return ServerConnection


def _staying(data: bytes) -> bytes:
    """Return what begins a request without its wish to speak another protocol: clients send it (Java's to every plain
    `http:`, curl with `--http2`) and are fine without it, but httptools drops the body of a request that has it."""
    head = data[: data.find(b"\r\n\r\n")]
    if b"pgrade:" not in head:
        return data
    return _UPGRADE.sub(b"\r\nx-asked:", head) + data[len(head) :]


class _Bounded:
    """Mixed into a protocol of uvicorn's, whose attributes it reads: `cycle` is the request at work."""

    _limits: ConnectionLimits
    app_state: dict[str, Any]
    connections: set[Any]
    cycle: Any
    loop: asyncio.AbstractEventLoop
    transport: Transport

    def connection_made(self, transport: Transport) -> None:
        """Take a connection, or refuse it."""
        super().connection_made(transport)  # type: ignore[misc]  # uvicorn's
        self._head, self._is_begun = 0, False
        self._disconnect = ClientDisconnect()
        self.app_state = {**self.app_state, DISCONNECT: self._disconnect}
        self._stuck: TimerHandle | None = None
        self._late: TimerHandle | None = self.loop.call_later(self._limits.head_s, self._too_slow)
        if len(self.connections) > self._limits.most + self._limits.spare:
            self._refuse(503, "the server has as many connections as it takes: try again later")

    def data_received(self, data: bytes) -> None:
        """Take what came: a part of a head counts, and has its time."""
        if self.transport.is_closing():
            return
        before, self._is_begun = self.cycle, True
        is_head = before is None or before.response_complete or not before.more_body
        super().data_received(_staying(data) if is_head else data)  # type: ignore[misc]  # uvicorn's
        if self.cycle is not before:
            self._head = 0
            self._wait_no_more()
            self.cycle.scope["state"][HAS_COME] = not self.cycle.more_body
        elif is_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > self._limits.most_head:
                self._refuse(431, f"a request's head has at most {self._limits.most_head} bytes")
            elif self._late is None:
                self._late = self.loop.call_later(self._limits.head_s, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._wait_no_more()
        self.resume_writing()
        self._disconnect.happened()
        super().connection_lost(exc)  # type: ignore[misc]  # uvicorn's

    def pause_writing(self) -> None:
        """Wait for a client that does not read, but not for good."""
        super().pause_writing()  # type: ignore[misc]  # uvicorn's
        if self._stuck is None:
            self._stuck = self.loop.call_later(self._limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().resume_writing()  # type: ignore[misc]  # uvicorn's

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_slow(self) -> None:
        self._late = None
        if self._is_begun:
            self._refuse(408, f"a request's head comes within {self._limits.head_s:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Answer a request that no part of the server reads, in a shape that clients of all parts can read."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started or getattr(self, "pipeline", ()):
                self.transport.abort()  # an answer is under way on this connection
                return
            self.cycle.disconnected = True  # its body is no HTTP: nothing more is said to it but this
            self.cycle.message_event.set()
            self._disconnect.happened()
        words = {"type": "invalid_request_error", "code": CODES[status], "message": text}
        body = json.dumps({"type": "error", "error": words}).encode()
        head = (
            f"HTTP/1.1 {status} {PHRASES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
            "content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
