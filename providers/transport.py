"""The network: the one file that speaks HTTP. Every failure leaves it as one of our errors.

It retries nothing, follows no redirect, keeps no cookie, and reads no more than `max_bytes` of any reply.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import anyio

from providers.adapters import HttpReply, HttpRequest
from providers.errors import BadReply, BadRequest, Phase, ProviderError, StreamBroken, TimedOut, Unreachable

if TYPE_CHECKING:
    import ssl

    import httpx2

MAX_BYTES = 64 * 1024 * 1024
KEEP_ALIVE_S = 60.0
# httpcore walks all connections of a pool at every request, twice: with 1,000 of them a request cost 5.2 ms of CPU, in
# lanes of 8 it costs 0.8 ms (measured 2026-11, httpcore2 2.16). So a pool serves few requests at a time, and a crowd
# is served by more pools.
LANE_REQUESTS = 8
LANE_CONNECTIONS = 32
USER_AGENT = "squad-orchestrator"  # some vendors' front doors refuse a request without one


class HttpStream(Protocol):
    """An open reply. `read` returns the next bytes, `b""` at the end; `aclose` closes the socket, twice is harmless."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    async def read(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Transport(Protocol):
    """The network. Each failure is a `ProviderError`; a status other than 2xx is none, it is handed back.

    Seconds: `connect_s` to a connection, `first_byte_s` from there to the reply's head, `idle_s` between two reads of
    its body, `total_s` for all of it. Cancelling a call closes its connection.
    """

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply:
        """Return the whole reply, decompressed."""

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpStream:
        """Return the reply once its head is there. The caller closes it."""


