"""The network over anyio's sockets, with llhttp as the parser: the fast one. It needs the extra `fast`.

It does what `over_httpx2.py` does, under the same tests, at a quarter of the CPU. It speaks HTTP/1.1, through HTTP
proxies; SOCKS is left to httpx2.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Self

import anyio

from providers.adapters import HttpReply, HttpRequest
from providers.errors import Phase, Unreachable
from providers.transport import (
    MAX_BYTES,
    STALE_S,
    Inflow,
    headers_of,
    hung_up,
    late,
    no_connection,
    no_set_up,
)
from providers.transport.addresses import Address, Destination, address_of
from providers.transport.connections import RECEIVE_BYTES, Connection, Pool, ProxyRefused
from providers.transport.http1 import Malformed, ReplyParser, head_of_request

ENDED = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, Malformed, OSError)


class SocketTransport:
    """A `Transport` over sockets. Proxies, and whom to trust, come from the environment."""

    keeps_time = True

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._address = lru_cache(maxsize=256)(address_of)  # vendors' addresses are few
        self._pool = Pool()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply:
        reply = await self._open(request, connect_s, first_byte_s, idle_s, total_s, "gzip")
        try:
            body = await reply.read()
            pieces = [body]
            while piece := await reply.read():
                pieces.append(piece)
        finally:
            await reply.aclose()
        return HttpReply(reply.status, reply.headers, b"".join(pieces) if len(pieces) > 1 else body)

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> _Reply:
        # A compressed stream may be held back by the compressor's window.
        return await self._open(request, connect_s, first_byte_s, idle_s, total_s, "identity")

    async def _open(
        self, request: HttpRequest, connect_s: float, first_byte_s: float, idle_s: float, total_s: float, coding: str
    ) -> _Reply:
        address = self._address(request.url)
        headers = {**address.headers, **headers_of(request, coding), "content-length": str(len(request.body))}
        message = head_of_request(request.method, _target(address, headers), headers) + request.body
        began = anyio.current_time()
        limits = _Limits(request.url, first_byte_s, idle_s, began + total_s, self.max_bytes)
        kept = await self._pool.take(address.destination, began)
        if kept is not None:
            reply = _Reply(self._pool, kept, limits)
            try:
                await reply.ask(message)
            except Unreachable:
                if reply.begun or anyio.current_time() - began > STALE_S:
                    raise
            else:
                return reply
        reply = _Reply(self._pool, await self._connect(address.destination, connect_s, limits), limits)
        await reply.ask(message)
        return reply

    async def _connect(self, destination: Destination, connect_s: float, limits: _Limits) -> Connection:
        if destination.tls or (destination.proxy and destination.proxy.tls):
            try:
                self._pool.trust()
            except (OSError, ValueError) as error:
                raise no_set_up(error) from None
        with anyio.CancelScope(deadline=limits.until(connect_s)):
            try:
                return await self._pool.open(destination)
            except ProxyRefused as error:
                raise no_connection(limits.url, f"the proxy answered with HTTP {error}") from None
            except ENDED as error:
                raise no_connection(limits.url, _why(error)) from None
        raise late(limits.url, limits.phase("connect"))


def _target(address: Address, headers: dict[str, str]) -> str:
    """Return what the request line names. A proxy that passes on what is not encrypted is told the whole address."""
    destination = address.destination
    if destination.proxy is None or destination.tls:
        return address.target
    headers.update(destination.proxy.headers)
    return f"http://{address.authority}{address.target}"


@dataclass(frozen=True, slots=True)
class _Limits:
    """What one exchange may take. `end` is a time of the event loop's clock."""

    url: str
    first_byte_s: float
    idle_s: float
    end: float
    max_bytes: int

    def until(self, seconds: float) -> float:
        """Return the time until which a phase of so many seconds may go on."""
        return min(anyio.current_time() + seconds, self.end)

    def phase(self, phase: Phase) -> Phase:
        """Return which limit was passed: the phase's own one, or the whole exchange's."""
        return "total" if anyio.current_time() >= self.end else phase


class _Reply:
    """One reply. It unpacks the body itself: so much at a time as may still come."""

    __slots__ = ("_connection", "_inflow", "_limits", "_parser", "_pool")

    def __init__(self, pool: Pool, connection: Connection, limits: _Limits) -> None:
        self._pool, self._limits = pool, limits
        self._connection: Connection | None = connection
        self._parser = ReplyParser()

    @property
    def begun(self) -> bool:
        """Whether any byte of it has come."""
        return self._parser.begun

    @property
    def status(self) -> int:
        return self._parser.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._parser.headers

    async def ask(self, message: bytes) -> None:
        """Send a request, and wait for the head of its reply. Nothing stays open where this fails."""
        try:
            await self._ask(message)
            self._inflow = Inflow(self.status, self.headers, self._limits.max_bytes)
        except ENDED as error:
            await self.aclose()
            raise hung_up(self._limits.url, error, head=not self._parser.headed) from None
        except BaseException:
            await self.aclose()
            raise

    async def _ask(self, message: bytes) -> None:
        assert self._connection is not None
        with anyio.CancelScope(deadline=self._limits.until(self._limits.first_byte_s)) as scope:
            with suppress(anyio.BrokenResourceError):  # whoever hung up may have said why before
                for start in range(0, len(message), RECEIVE_BYTES):
                    await self._connection.stream.send(message[start : start + RECEIVE_BYTES])
            while not self._parser.headed:
                await self._receive()
        if scope.cancelled_caught:
            raise late(self._limits.url, self._limits.phase("first_token"))

    async def _receive(self) -> None:
        assert self._connection is not None
        try:
            data = await self._connection.stream.receive(RECEIVE_BYTES)
        except anyio.EndOfStream:
            self._parser.feed_end()
        else:
            self._parser.feed(data)
        if self._parser.ended:
            await self._let_go(self._connection)

    async def _let_go(self, connection: Connection) -> None:
        self._connection = None
        if self._parser.keeps_alive:
            await self._pool.keep(connection, anyio.current_time())
        else:
            await self._pool.drop(connection)

    async def read(self) -> bytes:
        """Return the next bytes, `b""` at the end and ever after."""
        while not (piece := self._unpacked()) and not self._parser.ended:
            with anyio.CancelScope(deadline=self._limits.until(self._limits.idle_s)) as scope:
                try:
                    await self._receive()
                except ENDED as error:
                    raise hung_up(self._limits.url, error, head=False) from None
            if scope.cancelled_caught:
                raise late(self._limits.url, self._limits.phase("between_chunks"))
        if not piece:
            self._inflow.end()
        return piece

    def _unpacked(self) -> bytes:
        data = self._parser.take()
        return self._inflow.take(data) if data else b""

    async def aclose(self) -> None:
        """Close the reply with its socket, unless it has come whole: then its connection is free already."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await self._pool.drop(connection)


def _why(error: BaseException) -> str:
    """Return the first words on the way to the cause: some errors have none of their own."""
    while (cause := error.__cause__ or error.__context__) is not None and (not str(error) or type(error) is OSError):
        error = cause
    return str(error) or type(error).__name__
