"""What one process counted on a shared ledger, and what it has yet to tell it: an outage loses neither."""

from __future__ import annotations

from collections.abc import Iterator

from providers.limits.counter import LimitKey
from providers.limits.ledger import Ledger, LedgerDown
from providers.limits.reserve import Amounts, CounterStore
from providers.windows import Paced, index, reach

MOST_OUT = 4096
"""Leases that are known to be out, before those are dropped that have expired."""


class OwnCounts:
    """What this process has counted on the shared ledger: it can be told again to one that has lost it.

    Paces are left out: what was spaced is spaced, and the next call is due within a moment.
    """

    def __init__(self) -> None:
        self._counts = CounterStore()
        self._meters: dict[str, LimitKey] = {}
        self._out: dict[str, tuple[Amounts, float]] = {}

    def held(self, amounts: Amounts, lease: str, now: float, expires: float) -> None:
        """Note that a lease holds."""
        if len(self._out) >= MOST_OUT:
            self._out = {each: held for each, held in self._out.items() if held[1] > now}
        self._out[lease] = (amounts, expires)

    def settled(self, amounts: Amounts, lease: str, now: float) -> None:
        """Note what a lease came to; nothing where it is not one of ours."""
        if self._out.pop(lease, None) is not None:
            self.spent(amounts, now)

    def spent(self, amounts: Amounts, now: float) -> None:
        """Note what was counted without a lease."""
        counted = [(meter, amount) for meter, amount in amounts if amount and not isinstance(meter.window, Paced)]
        self._counts.spend(counted, now)
        self._meters |= {meter.key: meter for meter, _ in counted}

    def forget(self, keys: set[str]) -> None:
        """Forget what was counted under these keys."""
        self._counts.forget([meter for key, meter in self._meters.items() if key in keys])

    def take(self, now: float) -> tuple[Amounts, dict[str, tuple[Amounts, float]]]:
        """Return what still counts: what was used, and by lease what is held and until when. Nothing is left here."""
        used = [(meter, self._counts.view(meter, now).used) for meter in self._meters.values()]
        out = {lease: held for lease, held in self._out.items() if held[1] > now}
        self._counts, self._meters, self._out = CounterStore(), {}, {}
        return [(meter, amount) for meter, amount in used if amount], out


class Owed:
    """What a shared ledger is to be told once it is back. It stays small, however long that takes: what was used is
    added up by meter and bucket, and what left its window meanwhile is dropped."""

    def __init__(self) -> None:
        self._spent: dict[str, tuple[LimitKey, dict[int, float]]] = {}
        self._settled: dict[str, Amounts] = {}
        self._held: dict[str, tuple[Amounts, float]] = {}

    def spend(self, amounts: Amounts, now: float) -> None:
        for meter, amount in amounts:
            if amount and not isinstance(meter.window, Paced):
                number, oldest = index(meter.window, now), index(meter.window, now) - reach(meter.window)
                known = self._spent.get(meter.key, (meter, {}))[1]
                kept = {at: used for at, used in known.items() if at >= oldest}
                self._spent[meter.key] = (meter, {**kept, number: kept.get(number, 0.0) + amount})

    def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        """Of a lease that holds there, or may: nothing is changed where it does not."""
        if self._held.pop(lease, None) is not None:  # it is known not to hold there any more
            self.spend(amounts, now)
        else:
            self._settled[lease] = amounts

    def hold(self, leases: dict[str, tuple[Amounts, float]]) -> None:
        """Of leases that held on a ledger that has lost them."""
        self._held |= {lease: held for lease, held in leases.items() if lease not in self._settled}

    def forget(self, keys: set[str]) -> None:
        self._spent = {key: owed for key, owed in self._spent.items() if key not in keys}

    async def tell(self, shared: Ledger, own: OwnCounts, now: float) -> None:
        """Tell all of it. Raise `LedgerDown` where that cannot be done; what was not told is then owed as before."""
        while self._held:
            lease, (amounts, expires) = self._held.popitem()
            if expires <= now:
                self.spend(amounts, now)
                continue
            try:
                refused = await shared.reserve(amounts, lease, now, expires - now)
            except LedgerDown:
                self._held[lease] = (amounts, expires)
                raise
            if refused is None:
                own.held(amounts, lease, now, expires)
            else:  # others have taken its place, but the call is out
                self.spend(amounts, now)
        while self._settled:
            lease, amounts = self._settled.popitem()
            try:
                await shared.settle(amounts, lease, now)
            except LedgerDown:
                self._settled[lease] = amounts
                raise
            own.settled(amounts, lease, now)
        while self._spent:
            # At once, and taken out before: others come here at the same time.
            amounts, self._spent = list(self._due(now)), {}
            try:
                await shared.spend(amounts, now)
            except LedgerDown:
                self.spend(amounts, now)
                raise
            own.spent(amounts, now)

    def _due(self, now: float) -> Iterator[tuple[LimitKey, float]]:
        for meter, used in self._spent.values():
            oldest = index(meter.window, now) - reach(meter.window)
            if amount := sum(each for number, each in used.items() if number >= oldest):
                yield meter, amount
