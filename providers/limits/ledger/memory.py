"""Counts in this process, gone with it."""

from __future__ import annotations

from collections.abc import Sequence

from providers.limits.counter import LimitKey, Used
from providers.limits.reserve import Amounts, CounterStore, NoRoom


class MemoryLedger:
    """A `Ledger` that never waits: what it is asked is done when the call returns its first time."""

    is_of_machines = False

    def __init__(self) -> None:
        self._counts = CounterStore()

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        return self._counts.reserve(amounts, lease, now, now + ttl)

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        self._counts.settle(amounts, lease, now)

    async def spend(self, amounts: Amounts, now: float) -> None:
        self._counts.spend(amounts, now)

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        self._counts.observe(meter, remaining, until, now)

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        return [self._counts.view(meter, now) for meter in meters]

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        self._counts.forget(meters)

    async def aclose(self) -> None:
        pass
