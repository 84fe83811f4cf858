"""A shared ledger's stand-in while it is down: each process goes on alone, with a bounded share of every limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from providers.emit import Emit, ignore
from providers.events import LedgerLost, LedgerRegained
from providers.limits.counter import LimitKey, Used
from providers.limits.ledger import Ledger, LedgerDown
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.reserve import Amounts, NoRoom
from providers.windows import Paced

T = TypeVar("T")
SHARE = 0.25
RETRY_S = 2.0
"""How long to leave a ledger alone that was down. Asking it costs a caller its time-out."""


class FallbackLedger:
    """A `Ledger` that never raises `LedgerDown`.

    While the shared one is down this process admits in every window at most `share` of each limit, and one call where
    that is more than the share: n processes together at most n times that, beside what was used before. What was
    admitted meanwhile is counted on the shared ledger once it is back. `emit` gets an event for each of the two.
    """

    def __init__(self, shared: Ledger, *, share: float = SHARE, emit: Emit = ignore) -> None:
        self._shared, self._share, self._emit = shared, share, emit
        self._alone = MemoryLedger()
        self._retry_at: float | None = None
        """None: the shared ledger works."""
        self._leases: set[str] = set()
        self._owed: list[Amounts] = []

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        async def alone() -> NoRoom | None:
            refused = await self._alone.reserve([(self._part(m, a), a) for m, a in amounts], lease, now, ttl)
            if refused is None:
                self._leases.add(lease)
            return refused

        return await self._either(lambda: self._shared.reserve(amounts, lease, now, ttl), alone, now)

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        if lease in self._leases:
            self._leases.discard(lease)
            await self._alone.settle([(self._part(m, a), a) for m, a in amounts], lease, now)
            await self.spend([(m, a) for m, a in amounts if a and not isinstance(m.window, Paced)], now)
        else:  # where it is down, the lease will expire and count in full
            await self._either(lambda: self._shared.settle(amounts, lease, now), _nothing, now)

    async def spend(self, amounts: Amounts, now: float) -> None:
        async def alone() -> None:
            self._owed.append(amounts)

        await self._either(lambda: self._shared.spend(amounts, now), alone, now)

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        async def alone() -> None:
            await self._alone.observe(self._part(meter, 0.0), remaining, until, now)

        await self._either(lambda: self._shared.observe(meter, remaining, until, now), alone, now)

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        async def alone() -> list[Used]:
            return await self._alone.usage([self._part(meter, 0.0) for meter in meters], now)

        return await self._either(lambda: self._shared.usage(meters, now), alone, now)

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        await self._alone.forget(meters)
        await self._shared.forget(meters)

    async def aclose(self) -> None:
        await self._shared.aclose()

    async def _either(self, shared: Callable[[], Awaitable[T]], alone: Callable[[], Awaitable[T]], now: float) -> T:
        """Return what the shared ledger says, or where it is down what this process says alone."""
        if self._retry_at is not None and now < self._retry_at:
            return await alone()
        try:
            if self._retry_at is not None:
                await self._regain(now)
            return await shared()
        except LedgerDown as error:
            if self._retry_at is None:
                self._emit(LedgerLost(str(error), self._share))
            self._retry_at = now + RETRY_S
            return await alone()

    async def _regain(self, now: float) -> None:
        """Count on the shared ledger what was used while it was down."""
        while self._owed:
            amounts = self._owed.pop()  # at once: others come here at the same time
            try:
                await self._shared.spend(amounts, now)
            except LedgerDown:
                self._owed.append(amounts)
                raise
        if self._retry_at is not None:
            self._retry_at = None
            self._emit(LedgerRegained())

    def _part(self, meter: LimitKey, amount: float) -> LimitKey:
        """Return the meter with this process's share of its amount."""
        if isinstance(meter.window, Paced):
            return replace(meter, window=replace(meter.window, seconds=meter.window.seconds / self._share))
        return replace(meter, amount=min(meter.amount, max(meter.amount * self._share, amount)))


def with_fallback(ledger: Ledger) -> Ledger:
    """Return a ledger that never raises `LedgerDown`: itself, where it is one of those that can't."""
    return ledger if isinstance(ledger, MemoryLedger | FallbackLedger) else FallbackLedger(ledger)


async def _nothing() -> None:
    return None
