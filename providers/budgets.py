"""Our own budgets as the rest of the house sees them: a name for each, and what a call reserves of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, cast

BudgetKind = Literal["day", "provider", "model", "squad", "task", "agent", "conversation"]


@dataclass(frozen=True, slots=True)
class BudgetRef:
    """One of our own budgets: a day's, in all or for a provider or a model, or one of a run. Its text: `task build`."""

    kind: BudgetKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else self.kind

    @classmethod
    def read(cls, text: str) -> BudgetRef:
        """Return what `str` wrote: events are recorded with the text."""
        kind, _, name = text.partition(" ")
        return cls(cast(BudgetKind, kind), name)


class BudgetReservation(Protocol):
    """What one call holds of every budget that covers it. Exactly one of its methods is called, once."""

    def settle(self, cost: int, tokens: int) -> None:
        """Replace the reservation by what the call cost: micro-USD and tokens."""

    def release(self) -> None:
        """Give everything back: the call cost nothing."""


class BudgetScope(Protocol):
    """The budgets that a piece of work draws on together."""

    def reserve(self, cost: int, tokens: int) -> BudgetReservation:
        """Hold `cost` micro-USD and `tokens` on all of them, or raise `BudgetSpent` and hold nothing."""
