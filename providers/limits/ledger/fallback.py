"""A shared ledger's stand-in while it is down: each process goes on alone, with a bounded share of every limit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import TypeVar

import anyio

from providers.emit import Emit, ignore
from providers.events import LedgerEmptied, LedgerLost, LedgerRegained
from providers.limits.counter import LimitKey, Used
from providers.limits.ledger import CountsLost, Ledger, LedgerDown
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.ledger.owed import Owed, OwnCounts
from providers.limits.reserve import Amounts, NoRoom
from providers.windows import Paced

T = TypeVar("T")
SHARE = 0.25
RETRY_S = 2.0
"""How long to leave a ledger alone that was down. Asking it costs a caller its time-out."""


class FallbackLedger:
    """A `Ledger` that never raises `LedgerDown`, but for `forget`.

    While the shared one is down this process admits in every window at most `share` of each limit, and one call where
    that is more than the share: n processes together at most n times that, beside what was used before. Once it is
    back, it is told what was admitted meanwhile, and what those calls came to that it still holds. Of a call whose
    booking was cut short nobody knows whether it was done: that one may be counted twice, never less.

    A shared ledger that comes back empty, or is emptied, is told anew what this process had counted on it. `emit` gets
    an event when it is lost, when it is regained, and when it was emptied.
    """

    def __init__(
        self,
        shared: Ledger,
        *,
        share: float = SHARE,
        emit: Emit = ignore,
        telling: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        self._shared, self._share, self._emit = shared, share, emit
        self._alone = MemoryLedger()
        self._retry_at: float | None = None
        """None: the shared ledger works."""
        self._times_lost = self._times_emptied = 0
        self._telling = anyio.Lock() if telling is None else telling
        """Lets one caller at a time in: a simulation, in which nobody waits, needs no lock."""
        self._leases: set[str] = set()
        """Those that hold here alone."""
        self._own, self._owed = OwnCounts(), Owed()
        self._now = 0.0

    @property
    def is_of_machines(self) -> bool:
        return self._shared.is_of_machines

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        async def shared() -> NoRoom | None:
            refused = await self._shared.reserve(amounts, lease, now, ttl)
            if refused is None:
                self._own.held(amounts, lease, now, now + ttl)
            return refused

        async def alone() -> NoRoom | None:
            refused = await self._alone.reserve([(self._part(m, a), a) for m, a in amounts], lease, now, ttl)
            if refused is None:
                self._leases.add(lease)
            return refused

        def unsure() -> None:
            self._owed.settle([(meter, 0.0) for meter, _ in amounts], lease, now)

        return await self._either(shared, alone, now, unsure)

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        async def shared() -> None:
            await self._shared.settle(amounts, lease, now)
            self._own.settled(amounts, lease, now)

        async def alone() -> None:
            self._owed.settle(amounts, lease, now)

        if lease in self._leases:
            self._leases.discard(lease)
            await self._alone.settle([(self._part(m, a), a) for m, a in amounts], lease, now)
            await self.spend([(m, a) for m, a in amounts if a and not isinstance(m.window, Paced)], now)
        else:
            await self._either(shared, alone, now)

    async def spend(self, amounts: Amounts, now: float) -> None:
        async def shared() -> None:
            await self._shared.spend(amounts, now)
            self._own.spent(amounts, now)

        async def alone() -> None:
            self._owed.spend(amounts, now)

        if amounts:
            await self._either(shared, alone, now)

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
        keys = {meter.key for meter in meters}
        self._own.forget(keys)
        self._owed.forget(keys)
        await self._shared.forget(meters)

    async def aclose(self) -> None:
        """Tell the shared ledger what it is owed, if it is there, and let go of it."""
        if self._retry_at is not None:
            with suppress(LedgerDown):
                await self._owed.tell(self._shared, self._own, self._now)
        await self._shared.aclose()

    async def _either(
        self,
        shared: Callable[[], Awaitable[T]],
        alone: Callable[[], Awaitable[T]],
        now: float,
        unsure: Callable[[], None] = lambda: None,
    ) -> T:
        """Return what the shared ledger says, or where it is down what this process says alone.

        `unsure` is called where the shared one may have done it all the same.
        """
        self._now = now
        # A clock that was set back must not keep the process alone for as long.
        if self._retry_at is not None and self._retry_at - RETRY_S <= now < self._retry_at:
            return await alone()
        times_lost, times_emptied = self._times_lost, self._times_emptied
        try:
            if self._retry_at is not None:
                self._retry_at = now + RETRY_S  # one caller asks: its time-out is the others' to be spared
                await self._regain(now)
            try:
                return await shared()
            except CountsLost:
                await self._tell_anew(now, times_emptied)
                return await shared()
        except LedgerDown as error:
            unsure()
            if times_lost == self._times_lost:  # else it was lost, and maybe regained, while this one waited
                if self._retry_at is None:
                    self._times_lost += 1
                    self._emit(LedgerLost(str(error), self._share))
                self._retry_at = now + RETRY_S
            return await alone()

    async def _regain(self, now: float) -> None:
        """Count on the shared ledger what was used while it was down."""
        times_emptied = self._times_emptied
        try:
            await self._owed.tell(self._shared, self._own, now)
        except CountsLost:
            await self._tell_anew(now, times_emptied)
        if self._retry_at is not None:
            self._retry_at = None
            self._emit(LedgerRegained())

    async def _tell_anew(self, now: float, times_emptied: int) -> None:
        """Count on a shared ledger that has lost its counts what this process had counted there.

        Of those who meet that at once one does it, and the others wait for it. `times_emptied`: as it was before.
        """
        async with self._telling:
            if times_emptied == self._times_emptied:
                self._times_emptied += 1
                used, held = self._own.take(now)
                self._owed.spend(used, now)
                self._owed.hold(held)
                self._emit(LedgerEmptied())
            await self._owed.tell(self._shared, self._own, now)

    def _part(self, meter: LimitKey, amount: float) -> LimitKey:
        """Return the meter with this process's share of its amount."""
        if isinstance(meter.window, Paced):
            return replace(meter, window=replace(meter.window, seconds=meter.window.seconds / self._share))
        return replace(meter, amount=min(meter.amount, max(meter.amount * self._share, amount)))


def with_fallback(ledger: Ledger) -> Ledger:
    """Return a ledger that never raises `LedgerDown`: itself, where it is one of those that can't."""
    return ledger if isinstance(ledger, MemoryLedger | FallbackLedger) else FallbackLedger(ledger)
