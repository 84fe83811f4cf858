"""What one turn's attempts share: the request, the listener, the budgets that pay, and what was tried so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import anyio

from providers.budgets import BudgetScope
from providers.catalog.model import Candidate
from providers.catalog.prices import cost_of
from providers.client.adapter_table import AdapterTable
from providers.client.clock import ahead, from_now
from providers.client.purse import Purse
from providers.client.reservations import Reservations
from providers.emit import Emit
from providers.errors import ProviderError
from providers.events import WaitingForBudget, WaitingForProvider
from providers.messages import Accept, Attempt, Estimate, Request, Response
from providers.routing.admission import billed
from providers.routing.effects import AwaitBudget, Sleep, Woke
from providers.routing.fleet import Fleet
from providers.routing.traffic import AttemptSeen


class LiveTurn:
    """One turn on its way."""

    __slots__ = (
        "accept",
        "adapters",
        "answers",
        "attempts",
        "began",
        "clock",
        "continues",
        "emit",
        "failed",
        "fleet",
        "look",
        "purse",
        "request",
        "reservations",
        "saw",
    )

    def __init__(
        self,
        fleet: Fleet,
        adapters: AdapterTable,
        reservations: Reservations,
        request: Request,
        emit: Emit,
        budgets: BudgetScope | None,
        accept: Accept | None = None,
        continues: int = 0,
    ) -> None:
        self.fleet, self.adapters, self.reservations = fleet, adapters, reservations
        self.clock = from_now(reservations.clock)
        self.request, self.emit, self.accept = request, emit, accept
        capped = budgets is not None and budgets.is_capped
        self.purse = Purse(budgets, fleet, request, self.clock) if budgets is not None and capped else None
        """What pays for its attempts; None: nothing caps them."""
        self.continues = continues
        """Characters of an answer that the request ends in, as the length of one answer cut it off there."""
        self.began = self.clock()
        self.attempts: list[Attempt] = []
        self.answers: list[tuple[Response, Candidate]] = []
        """Of two attempts at once both may have answered."""
        self.failed: tuple[str, str] | None = None
        """The candidate that failed last, and the class of its error."""
        self.look: Callable[[], None] | None = None
        """Takes up what operators have set, after each wait."""
        self.saw: Callable[[AttemptSeen], None] | None = None
        """Is told of each attempt that ended."""

    def received(self, error: ProviderError) -> ProviderError:
        """Return an error whose `retry_at` was read by the machine's clock, with that instant in the router's time."""
        if error.retry_at is not None:
            error.retry_at -= ahead(self.reservations.wall, self.clock)
        return error

    async def sleep(self, effect: Sleep | AwaitBudget) -> Woke:
        """Wait for an instant, or for room under the run's budgets. Raise `BudgetSpent`."""
        if isinstance(effect, AwaitBudget):
            assert self.purse is not None, "only a budget is waited for"
            self.emit(WaitingForBudget())
            with anyio.move_on_after(math.inf if effect.until is None else effect.until - self.clock()):
                await self.purse.wait()
        else:
            self.emit(WaitingForProvider(effect.until, effect.reason))
            await anyio.sleep(max(0.0, effect.until - self.clock()))
        if self.look is not None:
            self.look()
        return Woke(self.clock())

    def close(self) -> None:
        """Give back what no attempt took."""
        if self.purse is not None:
            self.purse.put_back()

    def finished(self, response: Response) -> Response:
        """Return `response` with the turn's attempts and latency (waits included), and with what it leaves unsaid."""
        candidate = next(candidate for answer, candidate in self.answers if answer is response)
        now = self.clock()
        cost = cost_of(candidate, response.usage, now) if response.cost is None else response.cost
        return replace(
            response,
            provider=response.provider or candidate.provider.name,
            model=response.model or candidate.model.name,
            cost=cost,
            attempts=tuple(self.attempts),
            latency_ms=(now - self.began) * 1000,
            estimate=None if response.usage.total else self._estimate(response, candidate, cost, now),
        )

    def _estimate(self, response: Response, candidate: Candidate, cost: int | None, now: float) -> Estimate:
        """Return what the budgets counted for an answer whose usage is unknown."""
        usage = billed(self.fleet.demands(self.request)[0], response, 0)
        return Estimate(usage, cost_of(candidate, usage, now) if cost is None else cost)
