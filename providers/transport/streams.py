"""One connection's bytes: on asyncio by a protocol of our own, on every other event loop by anyio's stream.

Anyio's stream would do on asyncio, too. But there its scopes, guards and wake-ups are two thirds of what an exchange
costs (callgrind: 150,000 instructions, here 50,000).
"""

from __future__ import annotations

import asyncio
import select
import ssl
import sys
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from providers.transport.dial import dial

RECEIVE_BYTES = 1024 * 1024
"""More than any event loop reads at once: what was read is handed on whole."""
HELD_BYTES = 1024 * 1024
"""With so many bytes that are not taken yet, no more is read."""
BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class Stream(Protocol):
    """An open connection. Raises `OSError` where it breaks, and `TimeoutError` where a call takes too many seconds."""

    async def send(self, data: bytes, within: float) -> None: ...

    async def receive(self, within: float) -> bytes:
        """Return what has come, `b""` at the end."""

    async def secure(self, host: str, context: ssl.SSLContext) -> None:
        """Continue encrypted, once the other side has proved to be `host`."""

    def is_quiet(self) -> bool:
        """Return whether nothing has come that was not received, not even the end."""

    def close(self) -> None:
        """Close the socket at once, whatever is still to be sent. Twice is harmless."""


async def connect(host: str, port: int) -> Stream:
    """Return a connection. Raise `OSError`."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return AnyioStream(await anyio.connect_tcp(host, port))
    _, stream = await loop.create_connection(LoopStream, sock=await dial(host, port))
    return stream


class LoopStream(asyncio.Protocol):
    """A `Stream` on asyncio.

    Its timer is set once for many exchanges: what is to come later only moves `_due`, and the timer looks when it
    fires.
    """

    __slots__ = (
        "_armed",
        "_due",
        "_ended",
        "_error",
        "_got",
        "_held",
        "_loop",
        "_readable",
        "_timer",
        "_transport",
        "_waiter",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._got: list[bytes] = []
        self._held = 0
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed = self._due = inf

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._readable = _readable(transport.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        self._got.append(data)
        self._held += len(data)
        if self._held > HELD_BYTES:
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended, self._error = True, self._error or exc
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def send(self, data: bytes, within: float) -> None:  # noqa: ARG002  # what is not taken at once waits inside
        self._transport.write(data)

    async def receive(self, within: float) -> bytes:
        if not self._got and not self._ended:
            await self._wait(within)
        if not self._got:
            if self._error is not None:
                raise self._error
            return b""
        data = self._got[0] if len(self._got) == 1 else b"".join(self._got)
        if self._held > HELD_BYTES:
            self._transport.resume_reading()
        self._got, self._held = [], 0
        return data

    async def _wait(self, within: float) -> None:
        self._waiter = self._loop.create_future()
        self._due = self._loop.time() + within
        if self._due < self._armed:
            self._arm()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed, self._timer = self._due, self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._armed, self._timer = inf, None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() < self._due:
            self._arm()
        else:
            self._waiter.set_exception(TimeoutError())

    async def secure(self, host: str, context: ssl.SSLContext) -> None:
        self._transport = cast(
            asyncio.Transport, await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        )

    def is_quiet(self) -> bool:
        return not self._got and not self._ended and not self._readable()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()


class AnyioStream:
    """A `Stream` over one of anyio's."""

    __slots__ = ("_readable", "_stream", "_tls")

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._readable = _readable(stream.extra(SocketAttribute.raw_socket).fileno())
        self._tls: ssl.SSLObject | None = None

    async def send(self, data: bytes, within: float) -> None:
        try:
            with anyio.fail_after(within):
                await self._stream.send(data)
        except BROKEN as error:
            raise OSError(type(error).__name__) from error

    async def receive(self, within: float) -> bytes:
        try:
            with anyio.fail_after(within):
                return await self._stream.receive(RECEIVE_BYTES)
        except anyio.EndOfStream:
            return b""
        except BROKEN as error:
            raise OSError(type(error).__name__) from error

    async def secure(self, host: str, context: ssl.SSLContext) -> None:
        try:
            self._stream = await TLSStream.wrap(
                self._stream, hostname=host, ssl_context=context, standard_compatible=False
            )
        except (*BROKEN, anyio.EndOfStream) as error:
            raise OSError(type(error).__name__) from error
        self._tls = self._stream.extra(TLSAttribute.ssl_object)

    def is_quiet(self) -> bool:
        if self._readable():
            return False
        if self._tls is None:
            return True
        try:
            self._tls.read(1)  # a record may have come along with the one before it
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            return False
        return False

    def close(self) -> None:
        raw = self._stream.extra(SocketAttribute.raw_socket)
        if raw.fileno() >= 0:
            anyio.notify_closing(raw)
            raw.close()


def _readable(number: int) -> Callable[[], object]:
    if sys.platform == "win32":
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return lambda: poll.poll(0)
