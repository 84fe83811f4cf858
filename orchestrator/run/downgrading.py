"""Answers that a spent budget lets come from a cheaper tier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agents.room import TellsRoom
from agents.run_context import Answer, relayed
from orchestrator.events import BudgetReached
from providers.emit import Emit, ignore
from providers.errors import BudgetSpent
from providers.messages import Accept, Delta, Hear, Request, Response, Restarted

if TYPE_CHECKING:
    from agents.run_context import Complete


@dataclass(frozen=True, slots=True)
class Downgrading:
    """Answers through `inner`; where a spent budget says `downgrade_tier`, once more at the fallback tier."""

    inner: Complete

    def room(self, request: Request) -> int | None:
        """Return what `inner` knows of the room for a request."""
        return self.inner.room(request) if isinstance(self.inner, TellsRoom) else None

    async def complete(
        self, request: Request, *, emit: Emit = ignore, budgets: Any = None, accept: Accept | None = None
    ) -> Response:
        return await self._answer(self.inner.complete, request, emit, budgets, accept)

    async def relay(
        self, request: Request, hear: Hear, *, emit: Emit = ignore, budgets: Any = None, accept: Accept | None = None
    ) -> Response:
        told: list[Delta] = []

        def take(delta: Delta) -> None:
            told[:] = [delta]
            hear(delta)

        def void(spent: BudgetSpent) -> None:
            if told:
                hear(Restarted(str(spent)))

        return await self._answer(partial(relayed, self.inner, hear=take), request, emit, budgets, accept, void)

    async def _answer(
        self,
        answer: Answer,
        request: Request,
        emit: Emit,
        budgets: Any,
        accept: Accept | None,
        void: Callable[[BudgetSpent], None] = lambda _: None,
    ) -> Response:
        try:
            return await answer(request, emit=emit, budgets=budgets, accept=accept)
        except BudgetSpent as spent:
            if budgets is None or budgets.on_exceed(spent.budget) != "downgrade_tier":
                raise
            emit(BudgetReached.by(spent, "downgrade_tier"))
            void(spent)
            cheap = _at_tier(request, "fallback")
            return await answer(cheap, emit=emit, budgets=budgets, accept=accept)


def _at_tier(request: Request, tier: str) -> Request:
    needs = replace(request.needs, agent=None, persona=None, model=None, chain=(), tier=tier)
    return replace(request, needs=needs)
