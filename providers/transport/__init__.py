"""The network: the only package that touches it. Every failure leaves it as one of our errors.

Two clients, one contract: `over_httpx2` is there always, `sockets` is the fast one, with the extra `fast`.

No redirect is followed, no cookie kept, and no more than `max_bytes` of a reply is read, unpacked. What is sent is sent
once, with one exception: a kept connection that the server closed before a byte of the reply came. That says that the
server closed an idle connection, so the request goes out again, once, on a fresh one.

What comes on a kept connection without having been asked for is no answer to anything: the connection is closed.
"""

from __future__ import annotations

import os
import ssl
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from types import TracebackType
from typing import Protocol, Self

from providers.adapters import HttpReply, HttpRequest
from providers.errors import AuthFailed, BadReply, Phase, ProviderError, StreamBroken, TimedOut, Unreachable
from providers.transport.proxies import UnknownProxy

KEEP_ALIVE_S = 60.0
MAX_BYTES = 64 * 1024 * 1024
STALE_S = 1.0
"""How long after a request the end of a kept connection may still mean that the server had closed it before."""
USER_AGENT = "squad-orchestrator"  # some vendors' front doors refuse a request without one
GZIP = ("gzip", "x-gzip")
GZIP_BEGINS = b"\x1f"  # the first of two bytes, which may come apart
GZIP_PART = 16 * 1024
NOT_ASKED_FOR = ("br", "compress", "deflate", "zstd", *GZIP)


class HttpStream(Protocol):
    """An open reply. `read` returns the next bytes, `b""` at the end; `aclose` closes the socket, twice is harmless."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    async def read(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Transport(Protocol):
    """The network. Each failure is a `ProviderError`; a status other than 2xx is none, it is handed back.

    Seconds: `connect_s` to a connection, `first_byte_s` from there to the reply's head, `idle_s` between two reads of
    its body, `total_s` for all of it. Cancelling a call closes its connection.

    One whose attribute `keeps_time` is true is trusted with these limits; any other is cut off from outside.
    """

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply:
        """Return the whole reply, decompressed."""

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpStream:
        """Return the reply once its head is there. The caller closes it."""


class OpenTransport(Transport, Protocol):
    """A transport that owns its connections: `async with` closes them."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A reply to a tool's request. Header names are lower case; of a longer body there is the beginning (`is_cut`)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False


class Fetch(Protocol):
    """One exchange with an address that others had a say in: it goes to no inside address, and follows no redirect."""

    async def __call__(
        self, request: HttpRequest, *, timeout_s: float, max_bytes: int, allow_private: bool = False
    ) -> Fetched:
        """Return the reply. Raise `ProviderError`; `AddressRefused` where the name leads inside."""


def guarded_fetch() -> Fetch:
    """Return what asks the web for tools."""
    if _forbids_real_calls():
        from providers.transport.forbidden import no_fetch

        return no_fetch
    from providers.transport.guarded import fetch

    return fetch


def open_transport() -> OpenTransport:
    """Return the fastest transport that is installed; under ORCHESTRATOR_REAL_CALLS=forbid one that leads nowhere but
    to this machine."""
    if _forbids_real_calls():
        from providers.transport.forbidden import LoopbackOnly

        return LoopbackOnly(_fastest())
    return _fastest()


def _forbids_real_calls() -> bool:
    """Return whether real calls are forbidden. Any value but `allow` forbids: a misspelt one lets nothing out."""
    return os.environ.get("ORCHESTRATOR_REAL_CALLS", "").strip().casefold() not in ("", "allow")


def _fastest() -> OpenTransport:
    if find_spec("httptools") is not None:
        from providers.transport.sockets import SocketTransport

        return SocketTransport()
    from providers.transport.over_httpx2 import HttpxTransport

    return HttpxTransport()