class HttpxTransport:
    """A `Transport` over `httpx2`. Proxies come from the environment, as its users expect.

    `inner` replaces the network: an `httpx2.MockTransport`, an ASGI app's transport.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        # Some 0.2 s; paid by whoever opens a network, not by whoever imports this package.
        import httpx2

        self._httpx = httpx2
        self.max_bytes = max_bytes
        self._url = lru_cache(maxsize=256)(httpx2.URL)  # vendors' addresses are few, and parsing one costs 50 us
        self._lanes: list[_Lane] = []
        self._trust: ssl.SSLContext | None = None
        if inner is not None:
            self._lanes.append(_Lane(httpx2.AsyncClient(transport=inner), room=sys.maxsize))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        with anyio.CancelScope(shield=True):
            for lane in self._lanes:
                await lane.client.aclose()

    def _lane(self) -> _Lane:
        """Return the first lane with room, so that a quiet process keeps few connections warm."""
        for lane in self._lanes:
            if lane.busy < lane.room:
                return lane
        if self._trust is None:
            self._trust = self._httpx.create_ssl_context()
        limits = self._httpx.Limits(
            max_connections=LANE_CONNECTIONS, max_keepalive_connections=LANE_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S
        )
        self._lanes.append(_Lane(self._httpx.AsyncClient(verify=self._trust, limits=limits), room=LANE_REQUESTS))
        return self._lanes[-1]

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply:
        stream = await self._open(request, connect_s, first_byte_s, idle_s, total_s, "gzip")
        try:
            pieces = []
            while piece := await stream.read():
                pieces.append(piece)
        finally:
            await stream.aclose()
        return HttpReply(stream.status, stream.headers, b"".join(pieces))

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpStream:
        # A compressed stream may be held back by the compressor's window.
        return await self._open(request, connect_s, first_byte_s, idle_s, total_s, "identity")

    async def _open(
        self, request: HttpRequest, connect_s: float, first_byte_s: float, idle_s: float, total_s: float, coding: str
    ) -> _HttpxStream:
        deadline = anyio.current_time() + total_s
        timeout = {"connect": connect_s, "pool": connect_s, "write": first_byte_s, "read": first_byte_s}
        headers = {"user-agent": USER_AGENT, "accept-encoding": coding, **request.headers}
        lane = self._lane()
        lane.busy += 1
        try:
            with self.mapped(request, head=True):
                # Not `client.request`: it would merge defaults and cookies that we do not want, at some cost.
                message = self._httpx.Request(
                    request.method,
                    self._url(request.url),
                    headers=headers,
                    content=request.body,
                    extensions={"timeout": timeout},
                )
                with anyio.fail_after(total_s):
                    reply = await lane.client.send(message, stream=True)
        except BaseException:
            lane.busy -= 1
            raise
        # httpcore looks its read timeout up again when it starts on the body.
        timeout["read"] = idle_s
        stream = _HttpxStream(self, lane, request, reply, deadline, idle_s)
        if _claimed(stream.headers) > self.max_bytes:
            await stream.aclose()
            raise BadReply(f"the reply claims {stream.headers['content-length']} bytes", status=stream.status)
        return stream

    @contextmanager
    def mapped(self, request: HttpRequest, *, head: bool) -> Iterator[None]:
        """Turn whatever the client raises into our own. `head`: the reply has not begun yet."""
        try:
            yield
        except ProviderError:
            raise
        except (self._httpx.HTTPError, self._httpx.InvalidURL, zlib.error, OSError, UnicodeError) as error:
            raise self._ours(error, request, head=head) from None

    def _ours(self, error: Exception, request: HttpRequest, *, head: bool) -> ProviderError:
        """Return our error for a foreign one. Its words may quote headers, so only harmless ones are repeated."""
        httpx, kind = self._httpx, type(error).__name__
        host = request.url.partition("://")[2].partition("/")[0].rpartition("@")[2] or "its address"
        late: Phase = "first_token" if head else "between_chunks"
        match error:
            case httpx.ConnectTimeout() | httpx.PoolTimeout():
                return TimedOut(f"no connection to {host} in time ({kind})", phase="connect")
            case httpx.TimeoutException():
                return TimedOut(f"no bytes from {host} in time ({kind})", phase=late)
            case TimeoutError():
                return TimedOut(f"no whole answer from {host} in time", phase="total")
            case zlib.error():
                return BadReply(f"the reply of {host} is broken in its compression")
            case httpx.LocalProtocolError() | UnicodeError():
                return BadRequest(f"the request to {host} cannot be said in HTTP ({kind})")
            case httpx.ConnectError() | httpx.ProxyError():
                return Unreachable(f"cannot reach {host}: {error}")
            case httpx.UnsupportedProtocol() | httpx.InvalidURL():
                return Unreachable(f"no HTTP address: {host}")
        if head:
            return Unreachable(f"{host} hung up before it answered ({kind})")
        return StreamBroken(f"{host} hung up in the middle of its answer ({kind})")


def _claimed(headers: Mapping[str, str]) -> float:
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        return 0
    return int(length) if len(length) < 16 else inf


@dataclass(slots=True, eq=False)
class _Lane:
    """A client with a connection pool of its own, and how many requests it has under way."""

    client: httpx2.AsyncClient
    room: int
    busy: int = 0


class _HttpxStream:
    """One open reply. It unpacks the body itself: so much at a time as may still come."""

    __slots__ = (
        "_begun",
        "_chunks",
        "_deadline",
        "_ended",
        "_idle_s",
        "_lane",
        "_left",
        "_owner",
        "_packed",
        "_reply",
        "_request",
        "_unpacker",
        "headers",
        "status",
    )

    def __init__(
        self,
        owner: HttpxTransport,
        lane: _Lane,
        request: HttpRequest,
        reply: httpx2.Response,
        deadline: float,
        idle_s: float,
    ) -> None:
        self._owner, self._lane, self._request, self._reply = owner, lane, request, reply
        self._deadline, self._idle_s = deadline, idle_s
        self._left = owner.max_bytes
        self._begun = self._ended = False
        self.status: int = reply.status_code
        self.headers: Mapping[str, str] = {
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in reply.headers.raw
        }
        # A mocked reply may come read and unpacked already.
        ready = reply.is_stream_consumed
        self._chunks: AsyncGenerator[bytes, None] = reply.aiter_bytes() if ready else reply.aiter_raw()
        self._packed = not ready and self.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip")
        self._unpacker: zlib._Decompress | None = None

    async def read(self) -> bytes:
        """Return the next bytes, `b""` at the end and ever after."""
        left = self._deadline - anyio.current_time()
        with self._owner.mapped(self._request, head=False):
            if left < self._idle_s:
                with anyio.fail_after(left):
                    chunk = await self._next()
            else:  # the client's own timeout comes first: no scope needed for each chunk
                chunk = await self._next()
        self._left -= len(chunk)
        if self._left < 0:
            raise BadReply(f"the reply is larger than {self._owner.max_bytes} bytes", status=self.status)
        return chunk

    async def _next(self) -> bytes:
        self._begun = True
        async for chunk in self._chunks:
            piece = self._unpack(chunk) if self._packed else chunk
            if piece:
                return piece
        self._leave()
        if self._unpacker is not None and not self._unpacker.eof:
            raise zlib.error("the end is missing")
        return b""

    def _unpack(self, chunk: bytes) -> bytes:
        if self._unpacker is None:
            self._unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        return self._unpacker.decompress(chunk, self._left + 1)

    def _leave(self) -> None:
        if not self._ended:
            self._ended = True
            self._lane.busy -= 1

    async def aclose(self) -> None:
        """Close the reply with its socket, unless it was read to its end: then its connection is free already."""
        if self._ended:
            return
        self._leave()
        with anyio.CancelScope(shield=True):
            if self._begun:
                await self._abandon()
            await self._reply.aclose()

    async def _abandon(self) -> None:
        """Leave the body half read, by a read that is cancelled.

        The client nests four generators. Closing the outer one leaves the inner ones to the garbage collector, which
        trio warns of; a cancelled read runs through all of them.
        """
        errors = self._owner._httpx.HTTPError, self._owner._httpx.StreamError, OSError
        with suppress(*errors), anyio.CancelScope() as scope:
            scope.cancel()
            async for _ in self._chunks:
                pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
