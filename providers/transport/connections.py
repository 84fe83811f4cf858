"""Connections: how they are made, and which of them serve a second request."""

from __future__ import annotations

import select
import ssl
import sys
from collections.abc import Callable

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream

from providers.transport import KEEP_ALIVE_S, trusted
from providers.transport.addresses import Destination
from providers.transport.http1 import Malformed, ReplyParser, head_of_request
from providers.transport.proxies import Proxy

RECEIVE_BYTES = 1024 * 1024
"""More than any event loop reads at once: what was read is handed on whole, and nothing stays behind in a buffer."""


class ProxyRefused(Exception):
    """A proxy did not open the way: with this status, where it is one."""


class Connection:
    """An open connection, which serves one request at a time."""

    __slots__ = ("_readable", "_tls", "destination", "idle_since", "kept", "stream")

    def __init__(self, destination: Destination, stream: ByteStream) -> None:
        self.destination, self.stream = destination, stream
        self.kept = False
        self.idle_since = 0.0
        self._readable = _readable(stream.extra(SocketAttribute.raw_socket).fileno())
        self._tls: ssl.SSLObject | None = stream.extra(TLSAttribute.ssl_object, None)

    def is_quiet(self) -> bool:
        """Return whether nothing has come that nobody asked for, not even the connection's end."""
        if self._readable():
            return False
        if self._tls is not None:
            try:
                self._tls.read(1)  # a record may have come along with the one before it
            except ssl.SSLWantReadError:
                return True
            except ssl.SSLError:
                return False
        return self._tls is None

    async def aclose(self) -> None:
        """Close the socket at once, whatever is still to be sent."""
        with anyio.CancelScope(shield=True):
            await self.stream.aclose()


def _readable(number: int) -> Callable[[], object]:
    if sys.platform == "win32":
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return lambda: poll.poll(0)


class Pool:
    """The connections of one transport: the one that was used last serves next, so that a quiet process keeps few."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()
        self._idle: dict[Destination, list[Connection]] = {}
        self._swept_at = 0.0
        self._trust: ssl.SSLContext | None = None

    async def take(self, destination: Destination, now: float) -> Connection | None:
        """Return a kept connection that is good for another request, if there is one."""
        idle = self._idle.get(destination)
        while idle:
            connection = idle.pop()
            if now - connection.idle_since <= KEEP_ALIVE_S and connection.is_quiet():
                return connection
            await self.drop(connection)
        return None

    async def keep(self, connection: Connection, now: float) -> None:
        """Take back a connection whose reply has come whole and which the server keeps open."""
        connection.kept, connection.idle_since = True, now
        self._idle.setdefault(connection.destination, []).append(connection)
        if now - self._swept_at > KEEP_ALIVE_S:
            await self._sweep(now)

    async def _sweep(self, now: float) -> None:
        self._swept_at = now
        for idle in self._idle.values():
            old = [connection for connection in idle if now - connection.idle_since > KEEP_ALIVE_S]
            idle[:] = idle[len(old) :]  # they stand in the order of their last use
            for connection in old:
                await self.drop(connection)

    async def drop(self, connection: Connection) -> None:
        """Close a connection."""
        self._open.discard(connection)
        await connection.aclose()

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        self._idle.clear()
        while self._open:
            await self._open.pop().aclose()

    async def open(self, destination: Destination) -> Connection:
        """Make a connection. Raise `OSError`, anyio's errors of streams, or `ProxyRefused`; nothing stays open then."""
        first = destination.proxy or destination
        stream: ByteStream = await anyio.connect_tcp(first.host, first.port)
        try:
            if destination.proxy is not None:
                if destination.proxy.tls:
                    stream = await self._secured(stream, destination.proxy.host)
                if destination.tls:
                    await _tunnel(stream, destination, destination.proxy)
            if destination.tls:
                stream = await self._secured(stream, destination.host)
        except BaseException:
            await anyio.aclose_forcefully(stream)
            raise
        connection = Connection(destination, stream)
        self._open.add(connection)
        return connection

    async def _secured(self, stream: ByteStream, host: str) -> ByteStream:
        return await TLSStream.wrap(stream, hostname=host, ssl_context=self.trust(), standard_compatible=False)

    def trust(self) -> ssl.SSLContext:
        """Return whom to trust. Raise `OSError` or `ValueError` where the environment names what is no certificate."""
        if self._trust is None:
            self._trust = trusted()
        return self._trust


async def _tunnel(stream: ByteStream, destination: Destination, proxy: Proxy) -> None:
    host = f"[{destination.host}]" if ":" in destination.host else destination.host
    target, parser = f"{host}:{destination.port}", ReplyParser()
    await stream.send(head_of_request("CONNECT", target, {"host": target, **proxy.headers}))
    while not parser.headed:
        try:
            parser.feed(await stream.receive())
        except Malformed:
            raise ProxyRefused from None
    if not 200 <= parser.status < 300:
        raise ProxyRefused(parser.status)