def trusted() -> ssl.SSLContext:
    """Return the certificates both clients trust. Raise `OSError` or `ValueError` where they cannot be read."""
    from httpx2 import create_ssl_context  # some 0.2 s: where something is encrypted

    context = create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Inflow:
    """What comes of one reply's body: unpacked, counted, and refused beyond `max_bytes`. Raises `BadReply`."""

    __slots__ = ("_left", "_max_bytes", "_packed", "_status", "_unpacker")

    def __init__(self, status: int, headers: Mapping[str, str], max_bytes: int) -> None:
        self._status, self._max_bytes, self._left = status, max_bytes, max_bytes
        self._unpacker: zlib._Decompress | None = None
        length = headers.get("content-length", "")
        if length.isdecimal() and (int(length) if len(length) < 16 else inf) > max_bytes:
            raise BadReply(f"the reply claims {length[:40]} bytes", status=status)
        coding = headers.get("content-encoding", "").lower()
        self._packed = coding in GZIP
        # An error's status says more than its body: one that cannot be unpacked is handed on as it is.
        if coding and not self._packed and status < 300 and any(c.strip() in NOT_ASKED_FOR for c in coding.split(",")):
            raise BadReply(f"the reply is packed as {coding[:40]}, which was not asked for", status=status)

    def take(self, data: bytes) -> bytes:
        """Return what `data` unpacks to; it may be nothing yet."""
        if not self._packed:
            return self._counted(data)
        # Part by part: zlib copies what stands behind the end of a member, and a part may hold many empty ones.
        parts = (data[at : at + GZIP_PART] for at in range(0, len(data), GZIP_PART))
        return b"".join(piece for part in parts for piece in self._unpack(part))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise BadReply(f"the reply is larger than {self._max_bytes} bytes", status=self._status)
        return data

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        """A gzip stream may have several members: a server that packs each piece by itself sends that."""
        while data:
            if self._unpacker is None or (self._unpacker.eof and data.startswith(GZIP_BEGINS)):
                self._unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            elif self._unpacker.eof:
                return  # padding
            try:
                unpacked = self._unpacker.decompress(data, self._left + 1)
            except zlib.error:
                raise self._broken() from None
            yield self._counted(unpacked)
            data = self._unpacker.unused_data

    def end(self) -> None:
        """Check that what was packed came whole. No byte at all is whole, too."""
        if self._unpacker is not None and not self._unpacker.eof:
            raise self._broken()

    def _broken(self) -> BadReply:
        return BadReply("the reply is broken in its compression", status=self._status)


def headers_of(url: str, said: Iterable[tuple[str, str]], coding: str) -> dict[str, str]:
    """Return the headers to send. Raise `AuthFailed`, which does not show them, for what no header line can hold.

    What stands in headers comes from keys and rows, never from a request: only an operator can correct it.
    """
    headers = {"user-agent": USER_AGENT, "accept-encoding": coding, **dict(said)}
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and name.isascii() and name.isprintable()):
            raise AuthFailed(f"the key for {host_of(url)}, or a header, cannot be said in HTTP")
    return headers


def host_of(url: str) -> str:
    """Return what an error may show of an address: no user, no path, no query."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or "its address"


def no_address(url: str) -> Unreachable:
    return Unreachable(f"no HTTP address: {host_of(url)}")


def no_connection(url: str, why: object) -> Unreachable:
    return Unreachable(f"cannot reach {host_of(url)}: {why}")


def no_set_up(error: Exception) -> Unreachable:
    if isinstance(error, UnknownProxy):
        return Unreachable(f"a proxy variable names a proxy of {error}: http, https, socks5 and socks5h are known")
    # Its words may quote a proxy's password.
    kind = type(error).__name__
    return Unreachable(f"SSL_CERT_FILE, SSL_CERT_DIR or a proxy variable holds what cannot be used ({kind})")


def unsayable(url: str, error: Exception) -> Unreachable:
    return Unreachable(f"the request to {host_of(url)} cannot be said in HTTP ({type(error).__name__})")


def late(url: str, phase: Phase) -> TimedOut:
    match phase:
        case "connect":
            return TimedOut(f"no connection to {host_of(url)} in time", phase=phase)
        case "total":
            return TimedOut(f"no whole answer from {host_of(url)} in time", phase=phase)
    return TimedOut(f"no bytes from {host_of(url)} in time", phase=phase)


def hung_up(url: str, error: Exception, *, head: bool) -> ProviderError:
    """Return the error of a connection that ended. `head`: the reply had not begun yet."""
    kind = type(error).__name__
    if head:
        return Unreachable(f"{host_of(url)} hung up before it answered ({kind})", sent=True)
    return StreamBroken(f"{host_of(url)} hung up in the middle of its answer ({kind})")
