"""The network over httpx2: on every event loop."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from providers.adapters import HttpReply, HttpRequest
from providers.errors import ProviderError
from providers.transport import (
    KEEP_ALIVE_S,
    MAX_BYTES,
    STALE_S,
    Inflow,
    headers_of,
    hung_up,
    late,
    no_address,
    no_connection,
    no_set_up,
    unsayable,
)

if TYPE_CHECKING:
    import ssl

    import httpx2

# httpcore walks all connections of a pool at every request, twice: with 1,000 of them a request cost 5.2 ms of CPU, in
# lanes of 8 it costs 0.8 ms (measured 2026-11, httpcore2 2.16). So a pool serves few requests at a time, and a crowd
# is served by more pools.
LANE_REQUESTS = 8
LANE_CONNECTIONS = 32


class HttpxTransport:
    """A `Transport` over `httpx2`. Proxies come from the environment, as its users expect.

    `inner` replaces the network: an `httpx2.MockTransport`, an ASGI app's transport.
    """

    keeps_time = True

    def __init__(self, inner: httpx2.AsyncBaseTransport | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        # Some 0.2 s; paid by whoever opens a network, not by whoever imports this package.
        import httpx2

        self._httpx = httpx2
        self.max_bytes = max_bytes
        self._url = lru_cache(maxsize=256)(httpx2.URL)  # vendors' addresses are few, and parsing one costs 50 us
        self._lanes: list[_Lane] = []
        self._fresh: _Lane | None = None
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
            for lane in (*self._lanes, *filter(None, (self._fresh,))):
                await lane.client.aclose()

    def _lane(self) -> _Lane:
        """Return the first lane with room, so that a quiet process keeps few connections warm."""
        for lane in self._lanes:
            if lane.busy < lane.room:
                return lane
        self._lanes.append(_Lane(self._client(LANE_CONNECTIONS), room=LANE_REQUESTS))
        return self._lanes[-1]

    def _client(self, kept: int) -> httpx2.AsyncClient:
        try:
            if self._trust is None:
                self._trust = self._httpx.create_ssl_context()
            limits = self._httpx.Limits(
                max_connections=LANE_CONNECTIONS, max_keepalive_connections=kept, keepalive_expiry=KEEP_ALIVE_S
            )
            return self._httpx.AsyncClient(verify=self._trust, limits=limits)
        except (OSError, ValueError, ImportError, self._httpx.InvalidURL) as error:
            raise no_set_up(error) from None

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
    ) -> _HttpxStream:
        # A compressed stream may be held back by the compressor's window.
        return await self._open(request, connect_s, first_byte_s, idle_s, total_s, "identity")

    async def _open(
        self, request: HttpRequest, connect_s: float, first_byte_s: float, idle_s: float, total_s: float, coding: str
    ) -> _HttpxStream:
        deadline = anyio.current_time() + total_s
        timeout = {"connect": connect_s, "pool": connect_s, "write": first_byte_s, "read": first_byte_s}
        headers = headers_of(request, coding)
        lane = self._lane()
        lane.busy += 1
        try:
            with self.mapped(request.url, head=True):
                # Not `client.request`: it would merge defaults and cookies that we do not want, at some cost.
                message = self._httpx.Request(
                    request.method,
                    self._url(request.url),
                    headers=headers,
                    content=request.body,
                    extensions={"timeout": timeout},
                )
                with anyio.fail_after(total_s):
                    reply = await self._ask(lane, message)
        except BaseException:
            lane.busy -= 1
            raise
        # httpcore looks its read timeout up again when it starts on the body.
        timeout["read"] = idle_s
        stream = _HttpxStream(self, lane, request.url, reply, deadline, idle_s)
        try:
            stream.begin()
        except ProviderError:
            await stream.aclose()
            raise
        return stream

    async def _ask(self, lane: _Lane, message: httpx2.Request) -> httpx2.Response:
        httpx, watch, began = self._httpx, _Watch(), anyio.current_time()
        message.extensions["trace"] = watch
        try:
            return await lane.client.send(message, stream=True)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # To httpcore a head that is cut in its middle is no different; its bytes are lost, and nobody saw them.
            if not watch.kept or anyio.current_time() - began > STALE_S:
                raise
        if self._fresh is None:
            self._fresh = _Lane(self._client(kept=0), room=sys.maxsize)
        return await self._fresh.client.send(message, stream=True)

    @contextmanager
    def mapped(self, url: str, *, head: bool) -> Iterator[None]:
        """Turn whatever the client raises into our own. `head`: the reply has not begun yet."""
        try:
            yield
        except (self._httpx.HTTPError, self._httpx.InvalidURL, OSError, UnicodeError) as error:
            raise self._ours(error, url, head=head) from None

    def _ours(self, error: Exception, url: str, *, head: bool) -> ProviderError:
        """Return our error for a foreign one. Its words may quote headers, so only harmless ones are repeated."""
        httpx = self._httpx
        match error:
            case httpx.ConnectTimeout() | httpx.PoolTimeout():
                return late(url, "connect")
            case httpx.TimeoutException():
                return late(url, "first_token" if head else "between_chunks")
            case TimeoutError():
                return late(url, "total")
            case httpx.LocalProtocolError() | UnicodeError():
                return unsayable(url, error)
            case httpx.ConnectError() | httpx.ProxyError():
                return no_connection(url, _why(error))
            case httpx.UnsupportedProtocol() | httpx.InvalidURL():
                return no_address(url)
        return hung_up(url, error, head=head)


def _why(error: BaseException) -> str:
    """Return the first words on the way to the cause: trio's own errors say nothing of certificates."""
    while not str(error) and (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__


class _Watch:
    """Learns from httpcore's trace whether a request went out on a connection that had been kept."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: bool | None = None

    async def __call__(self, event: str, _: object) -> None:
        if self.kept is None:  # a new connection begins with being made
            self.kept = event.startswith("http11.")


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
        "_inflow",
        "_lane",
        "_owner",
        "_reply",
        "_url",
        "headers",
        "status",
    )

    def __init__(
        self, owner: HttpxTransport, lane: _Lane, url: str, reply: httpx2.Response, deadline: float, idle_s: float
    ) -> None:
        self._owner, self._lane, self._url, self._reply = owner, lane, url, reply
        self._deadline, self._idle_s = deadline, idle_s
        self._begun = self._ended = False
        self.status: int = reply.status_code
        self.headers: Mapping[str, str] = {
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in reply.headers.raw
        }

    def begin(self) -> None:
        """Get ready to read. Raise `BadReply` for a body that will not be read."""
        # A mocked reply may come read and unpacked already.
        ready = self._reply.is_stream_consumed
        self._chunks: AsyncGenerator[bytes, None] = self._reply.aiter_bytes() if ready else self._reply.aiter_raw()
        self._inflow = Inflow(self.status, {} if ready else self.headers, self._owner.max_bytes)

    async def read(self) -> bytes:
        """Return the next bytes, `b""` at the end and ever after."""
        left = self._deadline - anyio.current_time()
        with self._owner.mapped(self._url, head=False):
            if left < self._idle_s:
                with anyio.fail_after(left):
                    return await self._next()
            return await self._next()  # the client's own timeout comes first: no scope needed for each chunk

    async def _next(self) -> bytes:
        self._begun = True
        async for chunk in self._chunks:
            if piece := self._inflow.take(chunk):
                return piece
        self._leave()
        self._inflow.end()
        return b""

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
