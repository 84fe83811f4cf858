"""The connections that httpx2's engine is given: they know what came unasked, and until when a reply may take."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from math import inf
from typing import Any

import anyio
import httpcore2

from providers.transport.framing import Framing
from providers.transport.proxies import Proxy, ProxyRefused
from providers.transport.socks import Handshake, handshake


class WatchedBackend(httpcore2.AsyncNetworkBackend):
    """Makes connections that know whether anything came on them unasked."""

    def __init__(self, socks: Proxy | None = None) -> None:
        self._inner, self._socks = httpcore2.AnyIOBackend(), socks

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface of network backends, here and below
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        socks = self._socks
        if socks is None:
            return WatchedStream(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))
        stream = await self._inner.connect_tcp(socks.host, socks.port, timeout, local_address, socket_options)
        try:
            await _through_socks(stream, handshake(socks, host, port), timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            raise
        return WatchedStream(stream)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _through_socks(
    stream: httpcore2.AsyncNetworkStream,
    talk: Handshake,
    timeout: float | None,  # noqa: ASYNC109
) -> None:
    """Hold the talk with a SOCKS proxy, reading no byte more than it has to say. Raise `httpcore2.ProxyError`."""
    try:
        say, wanted = next(talk)
        while True:
            if say:
                await stream.write(say, timeout)
            came = b""
            while len(came) < wanted:
                data = await stream.read(wanted - len(came), timeout)
                if not data:
                    raise ProxyRefused("the end of the connection")
                came += data
            say, wanted = talk.send(came)
    except StopIteration:
        return
    except ProxyRefused as error:
        raise httpcore2.ProxyError(f"the proxy answered with {error}") from None
    except (httpcore2.ReadError, httpcore2.WriteError) as error:
        raise httpcore2.ProxyError("the proxy hung up") from error
    except (httpcore2.ReadTimeout, httpcore2.WriteTimeout) as error:
        raise httpcore2.ConnectTimeout from error


class WatchedStream(httpcore2.AsyncNetworkStream):
    """A connection. The engine reuses an idle one only where it is not readable, and this one says so of any surplus.

    Surplus that came in one piece with a reply lies in the engine's buffer, and would be its next reply.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner, self._framing = inner, Framing()
        self.until = inf
        """When, by the event loop's clock, the reply must have come: no read lasts longer, whatever it is allowed."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self.until < inf:
            left = self.until - anyio.current_time()
            if left <= 0.0:  # where bytes never cease to come, no read ever waits too long
                raise httpcore2.ReadTimeout
            timeout = left if timeout is None else min(timeout, left)
        data = await self._inner.read(max_bytes, timeout)
        self._framing.feed(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if self._framing.begun:
            self._framing, self.until = Framing(), inf
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        try:
            return WatchedStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:  # the engine closes it after its own errors, and not where it is cancelled
            with anyio.CancelScope(shield=True):
                await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return self._inner.get_extra_info(info)
        return not self._framing.is_whole or self._inner.get_extra_info(info) or self._has_unread_record()

    def _has_unread_record(self) -> bool:
        """Return whether a TLS record, or the end, has come along with the record before it."""
        tls: ssl.SSLObject | None = self._inner.get_extra_info("ssl_object")
        if tls is None:
            return False
        try:
            tls.read(1)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            return True
        return True
