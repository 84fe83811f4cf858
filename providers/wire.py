"""How candidates are reached: the adapters by dialect, and what the network must offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypedDict, cast

from providers.adapters import Adapter, HttpReply, HttpRequest, LocalAdapter
from providers.policy import Timeouts


class ByteStream(Protocol):
    """An open reply. `read` returns the next bytes, b"" at the end; `aclose` closes the socket."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Transport(Protocol):
    """The network. Every failure is a `ProviderError`; seconds; each phase has its own limit."""

    async def send(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> HttpReply: ...

    async def open_stream(
        self, request: HttpRequest, *, connect_s: float, first_byte_s: float, idle_s: float, total_s: float
    ) -> ByteStream: ...


class Phases(TypedDict):
    """The limits of a `Transport` call."""

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float


def phases(limits: Timeouts) -> Phases:
    """Return an attempt's limits as a transport takes them."""
    return {
        "connect_s": limits.connect,
        "first_byte_s": limits.first_token,
        "idle_s": limits.between_chunks,
        "total_s": limits.total,
    }


class Access:
    """The adapters, those that answer in this process (`local`) apart from those that need the network (`remote`)."""

    __slots__ = ("_transport", "local", "remote")

    def __init__(self, adapters: Mapping[str, Adapter | LocalAdapter], transport: Transport | None) -> None:
        # Sorted out once: an isinstance check against a protocol costs microseconds on every turn.
        self.local = {dialect: a for dialect, a in adapters.items() if isinstance(a, LocalAdapter)}
        self.remote = {dialect: cast(Adapter, a) for dialect, a in adapters.items() if dialect not in self.local}
        self._transport = transport

    @property
    def transport(self) -> Transport:
        assert self._transport is not None, "a candidate needs the network, and no transport was given"
        return self._transport
