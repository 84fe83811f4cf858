"""What a program says of itself over HTTP to who watches over it: whether it lives, is ready, and its figures.

A listener of its own, so that a worker needs no web framework: a few paths, short answers, one request a connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus

MOST_BYTES = 8192
"""Of a request: more is none that a probe sends."""
REQUEST_S = 5.0
"""How long a request, or the taking of its answer, may take."""
MOST_AT_ONCE = 32
TEXT = "text/plain; charset=utf-8"


class ProbeAsked(NamedTuple):
    """What is asked. `is_local`: by this machine."""

    method: str
    path: str
    accept: str
    is_local: bool


class ProbeAnswer(NamedTuple):
    """`status` is one of HTTP's."""

    status: int
    body: bytes
    media_type: str = TEXT


Probe = Callable[[ProbeAsked], Awaitable[ProbeAnswer]]
_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}
_REASONS |= {405: "Method Not Allowed", 500: "Internal Server Error", 503: "Service Unavailable"}


def told(status: int, words: str) -> ProbeAnswer:
    """Return an answer of one line."""
    return ProbeAnswer(status, f"{words}\n".encode("utf-8", "replace"))


def request_of(data: bytes, is_local: bool) -> ProbeAsked | None:
    """Return what the head of a request asks for; None: it is no request. Pure."""
    first, *lines = data.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return ProbeAsked(words[0], words[1].partition("?")[0], headers.get("accept", ""), is_local)


class ProbeListener:
    """Answers requests for the paths of `probes`, each by its function."""

    def __init__(self, probes: Mapping[str, Probe], failed: Callable[[str, Exception], None]) -> None:
        """`failed` is told of a path whose function raised."""
        self._probes, self._failed = probes, failed
        self._room = anyio.CapacityLimiter(MOST_AT_ONCE)

    async def serve(self, host: str, port: int, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; the port is told once it is taken. Raise `OSError` where it cannot be had."""
        async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
            task_status.started(listener.extra(SocketAttribute.local_port))
            await listener.serve(self._connected)

    async def _connected(self, stream: SocketStream) -> None:
        async with stream:
            # Who connects and goes, or says nothing, is no failure of ours.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError):
                async with self._room:
                    await self._answer(stream)

    async def _answer(self, stream: SocketStream) -> None:
        asked = None
        with anyio.move_on_after(REQUEST_S):
            asked = request_of(await _head(stream), _is_local(stream))
        answer = told(400, "this is not an HTTP/1.1 request") if asked is None else await self._answered(asked)
        head = f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\ncontent-type: {answer.media_type}\r\n"
        head += f"content-length: {len(answer.body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        body = b"" if asked is not None and asked.method == "HEAD" else answer.body
        with anyio.move_on_after(REQUEST_S):
            await stream.send(head.encode("latin-1") + body)
            await stream.send_eof()

    async def _answered(self, asked: ProbeAsked) -> ProbeAnswer:
        probe = self._probes.get(asked.path)
        if probe is None:
            return told(404, f"there is: {', '.join(self._probes)}")
        try:
            return await probe(asked)
        except Exception as error:  # noqa: BLE001  # told; the program that is watched goes on
            self._failed(asked.path, error)
            return told(500, f"{type(error).__name__}: the log has more")


async def _head(stream: SocketStream) -> bytes:
    """Return a request up to its blank line."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < MOST_BYTES:
        data += await stream.receive(MOST_BYTES)
    return data.partition(b"\r\n\r\n")[0]


def _is_local(stream: SocketStream) -> bool:
    address = stream.extra(SocketAttribute.remote_address)
    host = address[0] if isinstance(address, tuple) else ""
    with suppress(ValueError):
        return ip_address(host.partition("%")[0]).is_loopback
    return False
