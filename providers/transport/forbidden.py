"""The network of tests: it leads to servers on this machine alone."""

from __future__ import annotations

from ipaddress import ip_address
from types import TracebackType
from typing import Any, Never, Self
from urllib.parse import urlsplit

from providers.adapters import HttpReply, HttpRequest
from providers.errors import RealCallForbidden
from providers.transport import HttpStream, OpenTransport


class LoopbackOnly:
    """Passes on what goes to this machine. Raises `RealCallForbidden` for all else, before anything is looked up."""

    def __init__(self, inner: OpenTransport) -> None:
        self._inner = inner
        self.keeps_time: bool = getattr(inner, "keeps_time", False)

    async def send(self, request: HttpRequest, **limits: float) -> HttpReply:
        check(request.url)
        return await self._inner.send(request, **limits)

    async def open_stream(self, request: HttpRequest, **limits: float) -> HttpStream:
        check(request.url)
        return await self._inner.open_stream(request, **limits)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)


async def no_fetch(request: HttpRequest, **_: Any) -> Never:
    """Ask the web for nothing."""
    raise _forbidden(request.url)


def check(url: str) -> None:
    """Raise `RealCallForbidden` where a URL does not lead to this machine."""
    if not is_loopback(urlsplit(url).hostname or ""):
        raise _forbidden(url)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine by its own words: nothing is looked up."""
    if host.casefold() == "localhost" or host.casefold().endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _forbidden(url: str) -> RealCallForbidden:
    host = urlsplit(url).hostname or "an address without a host"
    return RealCallForbidden(
        f"{host} is not called, as ORCHESTRATOR_REAL_CALLS=forbid: script the answers, or let a test use a recording"
    )
