"""The network over aiohttp: the fast one, on asyncio only. It needs the extra `fast`."""

from __future__ import annotations

import ssl
from asyncio import TimerHandle, Transport, get_running_loop
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from ipaddress import ip_address, ip_network
from math import inf
from types import TracebackType
from typing import Self, TypeGuard
from urllib.request import getproxies, proxy_bypass
from weakref import WeakSet

import anyio
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
    TCPConnector,
)
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from providers.adapters import HttpReply, HttpRequest
from providers.errors import Phase, ProviderError, TimedOut
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
LARGE_BODY = 1024 * 1024
FOREIGN = (ClientError, HttpProcessingError, TimeoutError, OSError)


class AiohttpTransport:
    """A `Transport` over aiohttp, to be opened on a running asyncio loop. Proxies come from the environment.

    `trust_env` stays off: it would ask `~/.netrc` for keys, in a thread, at every request.
    """

    keeps_time = True

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._target = lru_cache(maxsize=256)(self._resolve)
        self._timeout = lru_cache(maxsize=256)(_timeout)
        self._proven = WeakSet[object]()
        self._trust: ssl.SSLContext | None = None
        self._kept = _session(TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S))
        self._fresh = _session(TCPConnector(limit=0, force_close=True))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Not stopped by a cancellation: a session left open complains on stderr."""
        with anyio.CancelScope(shield=True):
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
        watch = _Watch(request.url, self._proven, first_byte_s, total_s)
        token = _WATCH.set(watch)
        try:
            reply = await self._ask(request, headers, self._timeout(min(connect_s, total_s)), watch)
        except (*FOREIGN, ValueError) as error:
            raise _ours(error, request.url, head=True) from None
        finally:
            _WATCH.reset(token)
        try:
            return _AiohttpStream(reply, watch, idle_s, self.max_bytes)
        except ProviderError:
            watch.drop()
            raise

    async def _ask(
        self, request: HttpRequest, headers: Mapping[str, str], limits: ClientTimeout, watch: _Watch
    ) -> ClientResponse:
        method, (url, proxy, tls) = request.method, self._target(request.url)
        try:
            return await self._kept.request(
                method,
                url,
                data=_body(request),
                headers=headers,
                timeout=limits,
                proxy=proxy,
                ssl=tls,
                allow_redirects=False,
            )
        except _Stale as stale:
            if watch.spent > STALE_S:
                raise stale.cause from None
        return await self._fresh.request(
            method,
            url,
            data=_body(request),
            headers=headers,
            timeout=limits,
            proxy=proxy,
            ssl=tls,
            allow_redirects=False,
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

    __slots__ = ("_content", "_idle_s", "_inflow", "_watch", "headers", "status")

    def __init__(self, reply: ClientResponse, watch: _Watch, idle_s: float, max_bytes: int) -> None:
        self._content, self._watch, self._idle_s = reply.content, watch, idle_s
        self.status: int = reply.status
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.raw_headers
        }
        self._inflow = Inflow(self.status, self.headers, max_bytes)

    async def read(self) -> bytes:
        """Return the next bytes, `b""` at the end and ever after."""
        watch = self._watch
        try:
            while True:
                watch.wait(self._idle_s)
                chunk = await self._content.readany()
                watch.rest()
                if not chunk:
                    break
                if piece := self._inflow.take(chunk):
                    return piece
        except FOREIGN as error:
            raise watch.late() or _ours(error, watch.url, head=False) from None
        if (late := watch.late()) is not None:
            raise late  # a body without a length ends where its connection does, and we ended that
        self._inflow.end()
        return b""

    def close(self) -> None:
        self._watch.drop()

    async def aclose(self) -> None:
        """Close the reply with its socket, unless it was read to its end: then its connection is free already."""
        self.close()


class _Watch:
    """Keeps the time of one exchange, and ends it by closing its socket.

    aiohttp's own limits set up to four timers a request and one a chunk, a quarter of a request's cost. Here is one
    timer. What comes only moves `_due`; the timer looks when it fires, and is set again where more time was given.
    """

    __slots__ = (
        "_armed",
        "_began",
        "_due",
        "_end",
        "_first_byte_s",
        "_late",
        "_loop",
        "_phase",
        "_reply",
        "_timer",
        "_transport",
        "proven",
        "url",
    )

    def __init__(self, url: str, proven: WeakSet[object], first_byte_s: float, total_s: float) -> None:
        self.url, self.proven = url, proven
        self._loop = get_running_loop()
        self._began = self._loop.time()
        self._end = self._due = self._began + total_s
        self._first_byte_s = first_byte_s
        self._phase: Phase = "first_token"
        self._late: Phase | None = None
        self._timer: TimerHandle | None = None
        self._armed = inf
        self._reply: ClientResponse | None = None
        self._transport: Transport | None = None

    @property
    def spent(self) -> float:
        """Seconds since the exchange began."""
        return self._loop.time() - self._began

    def begin(self, reply: ClientResponse, transport: Transport | None) -> None:
        """Watch what goes over `transport`: its reply's head is due."""
        self._reply, self._transport = reply, transport
        self._expect(self._first_byte_s)

    def wait(self, idle_s: float) -> None:
        """Note that more of the body is due, unless all of it is there."""
        if self._reply is not None and not self._reply.closed:
            self._phase = "between_chunks"
            self._expect(idle_s)

    def rest(self) -> None:
        """Note that nobody waits: only the end of all time is due."""
        self._due = self._end

    def _expect(self, seconds: float) -> None:
        self._due = min(self._loop.time() + seconds, self._end)
        if self._due < self._armed:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed, self._timer = self._due, self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        if self._loop.time() < self._due:
            self._arm()
        elif self._reply is not None and not self._reply.closed:
            self._late = "total" if self._due >= self._end else self._phase
            self._abort()  # which wakes whoever waits

    def late(self) -> TimedOut | None:
        """Return the error of the limit that was not kept, if there is one."""
        return None if self._late is None else late(self.url, self._late)

    def drop(self) -> None:
        """Stop, and close the socket unless the reply was read to its end: then it serves others already."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._armed = None, inf
        if self._reply is not None and not self._reply.closed:
            self._abort()
            self._reply.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()  # `close` would wait until what was written is sent; nobody may ever read it


_WATCH: ContextVar[_Watch] = ContextVar("watch")
"""The exchange that this task is at: a client's reply class is handed nothing of ours."""


