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


def phases(limits: Timeouts, spent: float) -> Phases:
    """Return an attempt's limits as a transport takes them that is asked after `spent` seconds."""
    return {
        "connect_s": limits.connect,
        "first_byte_s": limits.first_token,
        "idle_s": limits.between_chunks,
        "total_s": max(0.0, limits.total - spent),
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

    async def send(self, message: HttpRequest, limits: Timeouts, spent: float = 0.0) -> HttpReply:
        """Return the whole reply, in time: a transport that forgets its limits is cut off.

        `spent` seconds of them have passed.
        """
        allowed = phases(limits, spent)
        if self.keeps_time:
            return await self.transport.send(message, **allowed)
        with anyio.move_on_after(allowed["total_s"]):
            return await self.transport.send(message, **allowed)
        raise TimedOut(f"no whole answer within {limits.total:g} s", phase="total")
