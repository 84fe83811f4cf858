"""One exchange with an address that others had a say in: what its name leads to is checked, and then called itself.

The connection goes to the very address that was checked, so a name that leads elsewhere a moment later (DNS rebinding)
changes nothing; the certificate is still that of the name. No proxy is used, as it would look the name up itself.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing

import anyio
import httpcore2

from providers.adapters import HttpRequest
from providers.errors import ProviderError, Unreachable
from providers.transport import Fetched, Inflow, headers_of, late, no_connection, no_set_up, trusted
from providers.transport.addresses import address_of
from providers.transport.guard import address_fault

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the IP addresses that a name leads to. Raises `OSError`."""


async def by_the_system(host: str, port: int) -> list[str]:
    """Return what the system's resolver says."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class AddressRefused(Unreachable):
    """The name leads where no request of a tool may go. Nothing was sent."""


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    def __init__(self, allow_private: bool, resolve: Resolve) -> None:
        self._inner, self._allow_private, self._resolve = httpcore2.AnyIOBackend(), allow_private, resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface of network backends
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        found = await self._resolve(host, port)
        for address in found:
            if fault := address_fault(address, allow_private=self._allow_private):
                raise AddressRefused(f"{host} may not be asked: {fault}")
        failed: Exception = OSError(f"{host} has no address")
        for address in found:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
        raise failed

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def fetch(
    request: HttpRequest,
    *,
    timeout_s: float,
    max_bytes: int,
    allow_private: bool = False,
    resolve: Resolve = by_the_system,
) -> Fetched:
    """Return the reply, and no more than `max_bytes` of its body. No redirect is followed. Raises `ProviderError`."""
    address = address_of(request.url)
    said = headers_of(request.url, request.headers.items(), "gzip")
    headers = {**address.headers, **said, "content-length": str(len(request.body)), "connection": "close"}
    try:
        with anyio.fail_after(timeout_s):
            return await _exchange(request, headers, max_bytes, _GuardedBackend(allow_private, resolve))
    except TimeoutError:
        raise late(request.url, "total") from None
    except ProviderError:
        raise
    except (OSError, httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError) as error:
        raise no_connection(request.url, str(error) or type(error).__name__) from None


async def _exchange(
    request: HttpRequest, headers: dict[str, str], max_bytes: int, backend: httpcore2.AsyncNetworkBackend
) -> Fetched:
    try:
        context = trusted() if request.url.startswith("https:") else None
    except (OSError, ValueError) as error:
        raise no_set_up(error) from None
    lines = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    async with (
        httpcore2.AsyncConnectionPool(ssl_context=context, network_backend=backend, retries=0) as pool,
        pool.stream(request.method, request.url, headers=lines, content=request.body or None) as reply,
    ):
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reply.headers}
        packed = found.get("content-encoding", "").lower() not in ("", "identity")
        inflow = Inflow(reply.status, found, max_bytes) if packed else None
        body = bytearray()
        async with aclosing(reply.aiter_stream()) as pieces:
            async for piece in pieces:
                body += piece if inflow is None else inflow.take(piece)
                if len(body) > max_bytes:
                    return Fetched(reply.status, found, bytes(body[:max_bytes]), is_cut=True)
        if inflow is not None:
            inflow.end()
        return Fetched(reply.status, found, bytes(body))