class _Stale(Exception):
    """A kept connection ended before a byte of the reply came."""

    def __init__(self, cause: ClientError) -> None:
        self.cause = cause


class _Reply(ClientResponse):
    """A reply whose head is watched, and which knows the connections that have answered before."""

    async def start(self, connection: Connection) -> ClientResponse:
        watch, protocol = _WATCH.get(), connection.protocol
        watch.begin(self, connection.transport)
        try:
            await super().start(connection)
        except BaseException as error:
            watch.drop()
            if isinstance(error, ClientError) and (late := watch.late()) is not None:
                raise late from None
            if protocol in watch.proven and _nothing_came(error):
                raise _Stale(error) from None
            raise
        watch.rest()
        watch.proven.add(protocol)
        return self


def _nothing_came(error: BaseException) -> TypeGuard[ServerDisconnectedError | ClientOSError]:
    if isinstance(error, ServerDisconnectedError):
        return isinstance(error.message, str)  # else it is what came of the head
    return isinstance(error, ClientOSError)


def _session(connector: TCPConnector) -> ClientSession:
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        response_class=_Reply,
        skip_auto_headers=("accept", "content-type"),
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )


def _body(request: HttpRequest) -> bytes | BytesIO:
    # aiohttp writes bytes at once, and warns where they are many; a file it writes in pieces, in turn with other tasks.
    return request.body if len(request.body) <= LARGE_BODY else BytesIO(request.body)


def _timeout(connect_s: float) -> ClientTimeout:
    # Only a new connection waits for this. Zero would mean that there is no limit.
    return ClientTimeout(total=None, connect=max(connect_s, 0.001), ceil_threshold=inf)


def _ours(error: Exception, url: str, *, head: bool) -> ProviderError:
    """Return our error for a foreign one. Its words may quote headers, so only harmless ones are repeated."""
    match error:
        case ConnectionTimeoutError():
            return late(url, "connect")
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
