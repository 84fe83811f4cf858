"""The ledgers of a cluster's workers: the live code, on the virtual clock, where one may be away or read late."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from providers.events import LedgerLost
from providers.limits.counter import LimitKey, Used
from providers.limits.ledger import Ledger, LedgerDown
from providers.limits.ledger.fallback import FallbackLedger
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.reserve import Amounts, CounterStore, NoRoom
from providers.simulation.cluster.model import Away, Cluster

T = TypeVar("T")
ALWAYS = (Away(0.0, float("inf")),)


def at_once(asked: Coroutine[Any, Any, T]) -> T:
    """Return what a call of a ledger comes to that waits for nothing."""
    try:
        asked.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("a ledger of a simulation does not wait")


def is_away(outages: Sequence[Away], at: float) -> Away | None:
    """Return the outage that it is in `at` so many seconds after the start; None: it is there."""
    return next((each for each in outages if each.begins <= at < each.begins + each.lasts), None)


class ModelledLedger:
    """A `Ledger` that raises `LedgerDown` while it is away, and may come back empty. It never waits."""

    def __init__(self, outages: Sequence[Away], starts: float, kept: Ledger) -> None:
        self._outages, self._starts, self._kept = outages, starts, kept
        self._forgotten = {each for each in outages if each.empty}

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        return await self._there(now).reserve(amounts, lease, now, ttl)

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        await self._there(now).settle(amounts, lease, now)

    async def spend(self, amounts: Amounts, now: float) -> None:
        await self._there(now).spend(amounts, now)

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        await self._there(now).observe(meter, remaining, until, now)

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        return await self._there(now).usage(meters, now)

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        await self._kept.forget(meters)

    async def aclose(self) -> None:
        await self._kept.aclose()

    def _there(self, now: float) -> Ledger:
        at = now - self._starts
        if is_away(self._outages, at):
            raise LedgerDown("it is away")
        for each in [each for each in self._forgotten if each.begins + each.lasts <= at]:
            self._forgotten.discard(each)
            self._kept = MemoryLedger()
        return self._kept


class StaleLedger:
    """A `Ledger` on counts that are read as they were up to `stale` seconds ago, as of a replica, or of a cache.

    What is admitted is counted for all when the view is refreshed: until then nobody sees it, not even who asked.
    """

    def __init__(self, stale: float) -> None:
        self._stale, self._refreshed = stale, 0.0
        self._view = CounterStore()
        self._since: dict[str, Amounts] = {}

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:  # noqa: ARG002
        self._refresh(now)
        if (refused := self._view.check(amounts, now)) is not None:
            return NoRoom(refused.meter, max(refused.until, self._refreshed + self._stale))
        self._since[lease] = amounts
        return None

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        self._refresh(now)
        if lease in self._since:  # else it counts as it was reserved: rather too much than too little
            self._since[lease] = amounts

    async def spend(self, amounts: Amounts, now: float) -> None:
        self._view.spend(amounts, now)

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        self._view.observe(meter, remaining, until, now)

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        return [self._view.view(meter, now) for meter in meters]

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        self._view.forget(meters)

    async def aclose(self) -> None:
        pass

    def _refresh(self, now: float) -> None:
        if now - self._refreshed >= self._stale:
            self._refreshed = now
            for amounts in self._since.values():
                self._view.spend(amounts, now)
            self._since.clear()


class WorkerLedgers:
    """Which ledger each worker asks: the one of all, the same with what a worker does while it is away, or its own."""

    def __init__(self, cluster: Cluster, starts: float) -> None:
        self._cluster, self.lost = cluster, 0
        outages = cluster.outages
        kept: Ledger = StaleLedger(cluster.stale) if cluster.stale else MemoryLedger()
        self._may_fail = bool(outages)
        self._shared: Ledger = ModelledLedger(outages, starts, kept) if outages else kept
        self._nowhere = ModelledLedger(ALWAYS, starts, kept)

    def of_worker(self) -> Ledger:
        """Return the ledger of one more worker."""
        match self._cluster.ledger:
            case "memory":
                return MemoryLedger()
            case "split":  # each worker alone, all the time, with its part of every limit
                return FallbackLedger(self._nowhere, share=1.0 / self._cluster.workers)
            case _ if self._may_fail:
                return FallbackLedger(self._shared, emit=self._heard)
            case _:
                return self._shared

    def _heard(self, event: object) -> None:
        """Count how often a worker has lost the ledger."""
        self.lost += isinstance(event, LedgerLost)
