"""The network over sockets, with llhttp as the parser: the fast one. It needs the extra `fast`.

It does what `over_httpx2.py` does, under the same tests. It speaks HTTP/1.1, through HTTP proxies; SOCKS is left to
httpx2.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Self

import anyio

from providers.adapters import HttpReply, HttpRequest
from providers.errors import Phase, StreamBroken, TimedOut, Unreachable
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
from providers.transport.addresses import Destination, address_of
from providers.transport.connections import Pool
from providers.transport.http1 import Malformed, ReplyParser, head_of_request
from providers.transport.proxies import ProxyRefused
from providers.transport.streams import Stream


class SocketTransport:
    """A `Transport` over sockets. Proxies, and which certificates to trust, come from the environment."""

    keeps_time = True

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._head = lru_cache(maxsize=256)(_head)  # a turn's differs from the one before by its length alone
        self.pool = Pool()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self.pool.aclose()

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply:
        reply = await self._open(request, connect_s, first_byte_s, idle_s, total_s, "gzip")
        pieces: list[bytes] = []
        try:
            while piece := await reply.read():
                pieces.append(piece)
        except (TimedOut, StreamBroken):
            if reply.status < 300:  # else the status says the most
                raise
        finally:
            reply.close()
        return HttpReply(reply.status, reply.headers, b"".join(pieces))

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> _Reply:
        # A compressed stream may be held back by the compressor's window.
        return await self._open(request, connect_s, first_byte_s, idle_s, total_s, "identity")

    async def _open(
        self, request: HttpRequest, connect_s: float, first_byte_s: float, idle_s: float, total_s: float, coding: str
    ) -> _Reply:
        began = time.monotonic()
        destination, head = self._head(request.method, request.url, tuple(request.headers.items()), coding)
        message = b"".join((head, b"content-length: %d\r\n\r\n" % len(request.body), request.body))
        end = began + total_s
        kept = self.pool.take(destination, began)
        if kept is not None:
            reply = _Reply(self, kept, request.url, destination, idle_s, end)
            try:
                await reply.ask(message, first_byte_s)
            except Unreachable:
                # The server may have closed this idle connection while the request was on its way. Without a byte of a
                # reply, and soon, the request goes out again: once, on a new connection.
                if reply.begun or time.monotonic() - began > STALE_S:
                    raise
            else:
                return reply
        stream = await self._connect(request.url, destination, connect_s, end)
        reply = _Reply(self, stream, request.url, destination, idle_s, end)
        await reply.ask(message, first_byte_s)
        return reply

    async def _connect(self, url: str, destination: Destination, connect_s: float, end: float) -> Stream:
        try:
            if destination.tls or (destination.proxy and destination.proxy.tls):
                self.pool.trust()
        except (OSError, ValueError) as error:
            raise no_set_up(error) from None
        left = end - time.monotonic()
        try:
            with anyio.fail_after(min(connect_s, left)):
                return await self.pool.open(destination, connect_s)
        except TimeoutError:
            raise late(url, "connect" if connect_s < left else "total") from None
        except ProxyRefused as error:
            raise no_connection(url, f"the proxy answered with {error}") from None
        except OSError as error:
            raise no_connection(url, _why(error)) from None


def _head(method: str, url: str, headers: tuple[tuple[str, str], ...], coding: str) -> tuple[Destination, bytes]:
    """Return where a request goes, and its head but for its body's length. Raise `ProviderError` for what is neither.

    A proxy that passes on what is not encrypted is told the whole address.
    """
    address = address_of(url)
    destination, target = address.destination, address.target
    lines = {**address.headers, **headers_of(url, headers, coding)}
    if destination.proxy is not None and not destination.tls and not destination.proxy.is_socks:
        lines.update(destination.proxy.headers)
        target = f"http://{address.authority}{target}"
    return destination, head_of_request(method, target, lines)


class _Reply:
    """One reply. It unpacks the body itself: so much at a time as may still come."""

    __slots__ = ("_destination", "_end", "_idle_s", "_inflow", "_net", "_parser", "_stream", "_url")

    def __init__(
        self, net: SocketTransport, stream: Stream, url: str, destination: Destination, idle_s: float, end: float
    ) -> None:
        self._net, self._url, self._destination, self._idle_s, self._end = net, url, destination, idle_s, end
        self._stream: Stream | None = stream
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

    async def ask(self, message: bytes, first_byte_s: float) -> None:
        """Send a request, and wait for the head of its reply. Nothing stays open where this fails."""
        try:
            due = time.monotonic() + first_byte_s
            await self._send(message, first_byte_s)
            while not self._parser.headed:
                await self._receive(due - time.monotonic(), "first_token")
            self._inflow = Inflow(self.status, self.headers, self._net.max_bytes)
        except BaseException:
            self.close()
            raise

    async def _send(self, message: bytes, within: float) -> None:
        assert self._stream is not None
        try:
            await self._stream.send(message, min(within, self._end - time.monotonic()))
        except TimeoutError:
            raise late(self._url, "first_token") from None
        except OSError:
            pass  # a server that hung up may have sent a reply that says why: it is read next

    async def _receive(self, within: float, phase: Phase) -> None:
        assert self._stream is not None
        left = self._end - time.monotonic()
        if min(within, left) <= 0.0:  # where bytes never cease to come, no wait for them ever ends too late
            raise late(self._url, phase if within < left else "total")
        try:
            data = await self._stream.receive(min(within, left))
            if data:
                self._parser.feed(data)
            else:
                self._parser.feed_end()
        except TimeoutError:
            raise late(self._url, phase if within < left else "total") from None
        except (OSError, Malformed) as error:
            raise hung_up(self._url, error, head=not self._parser.headed) from None
        if self._parser.ended:
            self._let_go(self._stream)

    def _let_go(self, stream: Stream) -> None:
        self._stream = None
        if self._parser.keeps_alive:
            self._net.pool.keep(self._destination, stream, time.monotonic())
        else:
            self._net.pool.drop(stream)

    async def read(self) -> bytes:
        """Return the next bytes, `b""` at the end and ever after."""
        while not (piece := self._unpacked()) and not self._parser.ended:
            await self._receive(self._idle_s, "between_chunks")
        if not piece:
            self._inflow.end()
        return piece

    def _unpacked(self) -> bytes:
        data = self._parser.take()
        return self._inflow.take(data) if data else b""

    def close(self) -> None:
        """Close the reply with its socket, unless it has come whole: then its connection is free already."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            self._net.pool.drop(stream)

    async def aclose(self) -> None:
        self.close()


def _why(error: BaseException) -> str:
    """Return the first words on the way to the cause: some errors have none of their own."""
    while (cause := error.__cause__ or error.__context__) is not None and (not str(error) or type(error) is OSError):
        error = cause
    return str(error) or type(error).__name__
