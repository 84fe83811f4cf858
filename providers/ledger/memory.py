"""Counts in this process, gone with it."""

from __future__ import annotations

from collections.abc import Sequence

from providers import quota
from providers.quota import Amounts, Count, Meter, Refused, State, Used


class MemoryLedger:
    """A `Ledger` that never waits: what it is asked is done when the call returns its first time."""

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> Refused | None:
        state, refused = quota.reserve(self._of(amounts), amounts, lease, now, now + ttl)
        self._counts |= state
        return refused

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        self._counts |= quota.settle(self._of(amounts), amounts, lease, now)

    async def spend(self, amounts: Amounts, now: float) -> None:
        self._counts |= quota.spend(self._of(amounts), amounts, now)

    async def observe(self, meter: Meter, remaining: float, until: float | None, now: float) -> None:
        self._counts |= quota.observe(self._of([(meter, 0.0)]), meter, remaining, until, now)

    async def usage(self, meters: Sequence[Meter], now: float) -> list[Used]:
        return [quota.view(self._counts, meter, now) for meter in meters]

    async def forget(self, meters: Sequence[Meter]) -> None:
        for meter in meters:
            self._counts.pop(meter.key, None)

    async def aclose(self) -> None:
        pass

    def _of(self, amounts: Amounts) -> State:
        """Return the counts at hand: a call's cost must not grow with the number of accounts."""
        return {meter.key: count for meter, _ in amounts if (count := self._counts.get(meter.key)) is not None}
