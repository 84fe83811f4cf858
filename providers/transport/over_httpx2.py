"""The network over httpx2's engine, httpcore2: on every event loop, through every kind of proxy. The default.

The engine is spoken to itself, because it takes a network backend, which httpx2's client does not: the backend watches
what comes on each connection, and the engine asks it before a connection serves another request.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, cast

import anyio
import httpcore2

from providers.adapters import HttpReply, HttpRequest
from providers.errors import Phase, ProviderError, StreamBroken, TimedOut
from providers.transport import (
    KEEP_ALIVE_S,
    MAX_BYTES,
    STALE_S,
    Inflow,
    headers_of,
    hung_up,
    late,
    no_connection,
    no_set_up,
    trusted,
    unsayable,
)
from providers.transport.addresses import Address, address_of
from providers.transport.closing import undisturbed
from providers.transport.proxies import PORTS, Proxy
from providers.transport.watched import WatchedBackend, WatchedStream

# The engine walks all connections of a pool at every request, twice: with 1,000 of them a request cost 5.2 ms of CPU,
# in lanes of 8 it costs 0.8 ms (measured 2026-11, httpcore2 2.16). So a pool serves few requests at a time, and many
# requests at once are served by more pools.
LANE_REQUESTS = 8
LANE_CONNECTIONS = 32


class HttpxTransport:
    """A `Transport` over httpcore2. Proxies, and which certificates to trust, come from the environment."""

    keeps_time = True

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._address = lru_cache(maxsize=256)(address_of)  # vendors' addresses are few
        self._lanes: dict[Proxy | None, list[_Lane]] = {}
        self._fresh: dict[Proxy | None, _Lane] = {}
        self._trust: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        with anyio.CancelScope(shield=True):
            for lane in (*(lane for lanes in self._lanes.values() for lane in lanes), *self._fresh.values()):
                await lane.pool.aclose()

    def _lane(self, proxy: Proxy | None) -> _Lane:
        """Return the first lane with room, so that a quiet process keeps few connections warm."""
        lanes = self._lanes.setdefault(proxy, [])
        for lane in lanes:
            if lane.busy < lane.room:
                return lane
        lanes.append(_Lane(self._pool(proxy, LANE_CONNECTIONS), room=LANE_REQUESTS))
        return lanes[-1]

    def _pool(self, proxy: Proxy | None, kept: int) -> httpcore2.AsyncConnectionPool:
        try:
            if self._trust is None:
                self._trust = trusted()
            return httpcore2.AsyncConnectionPool(
                ssl_context=self._trust,
                proxy=None if proxy is None or proxy.is_socks else _through(proxy, self._trust),
                max_connections=LANE_CONNECTIONS if kept else None,
                max_keepalive_connections=kept,
                keepalive_expiry=KEEP_ALIVE_S,
                network_backend=WatchedBackend(proxy if proxy is not None and proxy.is_socks else None),
            )
        except (OSError, ValueError) as error:
            raise no_set_up(error) from None

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply:
        stream = await self._open(request, connect_s, first_byte_s, idle_s, total_s, "gzip")
        pieces = []
        try:
            while piece := await stream.read():
                pieces.append(piece)
        except (TimedOut, StreamBroken):
            if stream.status < 300:  # else the status says the most
                raise
        finally:
            await stream.aclose()
        return HttpReply(stream.status, stream.headers, b"".join(pieces))

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> _HttpxStream:
        # A compressed stream may be held back by the compressor's window.
        return await self._open(request, connect_s, first_byte_s, idle_s, total_s, "identity")

    async def _open(
        self, request: HttpRequest, connect_s: float, first_byte_s: float, idle_s: float, total_s: float, coding: str
    ) -> _HttpxStream:
        deadline = anyio.current_time() + total_s
        timeout = {"connect": connect_s, "pool": connect_s, "write": first_byte_s, "read": first_byte_s}
        address = self._address(request.url)
        headers = {
            **address.headers,
            **headers_of(request.url, request.headers.items(), coding),
            "content-length": str(len(request.body)),
        }
        lane = self._lane(address.destination.proxy)
        lane.busy += 1
        try:
            with mapped(request.url, head=True):
                message = _message(request, address, headers, timeout)
                watch, reply = _Trace(deadline, connect_s, first_byte_s), None
                with watch.scope:  # the engine's limits are those of each read
                    reply = await self._ask(lane, message, address.destination.proxy, watch)
                if reply is None:
                    raise late(request.url, watch.phase)
        except BaseException:
            lane.busy -= 1
            raise
        # The engine looks its read timeout up again when it starts on the body.
        timeout["read"] = idle_s
        stream = _HttpxStream(lane, request.url, reply, deadline)
        try:
            stream.begin(self.max_bytes)
        except ProviderError:
            await stream.aclose()
            raise
        return stream

    async def _ask(
        self, lane: _Lane, message: httpcore2.Request, proxy: Proxy | None, watch: _Trace
    ) -> httpcore2.Response:
        began = anyio.current_time()
        message.extensions["trace"] = watch
        try:
            return await lane.pool.handle_async_request(message)
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError) as error:
            if watch.tunnels:
                raise httpcore2.ProxyError("the proxy opened no tunnel") from error
            # A head that is cut in its middle looks no different here; its bytes are lost, and no caller saw them.
            if not watch.kept or anyio.current_time() - began > STALE_S:
                raise
        if proxy not in self._fresh:
            self._fresh[proxy] = _Lane(self._pool(proxy, kept=0), room=sys.maxsize)
        return await self._fresh[proxy].pool.handle_async_request(message)


def _message(
    request: HttpRequest, address: Address, headers: Mapping[str, str], timeout: dict[str, float]
) -> httpcore2.Request:
    destination, scheme = address.destination, "https" if address.destination.tls else "http"
    port = None if destination.port == PORTS[scheme] else destination.port
    url = httpcore2.URL(scheme=scheme, host=destination.host, port=port, target=address.target)
    lines = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    return httpcore2.Request(request.method, url, headers=lines, content=request.body, extensions={"timeout": timeout})


def _through(proxy: Proxy, trust: ssl.SSLContext) -> httpcore2.Proxy:
    url = httpcore2.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target="/")
    return httpcore2.Proxy(url, auth=proxy.auth, ssl_context=trust if proxy.tls else None)


@contextmanager
def mapped(url: str, *, head: bool) -> Iterator[None]:
    """Turn whatever the client raises into our own errors. `head`: the reply has not begun yet."""
    try:
        yield
    except (*FOREIGN, OSError, UnicodeError) as error:
        raise _ours(error, url, head=head) from None


FOREIGN = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


def _ours(error: Exception, url: str, *, head: bool) -> ProviderError:
    """Return our error for a foreign one. Its words may quote headers, so only harmless ones are repeated."""
    match error:
        case httpcore2.ConnectTimeout() | httpcore2.PoolTimeout():
            return late(url, "connect")
        case httpcore2.TimeoutException():
            return late(url, "first_token" if head else "between_chunks")
        case TimeoutError():
            return late(url, "total")
        case httpcore2.LocalProtocolError() | UnicodeError():
            return unsayable(url, error)
        case httpcore2.ConnectError() | httpcore2.ProxyError():
            return no_connection(url, _why(error))
    return hung_up(url, error, head=head)


def _why(error: BaseException) -> str:
    """Return the first words on the way to the cause: trio's own errors say nothing of certificates."""
    while not str(error) and (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__


class _Trace:
    """What the engine tells on its way: `kept`, the request went out on a connection that had been kept; `tunnels`, a
    proxy is asked for a tunnel.

    `scope` ends with the phase of the request whose time is up: making the connection, or waiting for the whole head.
    """

    __slots__ = ("_asked", "_deadline", "_first_byte_s", "kept", "scope", "tunnels")

    def __init__(self, deadline: float, connect_s: float, first_byte_s: float) -> None:
        self.scope = anyio.CancelScope(deadline=min(deadline, anyio.current_time() + connect_s))
        self._deadline, self._first_byte_s = deadline, first_byte_s
        self._asked = False
        self.kept: bool | None = None
        self.tunnels = False

    @property
    def phase(self) -> Phase:
        """Which limit the deadline of `scope` is."""
        if self.scope.deadline == self._deadline:
            return "total"
        return "first_token" if self._asked else "connect"

    async def __call__(self, event: str, told: Mapping[str, Any]) -> None:
        if self.kept is None:  # a new connection begins with being made
            self.kept = event.startswith("http11.")
        if event == "http11.send_request_headers.started":
            self.tunnels = told["request"].method == b"CONNECT"
            if not self.tunnels and not self._asked:
                self._asked = True
                self.scope.deadline = min(self._deadline, anyio.current_time() + self._first_byte_s)


@dataclass(slots=True, eq=False)
class _Lane:
    """A connection pool, and how many requests it has under way."""

    pool: httpcore2.AsyncConnectionPool
    room: int
    busy: int = 0


class _HttpxStream:
    """One open reply. It unpacks the body itself: so much at a time as may still come."""

    __slots__ = (
        "_begun",
        "_chunks",
        "_deadline",
        "_ended",
        "_inflow",
        "_lane",
        "_reply",
        "_url",
        "headers",
        "status",
    )

    def __init__(self, lane: _Lane, url: str, reply: httpcore2.Response, deadline: float) -> None:
        self._lane, self._url, self._reply, self._deadline = lane, url, reply, deadline
        stream = reply.extensions["network_stream"]
        if isinstance(stream, WatchedStream):  # it is none where a server changes the protocol
            stream.until = deadline
        self._begun = self._ended = False
        self._chunks = cast(AsyncIterator[bytes], aiter(cast(Any, reply.stream)))
        self.status: int = reply.status
        self.headers: Mapping[str, str] = {
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in reply.headers
        }

    def begin(self, max_bytes: int) -> None:
        """Get ready to read. Raise `BadReply` for a body that will not be read."""
        self._inflow = Inflow(self.status, self.headers, max_bytes)

    async def read(self) -> bytes:
        """Return the next bytes, `b""` at the end and ever after."""
        try:
            with mapped(self._url, head=False):
                return await self._next()
        except TimedOut:
            if anyio.current_time() < self._deadline:
                raise
            raise late(self._url, "total") from None

    async def _next(self) -> bytes:
        self._begun = True
        async for chunk in self._chunks:
            if piece := self._inflow.take(chunk):
                return piece
        if not self._ended:
            self._leave()
            await self._reply.aclose()  # hands the connection back
        self._inflow.end()
        return b""

    def _leave(self) -> None:
        self._ended = True
        self._lane.busy -= 1

    async def aclose(self) -> None:
        """Close the reply with its socket, unless it was read to its end: then its connection is free already."""
        if self._ended:
            return
        self._leave()
        await undisturbed(self._close)

    async def _close(self) -> None:
        if self._begun:
            await self._abandon()
        await self._reply.aclose()

    async def _abandon(self) -> None:
        """Leave the body half read, by a read that is cancelled.

        The engine nests generators. Closing the outer one leaves the inner ones to the garbage collector, which trio
        warns of; a cancelled read runs through all of them.
        """
        with suppress(*FOREIGN, OSError), anyio.CancelScope() as scope:
            scope.cancel()
            async for _ in self._chunks:
                pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
