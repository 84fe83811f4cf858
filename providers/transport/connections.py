"""Connections: how they are made, and which of them serve a second request."""

from __future__ import annotations

import ssl

import anyio
import anyio.lowlevel

from providers.transport import KEEP_ALIVE_S, trusted
from providers.transport.addresses import Destination
from providers.transport.http1 import Malformed, ReplyParser, head_of_request
from providers.transport.proxies import Proxy, ProxyRefused
from providers.transport.socks import handshake
from providers.transport.streams import Stream, connect


class Pool:
    """The connections of one transport: the one that was used last serves next, so that a quiet process keeps few.

    `now` are seconds of any clock that goes on evenly.
    """

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self._idle: dict[Destination, list[tuple[Stream, float]]] = {}
        self._swept_at = 0.0
        self._trust: ssl.SSLContext | None = None

    def take(self, destination: Destination, now: float) -> Stream | None:
        """Return a kept connection that is good for another request, if there is one."""
        idle = self._idle.get(destination)
        while idle:
            stream, since = idle.pop()
            if now - since <= KEEP_ALIVE_S and stream.is_quiet():
                return stream
            self.drop(stream)
        return None

    def keep(self, destination: Destination, stream: Stream, now: float) -> None:
        """Take back a connection whose reply has come whole and which the server keeps open."""
        self._idle.setdefault(destination, []).append((stream, now))
        if now - self._swept_at > KEEP_ALIVE_S:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        for idle in self._idle.values():
            old = [stream for stream, since in idle if now - since > KEEP_ALIVE_S]
            del idle[: len(old)]  # they stand in the order of their last use
            for stream in old:
                self.drop(stream)

    def drop(self, stream: Stream) -> None:
        """Close a connection."""
        self._open.discard(stream)
        stream.close()

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        self._idle.clear()
        while self._open:
            self._open.pop().close()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()  # event loops let go of a socket in their next round

    async def open(self, destination: Destination, within: float) -> Stream:
        """Make a connection. Raise `OSError` or `ProxyRefused`; nothing stays open then."""
        first = destination.proxy or destination
        stream = await connect(first.host, first.port)
        try:
            if destination.proxy is not None:
                if destination.proxy.tls:
                    await stream.secure(destination.proxy.host, self.trust())
                if destination.proxy.is_socks:
                    await _through_socks(stream, destination, destination.proxy, within)
                elif destination.tls:
                    await _tunnel(stream, destination, destination.proxy, within)
            if destination.tls:
                await stream.secure(destination.host, self.trust())
        except BaseException:
            stream.close()
            raise
        self._open.add(stream)
        return stream

    def trust(self) -> ssl.SSLContext:
        """Return the certificates to trust. Raise `OSError` or `ValueError` where the environment names none."""
        if self._trust is None:
            self._trust = trusted()
        return self._trust


async def _through_socks(stream: Stream, destination: Destination, proxy: Proxy, within: float) -> None:
    talk, came = handshake(proxy, destination.host, destination.port), b""
    try:
        say, wanted = next(talk)
        while True:
            if say:
                await stream.send(say, within)
            while len(came) < wanted:
                data = await stream.receive(within)
                if not data:
                    raise ProxyRefused("the end of the connection")
                came += data
            taken, came = came[:wanted], came[wanted:]
            say, wanted = talk.send(taken)
    except StopIteration:
        if came:
            raise ProxyRefused("more than SOCKS 5 has to say") from None


async def _tunnel(stream: Stream, destination: Destination, proxy: Proxy, within: float) -> None:
    host = f"[{destination.host}]" if ":" in destination.host else destination.host
    target, parser = f"{host}:{destination.port}", ReplyParser()
    await stream.send(head_of_request("CONNECT", target, {"host": target, **proxy.headers}) + b"\r\n", within)
    while not parser.headed:
        data = await stream.receive(within)
        try:
            parser.feed(data) if data else parser.feed_end()
        except Malformed:
            raise ProxyRefused("no HTTP") from None
    if not 200 <= parser.status < 300:
        raise ProxyRefused(f"HTTP {parser.status}")
