"""The ledgers of a cluster's workers: the live code, on the virtual clock, where one may be away or read late."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from providers.events import LedgerLost
from providers.limits.counter import LimitKey, Used
from providers.limits.ledger import CountsLost, Ledger, LedgerDown
from providers.limits.ledger.fallback import FallbackLedger
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.reserve import Amounts, CounterStore, NoRoom
from providers.policy.split import Split
from providers.simulation.cluster.model import Away, Cluster
from providers.windows import Fixed, Paced

T = TypeVar("T")


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


class LedgerServer:
    """A server that keeps the counts of all workers, is away for a while, and may come back empty."""

    def __init__(self, outages: Sequence[Away], starts: float, kept: Ledger) -> None:
        self._outages, self._starts, self._kept = outages, starts, kept
        self._forgotten = {each for each in outages if each.empty}
        self._times_emptied = 0

    def reach(self, now: float) -> tuple[Ledger, int]:
        """Return the counts that are there, and how often they were lost. Raise `LedgerDown` while it is away."""
        at = now - self._starts
        if is_away(self._outages, at):
            raise LedgerDown("it is away")
        for each in {each for each in self._forgotten if each.begins + each.lasts <= at}:
            self._forgotten.discard(each)
            self._kept, self._times_emptied = MemoryLedger(), self._times_emptied + 1
        return self._kept, self._times_emptied

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        await self._kept.forget(meters)


class ModelledLedger:
    """A `Ledger` on a modelled server, as one worker sees it. It never waits."""

    def __init__(self, server: LedgerServer) -> None:
        self._server, self._known = server, 0

    @property
    def is_of_machines(self) -> bool:
        return True

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
        await self._server.forget(meters)

    async def aclose(self) -> None:
        pass

    def _there(self, now: float) -> Ledger:
        kept, times_emptied = self._server.reach(now)
        if times_emptied != self._known:
            self._known = times_emptied
            raise CountsLost("it came back empty")
        return kept


class StaleLedger:
    """A `Ledger` on counts that are read as they were up to `stale` seconds ago, as of a replica, or of a cache.

    What is admitted is counted for all when the view is refreshed: until then nobody sees it, not even who asked.
    """

    def __init__(self, stale: float) -> None:
        self._stale, self._refreshed = stale, 0.0
        self._view = CounterStore()
        self._since: dict[str, Amounts] = {}

    @property
    def is_of_machines(self) -> bool:
        return True

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


class SplitLedger(MemoryLedger):
    """A worker's own ledger with its part of every limit, divided as `providers/policy/split.py` divides what a routing
    file states."""

    def __init__(self, by: Split) -> None:
        super().__init__()
        self._by = by

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        return await super().reserve([(self._part(meter), amount) for meter, amount in amounts], lease, now, ttl)

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        await super().settle([(self._part(meter), amount) for meter, amount in amounts], lease, now)

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        await super().observe(self._part(meter), remaining, until, now)

    def _part(self, meter: LimitKey) -> LimitKey:
        window = meter.window
        if not isinstance(window, Paced):
            return replace(meter, amount=self._by.amount(meter.amount, meter.key))
        if not (burst := self._by.part(window.burst, meter.key)):
            return replace(meter, amount=0.0, window=Fixed(window.seconds))
        return replace(meter, window=Paced(window.seconds * window.burst / burst, burst))


class WorkerLedgers:
    """Which ledger each worker asks: the one of all, the same with what a worker does while it is away, or its own."""

    def __init__(self, cluster: Cluster, starts: float) -> None:
        self._cluster, self.lost = cluster, 0
        outages = cluster.outages
        kept: Ledger = StaleLedger(cluster.stale) if cluster.stale else MemoryLedger()
        self._may_fail = bool(outages)
        self._shared = kept
        self._server = LedgerServer(outages, starts, kept)
        self._made = 0

    def of_worker(self) -> Ledger:
        """Return the ledger of one more worker."""
        match self._cluster.ledger:
            case "memory":
                return MemoryLedger()
            case "split":
                self._made += 1
                return SplitLedger(Split(self._cluster.workers, self._made - 1))
            case _ if self._may_fail:
                ledger = ModelledLedger(self._server)
                return FallbackLedger(ledger, emit=self._heard, telling=nullcontext())
            case _:
                return self._shared

    def _heard(self, event: object) -> None:
        """Count how often a worker has lost the ledger."""
        self.lost += isinstance(event, LedgerLost)
