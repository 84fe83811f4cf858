"""How candidates are reached: the adapters by dialect, and how long each phase may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, cast

import anyio

from providers.adapters import Adapter, HttpReply, HttpRequest, LocalAdapter
from providers.errors import TimedOut
from providers.policy.model import Timeouts
from providers.transport import Transport


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


class AdapterTable:
    """The adapters, those that answer in this process (`local`) apart from those that need the network (`remote`)."""

    __slots__ = ("_transport", "keeps_time", "local", "remote")

    def __init__(self, adapters: Mapping[str, Adapter | LocalAdapter], transport: Transport | None) -> None:
        # Sorted out once: an isinstance check against a protocol costs microseconds on every turn.
        self.local = {dialect: a for dialect, a in adapters.items() if isinstance(a, LocalAdapter)}
        self.remote = {dialect: cast(Adapter, a) for dialect, a in adapters.items() if dialect not in self.local}
        self._transport = transport
        self.keeps_time: bool = getattr(transport, "keeps_time", False)
        """Whether the transport ends in time by itself. A guard around each of its calls would cost 6 us."""

    @property
    def transport(self) -> Transport:
        assert self._transport is not None, "a candidate needs the network, and no transport was given"
        return self._transport

    async def send(self, message: HttpRequest, limits: Timeouts) -> HttpReply:
        """Return the whole reply, in time: a transport that forgets its limits is cut off."""
        if self.keeps_time:
            return await self.transport.send(message, **phases(limits))
        with anyio.move_on_after(limits.total):
            return await self.transport.send(message, **phases(limits))
        raise TimedOut(f"no whole answer within {limits.total:g} s", phase="total")
