"""What was spent, by whatever one asks: provider, model, agent, squad, run, task, day. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Literal

from orchestrator.journal.spent import QUARTER_S, Spending, SpentBy, SpentRow

By = Literal["provider", "model", "agent", "squad", "run", "task", "day"]


def asked_by(by: By) -> SpentBy:
    """Return by what a journal is asked."""
    return "quarter" if by == "day" else by


def spending(
    rows: Iterable[SpentRow], by: By | Literal["key", "tag"], zone: tzinfo
) -> tuple[dict[str, Spending], Spending]:
    """Return what was spent under each name, and in all, of what a journal told `asked_by` it.

    A day is one of `zone`. The most expensive come first; days are in order.
    """
    found: dict[str, Spending] = {}
    total = Spending()
    for (name, *_), spent in rows:
        shown = day_of(name, zone) if isinstance(name, int) else name
        for each in (found.setdefault(shown, Spending()), total):
            each.add(spent)
    names = sorted(found) if by == "day" else sorted(found, key=lambda name: (-found[name].cost, name))
    return {name: found[name] for name in names}, total


def day_of(quarter: int, zone: tzinfo) -> str:
    """Return the day in which a quarter of an hour lies: `2026-11-30`."""
    return datetime.fromtimestamp(quarter * QUARTER_S, zone).date().isoformat()
