"""Where counts live: in this process, in a file that several processes share, or on a server that machines share.

They are alternatives of each other: the same calls at the same instants get the same answers from all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from providers.limits.counter import LimitKey, Used
from providers.limits.reserve import Amounts, NoRoom


class LedgerDown(Exception):
    """The ledger cannot be reached or written. Nothing is known of whether it did what it was asked."""


class CountsLost(LedgerDown):
    """The ledger is there, and what was counted on it is not: it was restarted with nothing kept, emptied, or replaced
    by an empty one. Nothing was done; who asks again is answered."""


class Ledger(Protocol):
    """Counts by meter. `now` is epoch seconds UTC; a ledger that has a clock of its own goes by that.

    Each method is atomic, also against other processes. Instants that are returned are on the caller's clock. All raise
    `LedgerDown`. A call that is cancelled may have been done: refund its lease, which is harmless where it was not.
    """

    @property
    def is_of_machines(self) -> bool:
        """Whether processes of other machines count here too."""

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        """Hold all of `amounts` for `ttl` seconds, or hold none of them and return which meter has no room.

        A lease that is neither settled nor refunded in time counts in full: the process that held it died, and its call
        may have been answered. One that is held already is granted again and holds once: the answer was lost.
        """

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        """Count `amounts` in place of what the lease holds; 0 refunds it. A lease that is gone changes nothing."""

    async def spend(self, amounts: Amounts, now: float) -> None:
        """Count what was used without a reservation here, whether there is room for it or not."""

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        """Take away room as the provider's own word has it; see `CounterStore.observe`."""

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        """Return what is counted under each meter."""

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        """Forget what was counted under these meters."""

    async def aclose(self) -> None:
        """Let go of files and connections. What was counted stays where it is kept."""
