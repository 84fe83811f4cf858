"""Limits and budgets divided among workers that share no ledger: each keeps its own share, and asks nobody. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, nextafter
from zlib import crc32

from providers.catalog.model import Catalog, Provider
from providers.catalog.models import Limit
from providers.policy.model import DailyBudget, Policy
from providers.windows import Fixed, Paced


@dataclass(frozen=True, slots=True)
class Split:
    """One of so many `workers`. Its `index` is from 0; None: it is not known which one it is."""

    workers: int
    index: int | None = None

    def part(self, total: int, name: str) -> int:
        """Return this worker's part of a whole number: all parts together are the total, and differ by 1 at most.

        `name` is of what is divided: it decides who gets one more, so that it is not always the same workers. Without
        an index none does, and the rest is nobody's.
        """
        each, rest = divmod(total, self.workers)
        if self.index is None:
            return each
        return each + ((self.index + crc32(name.encode("utf-8", "backslashreplace"))) % self.workers < rest)

    def amount(self, total: float, name: str) -> float:
        """Return this worker's part of an amount: all parts together are never more than it."""
        if total == int(total):
            return float(self.part(int(total), name))
        return nextafter(total / self.workers, 0.0)


def split(policy: Policy, catalog: Catalog, by: Split) -> tuple[Policy, Catalog]:
    """Return the policy and the catalog with this worker's share of all limits and budgets.

    Where the policy is of one worker already, both are returned as they are.
    """
    if policy.split is not None:
        return policy, catalog
    rows = {name: _provider(row, by) for name, row in catalog.providers.items()}
    return replace(policy, split=(by.index, by.workers), budget=_budget(policy.budget, by)), Catalog(rows)


def _provider(row: Provider, by: Split) -> Provider:
    return replace(row, limits=tuple(_limit(row.name, limit, by) for limit in row.limits)) if row.limits else row


def _limit(provider: str, limit: Limit, by: Split) -> Limit:
    name = f"{provider}/{limit.model}/{limit.pool}/{limit.metric}/{limit.window}"
    if not isinstance(limit.window, Paced):
        return replace(limit, amount=by.amount(limit.amount, name))
    # In any time as many calls may come as the burst, and as many more as the pace has brought. Workers that know
    # nothing of each other keep to that if each has as much of the pace as of the burst: of a burst of 1 one has all.
    burst = by.part(limit.window.burst, name)
    if not burst:
        return replace(limit, amount=0.0, window=Fixed(limit.window.seconds))
    slower = limit.window.seconds * (limit.window.burst / burst)
    seconds = limit.window.seconds if burst == limit.window.burst else nextafter(slower, inf)
    return replace(limit, window=Paced(seconds, burst))


def _budget(budget: DailyBudget, by: Split) -> DailyBudget:
    total = budget.max_cost_per_day
    return replace(
        budget,
        max_cost_per_day=None if total is None else by.part(total, "budget/day"),
        providers={name: by.part(cap, f"budget/provider/{name}") for name, cap in budget.providers.items()},
        models={name: by.part(cap, f"budget/model/{name}") for name, cap in budget.models.items()},
    )
