"""What one turn takes of its run's budgets: a reservation for each attempt, and the wait where others hold the room."""

from __future__ import annotations

from providers.budgets import BudgetReservation, BudgetScope, CallSize
from providers.catalog.model import Candidate
from providers.client.clock import Now
from providers.errors import BudgetSpent
from providers.messages import Request, Usage
from providers.routing.call_size import call_size
from providers.routing.fleet import Fleet


class Purse:
    """The budgets that pay for one turn's attempts. It keeps its place in line from its first attempt on.

    An attempt takes what there is now, and never waits: it is counted as in flight at its candidate, and its time
    runs. The turn waits between two attempts, and keeps what it was given for the next.
    """

    __slots__ = ("_asked", "_budgets", "_clock", "_fleet", "_given", "_place", "_request")

    def __init__(self, budgets: BudgetScope, fleet: Fleet, request: Request, clock: Now) -> None:
        self._budgets, self._fleet, self._request, self._clock = budgets, fleet, request, clock
        self._place = budgets.place()
        self._asked: Candidate | None = None
        """At whom the last attempt found no room."""
        self._given: BudgetReservation | None = None
        """What the turn has waited for."""

    async def take(self, candidate: Candidate) -> BudgetReservation | None:
        """Return what pays for an attempt; None: calls in flight hold it. Raise `BudgetSpent`."""
        size, given = self._size(candidate), self._given
        self._given = None
        if given is not None:
            if _covers(given, size):
                return given
            given.release()
        held = await self._budgets.reserve_now(size, self._place)
        if held is None:
            self._asked = candidate
        return held

    async def wait(self) -> None:
        """Wait for what the last attempt found no room for. Raise `BudgetSpent`."""
        assert self._asked is not None, "an attempt found no room"
        size = self._size(self._asked)
        while self._given is None:
            try:
                self._given = await self._budgets.reserve(size, self._place)
            except BudgetSpent:
                before, size = size, self._size(self._asked)
                if size == before:  # nothing was learned meanwhile
                    raise

    def learn(self, candidate: Candidate, usage: Usage) -> None:
        """Take what an attempt took by its provider's own count. A usage of nothing is not known."""
        if usage.total:
            reckoned, agent = self._fleet.demands(self._request)[0], self._request.needs.agent or ""
            sent, said = usage.input + usage.cache_read + usage.cache_write, usage.output + usage.reasoning
            self._budgets.sizes.learn(agent, candidate.model.name, reckoned, sent, said)

    def put_back(self) -> None:
        """Give back what the turn has waited for and no attempt took."""
        given, self._given = self._given, None
        if given is not None:
            given.release()

    def _size(self, candidate: Candidate) -> CallSize:
        tokens = self._fleet.demands(self._request)[0]
        return call_size(self._request, tokens, candidate, self._budgets.sizes, self._clock())


def _covers(given: BudgetReservation, size: CallSize) -> bool:
    """Return whether what was given pays for such a call too: what is known of calls may have changed since."""
    whole = given.size.cost_of(given.output)
    return given.size.tokens >= size.tokens and whole >= size.cost_of(given.output) and given.output >= size.least
