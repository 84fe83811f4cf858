"""Lets requests in by what their keys allow: reserves before the work, settles after it, whatever becomes of it.

Rates and budgets are counted in the ledger of limits, so they hold over restarts, and over all servers that share it.
How many requests are at work is counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import anyio

from orchestrator.events.bills import Bill
from orchestrator.observe.calls import ObservedRequests
from orchestrator.run.accounts import AccountScope
from orchestrator.run.budget import Account
from orchestrator.server.gateway.allowance import (
    LEASE_S,
    KeyMeters,
    RequestSize,
    held_for,
    left_of,
    meters_of,
    out_of_money,
    rate_headers,
    too_fast,
    too_many_at_once,
)
from orchestrator.server.gateway.failures import OUT_OF_QUOTA, GatewayFailure
from orchestrator.server.gateway.kept_turns import TurnSeen
from orchestrator.server.gateway.keys import Key
from orchestrator.server.gateway.spent import KeySpending, KeySpent, quarter_of, spending_of
from orchestrator.server.gateway.store import GatewayStore
from orchestrator.squad.plan import Budget
from orchestrator.subscribers import GenAiOperation
from providers.budgets import BudgetRef
from providers.client.manager import ProviderManager
from providers.client.reservations import BOOK_S
from providers.embeddings import Embeddings
from providers.emit import Emit, EndsOnly, ignore
from providers.errors import BudgetSpent
from providers.events import AttemptEnded
from providers.limits.reserve import Amounts
from providers.messages import Needs, Response, Usage
from providers.transport.closing import undisturbed

HELD_S = 10.0
"""How long a request waits for what others of its key hold of a budget."""
POLL_S = 0.1
ATTEMPT_SHARE = 0.5
"""Of what a request holds, how much one attempt may: a second one may be made beside a silent one."""
NO_KEY = Key("", "")


class Grant:
    """What one request was granted of its key's allowance, and what it comes to. `headers` tell of the key's rates.

    `budgets` pays for its calls; None: nothing caps them. `held` is micro-USD of the key's budgets; None: there are
    none.
    """

    def __init__(
        self, key: Key, meters: KeyMeters, manager: ProviderManager, store: GatewayStore, *, traced: bool = False
    ) -> None:
        self.key, self.meters = key, meters
        self.lease = uuid4().hex if meters.rates or meters.budgets else ""
        self.headers: dict[str, str] = {}
        self.held: float | None = None
        self._wall, self._store = manager.reservations.wall, store
        self.tell: Emit = ignore
        """Takes what happens in its turns, and its answer, for those who are told of requests."""
        self.emit: Emit = self.hear if traced else EndsOnly(self.hear)
        self._account = Account(BudgetRef("key", key.name), Budget(), self._wall())
        self._turn: TurnSeen | None = None
        self._bill: tuple[Usage, int | None] | None = None

    @property
    def budgets(self) -> AccountScope | None:
        if self.meters.tokens is None and not self.meters.budgets:
            return None
        self._account.cap = Budget(max_cost=None if self.held is None else int(self.held))
        return AccountScope((self._account,), self._wall, share=ATTEMPT_SHARE)

    @property
    def took(self) -> tuple[int, int]:
        """The tokens and the micro-USD that it came to."""
        return self._account.tokens, self._account.cost

    def begin(self, needs: Needs) -> None:
        """Take note that a model is asked now, and for what."""
        self._turn = TurnSeen(needs, self._wall())

    def end(self) -> None:
        """Keep what came of the turn for who tries another policy on it."""
        if self._turn is not None:
            usage, cost = self._bill or (None, None)
            turn = self._turn.ended(usage, cost, self._wall())
            if turn is not None:
                self._store.keep_turn(turn)

    def hear(self, event: Any) -> None:
        """Take an event of a turn: attempts that gave no answer may be billed as well."""
        self.tell(event)
        if self._turn is not None:
            self._turn.hear(event, self._wall())
        if isinstance(event, AttemptEnded) and event.usage is not None:
            self._record(event.provider, event.model, spending_of(Bill(event.usage, event.cost), "lost"))

    def answered(self, answer: Response) -> None:
        """Take the answer that a model gave."""
        self.tell(answer)
        self._bill = (answer.counted, answer.cost)
        self.billed(answer.provider, answer.model, Bill(answer.counted, answer.cost))

    def billed(self, provider: str, model: str, bill: Bill) -> None:
        """Take the bill of an answer."""
        self._record(provider, model, spending_of(bill, "turns"))

    def embedded(self, made: Embeddings) -> None:
        """Take the vectors that a model made."""
        self.tell(made)
        usage = made.usage if made.estimate is None else made.estimate.usage
        self._record(made.provider, made.model_asked, spending_of(Bill(usage, made.cost), "embedded"))

    def charged(self, cost: int, tokens: int) -> None:
        """Take what was spent that `budgets` did not pay for."""
        self._account.cost += cost
        self._account.tokens += tokens

    def hit(self, answer: Response) -> None:
        """Take that an answer which is kept was given again: it cost nothing."""
        self._record(answer.provider, answer.model, KeySpending(hits=1))

    def _record(self, provider: str, model: str, spending: KeySpending) -> None:
        quarter = quarter_of(self._wall())
        self._store.spend(KeySpent(quarter, self.key.name, self.key.tags, provider, model), spending)


class Admission:
    """The one place where requests of keys are let in."""

    def __init__(self, manager: ProviderManager, store: GatewayStore, requests: ObservedRequests) -> None:
        self._manager, self._store, self._requests = manager, store, requests
        self._at_work: Counter[str] = Counter()

    @asynccontextmanager
    async def admitted(
        self,
        key: Key | None,
        size: Callable[[float], RequestSize],
        *,
        operation: GenAiOperation = "chat",
        anthropic: bool = False,
    ) -> AsyncIterator[Grant]:
        """Yield what a request for an `operation` is granted; `size` is asked only where something is counted.

        Raise `GatewayFailure` where its key allows it nothing. A revoked key's request is brought to its end.
        """
        key = key or NO_KEY
        meters = meters_of(key, self._manager.policy.budget.timezone)
        grant = Grant(key, meters, self._manager, self._store, traced=self._requests.traced)
        if key.at_once is not None and self._at_work[key.digest] >= key.at_once:
            raise too_many_at_once(key.at_once)
        self._at_work[key.digest] += 1
        try:
            with self._requests.observed(operation) as grant.tell:
                if meters.rates or meters.budgets:
                    async with self._reserved(grant, size, anthropic=anthropic):
                        yield grant
                else:
                    yield grant
        finally:
            grant.end()
            self._at_work[key.digest] -= 1
            if not self._at_work[key.digest]:
                self._at_work.pop(key.digest)

    @asynccontextmanager
    async def _reserved(
        self, grant: Grant, size: Callable[[float], RequestSize], *, anthropic: bool
    ) -> AsyncIterator[None]:
        wall, ledger, meters = self._manager.reservations.wall, self._manager.reservations.ledger, grant.meters
        held: Amounts | None = None
        try:
            try:
                asked = size(wall())
                grant.lease = asked.lease or grant.lease
                held = await self._reserve(grant, asked)
            finally:
                if meters.rates:
                    used = await ledger.usage(meters.rates, wall())
                    grant.headers |= rate_headers(
                        meters, {each.meter.key: each for each in used}, wall(), anthropic=anthropic
                    )
            yield
        except GatewayFailure as failure:
            failure.headers = {**grant.headers, **failure.headers}
            raise
        except BudgetSpent as spent:
            raise self._too_dear(grant, spent) from None
        finally:
            await undisturbed(partial(self._settle, grant, held), BOOK_S)

    async def _reserve(self, grant: Grant, size: RequestSize) -> Amounts:
        """Return what the request holds, once there is room for it."""
        reservations, meters = self._manager.reservations, grant.meters
        with anyio.move_on_after(HELD_S):
            while True:
                now, cost = reservations.wall(), 0.0
                used = await reservations.ledger.usage(meters.budgets, now) if meters.budgets else []
                if max(0.0, left_of(used, held=False)) < size.least:
                    raise out_of_money(used, size, now)
                if (left := max(0.0, left_of(used))) >= size.least:
                    cost = held_for(size, left) if used else 0.0
                    amounts = meters.amounts(meters.tokens_of(size), cost)
                    refused = await reservations.ledger.reserve(amounts, grant.lease, now, LEASE_S)
                    if refused is None:
                        grant.held = cost if used else None
                        return amounts
                    if refused.meter.budget is None:
                        raise too_fast(refused, now)
                await anyio.sleep(POLL_S)
        text = "other requests of the key hold what is left of its budget; ask again once they have ended"
        raise GatewayFailure(429, "rate_limit", text, "rate_limit_exceeded", may_retry=True, retry_after=1.0)

    async def _settle(self, grant: Grant, held: Amounts | None) -> None:
        """Count what it came to in place of what it held. What was refused, or not reserved in time, holds nothing."""
        now, ledger, (tokens, cost) = self._manager.reservations.wall(), self._manager.reservations.ledger, grant.took
        if held is None:  # the ledger may have reserved all the same where the request was cancelled meanwhile
            await ledger.settle(
                [(meter, 0.0) for meter in (*grant.meters.rates, *grant.meters.budgets)], grant.lease, now
            )
            return
        await ledger.settle(grant.meters.outcome(tokens, cost), grant.lease, now)
        if cost and not grant.held:
            await ledger.spend([(meter, float(cost)) for meter in grant.meters.budgets], now)

    def _too_dear(self, grant: Grant, spent: BudgetSpent) -> GatewayFailure:
        labels = " and of ".join(meter.label for meter in grant.meters.budgets)
        text = f"what is left of the key's budget of {labels} does not pay for this request ({spent})"
        return GatewayFailure(429, "quota", text, OUT_OF_QUOTA, headers=grant.headers)
