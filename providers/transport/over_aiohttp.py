"""The network over aiohttp: the fast one, on asyncio only. It needs the extra `fast`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from math import inf
from time import monotonic
from types import TracebackType
from typing import Self, TypeGuard
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientOSError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    NonHttpUrlClientError,
    ServerDisconnectedError,
    ServerTimeoutError,
    TCPConnector,
)
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

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

MAX_HEADER_BYTES = 64 * 1024
FOREIGN = (ClientError, HttpProcessingError, TimeoutError, OSError)
SAID_UNSAYABLE = (*FOREIGN, ValueError)


class AiohttpTransport:
    """A `Transport` over aiohttp, to be opened on a running asyncio loop. Proxies come from the environment.

    `trust_env` stays off: it would ask `~/.netrc` for keys, in a thread, at every request.
    """

    keeps_time = True

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._target = lru_cache(maxsize=256)(self._resolve)
        self._timeout = lru_cache(maxsize=256)(_timeout)
        self._trust: ssl.SSLContext | None = None
        self._kept = _session(TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S), _watched(WeakSet()))
        self._fresh = _session(TCPConnector(limit=0, force_close=True), ClientResponse)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._kept.close()
        await self._fresh.close()

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply:
        stream = await self._open(request, connect_s, first_byte_s, idle_s, total_s, "gzip")
        try:
            body = await stream.read()
            pieces = [body]
            while piece := await stream.read():
                pieces.append(piece)
        finally:
            stream.close()
        return HttpReply(stream.status, stream.headers, b"".join(pieces) if len(pieces) > 1 else body)

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> _AiohttpStream:
        # A compressed stream may be held back by the compressor's window.
        return await self._open(request, connect_s, first_byte_s, idle_s, total_s, "identity")

    async def _open(
        self, request: HttpRequest, connect_s: float, first_byte_s: float, idle_s: float, total_s: float, coding: str
    ) -> _AiohttpStream:
        headers = headers_of(request, coding)
        began = monotonic()
        try:
            try:
                reply = await self._ask(self._kept, request, headers, self._timeout(connect_s, first_byte_s, total_s))
            except _Stale as stale:
                spent = monotonic() - began
                if spent > STALE_S:
                    raise stale.cause from None
                reply = await self._ask(
                    self._fresh, request, headers, self._timeout(connect_s, first_byte_s, total_s - spent)
                )
        except SAID_UNSAYABLE as error:
            raise _ours(error, request.url, head=True) from None
        if idle_s != first_byte_s and not reply.closed:
            _wait_between_reads(reply, idle_s)
        try:
            return _AiohttpStream(reply, request.url, self.max_bytes)
        except ProviderError:
            _drop(reply)
            raise

    async def _ask(
        self, session: ClientSession, request: HttpRequest, headers: Mapping[str, str], limits: ClientTimeout
    ) -> ClientResponse:
        url, proxy, tls = self._target(request.url)
        return await session.request(
            request.method,
            url,
            data=request.body,
            headers=headers,
            timeout=limits,
            allow_redirects=False,
            proxy=proxy,
            ssl=tls,
        )

    def _resolve(self, url: str) -> tuple[URL, URL | None, ssl.SSLContext | bool]:
        """Return an address parsed, the proxy on the way to it, and whom to trust there."""
        try:
            target = URL(url)
        except ValueError:
            raise no_address(url) from None
        if target.scheme not in ("http", "https") or not target.raw_host or not url.isprintable() or not url.isascii():
            raise no_address(url)
        try:
            return target, _proxy(target), self._tls() if target.scheme == "https" else True
        except (OSError, ValueError) as error:
            raise no_set_up(error) from None

    def _tls(self) -> ssl.SSLContext:
        if self._trust is None:
            from httpx2 import create_ssl_context  # so that both clients trust the same, on every system

            self._trust = create_ssl_context()
            self._trust.set_alpn_protocols(["http/1.1"])
        return self._trust


class _AiohttpStream:
    """One open reply. It unpacks the body itself: so much at a time as may still come."""

    __slots__ = ("_content", "_inflow", "_reply", "_url", "headers", "status")

    def __init__(self, reply: ClientResponse, url: str, max_bytes: int) -> None:
        self._reply, self._url, self._content = reply, url, reply.content
        self.status: int = reply.status
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.raw_headers
        }
        self._inflow = Inflow(self.status, self.headers, max_bytes)

    async def read(self) -> bytes:
        """Return the next bytes, `b""` at the end and ever after."""
        try:
            while chunk := await self._content.readany():
                if piece := self._inflow.take(chunk):
                    return piece
        except FOREIGN as error:
            raise _ours(error, self._url, head=False) from None
        self._inflow.end()
        return b""

    def close(self) -> None:
        _drop(self._reply)

    async def aclose(self) -> None:
        """Close the reply with its socket, unless it was read to its end: then its connection is free already."""
        self.close()


class _Stale(Exception):
    """A kept connection ended before a byte of the reply came."""

    def __init__(self, cause: ClientError) -> None:
        self.cause = cause


def _watched(proven: WeakSet[object]) -> type[ClientResponse]:
    """Return a class of replies that knows which connections have answered before: they are in `proven`."""

    class Watched(ClientResponse):
        async def start(self, connection: Connection) -> ClientResponse:
            protocol, transport = connection.protocol, connection.transport
            try:
                await super().start(connection)
            except BaseException as error:
                # `close`, which follows, would wait until what was written is sent; the other side may never read it.
                if transport is not None:
                    transport.abort()
                if protocol in proven and _nothing_came(error):
                    raise _Stale(error) from None
                raise
            proven.add(protocol)
            return self

    return Watched


def _nothing_came(error: BaseException) -> TypeGuard[ServerDisconnectedError | ClientOSError]:
    if isinstance(error, ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is what came of the head
    return isinstance(error, ClientOSError)


def _session(connector: TCPConnector, replies: type[ClientResponse]) -> ClientSession:
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        response_class=replies,
        skip_auto_headers=("accept", "content-type"),
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )


def _timeout(connect_s: float, first_byte_s: float, total_s: float) -> ClientTimeout:
    # Zero would mean that there is no limit.
    connect, first_byte, total = (max(seconds, 0.001) for seconds in (connect_s, first_byte_s, total_s))
    return ClientTimeout(total=total, connect=connect, sock_read=first_byte, ceil_threshold=inf)


def _wait_between_reads(reply: ClientResponse, idle_s: float) -> None:
    if reply.connection is not None and (protocol := reply.connection.protocol) is not None:
        protocol.read_timeout = max(idle_s, 0.001)
        protocol.start_timeout()


def _drop(reply: ClientResponse) -> None:
    if not reply.closed:
        if reply.connection is not None and (transport := reply.connection.transport) is not None:
            transport.abort()
        reply.close()


def _ours(error: Exception, url: str, *, head: bool) -> ProviderError:
    """Return our error for a foreign one. Its words may quote headers, so only harmless ones are repeated."""
    match error:
        case ConnectionTimeoutError():
            return late(url, "connect")
        case ServerTimeoutError():
            return late(url, "first_token" if head else "between_chunks")
        case TimeoutError():
            return late(url, "total")
        case ClientHttpProxyError():
            return no_connection(url, f"the proxy answered with HTTP {error.status}")
        case ClientConnectorError():
            return no_connection(url, error.strerror or type(error).__name__)
        case InvalidURL() | NonHttpUrlClientError():
            return no_address(url)
        case ValueError() if not isinstance(error, ClientError | OSError):
            return unsayable(url, error)
    return hung_up(url, error, head=head)


def speaks_to_proxies() -> bool:
    """Return whether aiohttp can speak to every proxy that the environment names: not to SOCKS."""
    proxies = getproxies()
    named = (proxies.get(scheme) or "" for scheme in ("http", "https", "all"))
    return not any(proxy.startswith("socks") for proxy in named)


def _proxy(url: URL) -> URL | None:
    """Return the proxy that the environment (or the system, where it has such a setting) names for `url`."""
    proxies = getproxies()
    proxy, host = proxies.get(url.scheme) or proxies.get("all"), url.host or ""
    if not proxy or proxy_bypass(host) or _excepted(host, url.port, proxies.get("no", "")):
        return None
    found = URL(proxy if "://" in proxy else f"http://{proxy}")
    if found.scheme not in ("http", "https"):
        raise ValueError("no proxy that aiohttp speaks to")
    return found


def _excepted(host: str, port: int | None, exceptions: str) -> bool:
    """Return whether NO_PROXY names `host`: as it is, by a parent domain, with its port, by network, or by `*`."""
    for entry in filter(None, map(str.strip, exceptions.lower().split(","))):
        name = entry.lstrip("*").lstrip(".")
        if not name or name in (host, f"{host}:{port}") or host.endswith(f".{name}"):
            return True
        try:
            if "/" in entry and ip_address(host) in ip_network(entry, strict=False):
                return True
        except ValueError:
            continue  # a name, not an address
    return False
