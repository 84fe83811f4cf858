"""Settles what keys held for runs of squads whose server was killed: what those runs really cost is in the journal."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.events import Event
from orchestrator.events.bills import Bill, bill_of
from orchestrator.journal.protocols import RunLine
from orchestrator.run.history import history_of
from orchestrator.server.gateway.allowance import LEASE_S, meters_of, run_lease
from orchestrator.server.gateway.keys import Key
from orchestrator.server.gateway.spent import KeySpent, quarter_of, spending_of
from orchestrator.server.state import ServerState
from providers.messages import Usage


def bill_of_run(events: Sequence[Event]) -> tuple[Bill, int, int]:
    """Return the bill of a run so far, and what caps count for it: micro-USD and tokens, with what calls had reserved
    that were cut short."""
    paid, bills = history_of(events).paid, [bill for event in events if (bill := bill_of(event.data)) is not None]
    known = None if any(call.cost is None for call in paid) else sum(call.cost or 0 for call in paid)
    usage = sum((bill.usage for bill in bills), Usage())
    return Bill(usage, known), sum(call.cost or 0 for call in paid), sum(call.tokens for call in paid)


async def settle_killed(state: ServerState) -> None:
    """Count what runs cost that were killed, in place of what the keys held that had asked for them.

    Which key it was is not recorded: what a lease does not hold, its settlement does not change.
    """
    capped = [key for key in (() if state.keys is None else state.keys.all()) if key.budgets]
    if not capped:
        return
    now = state.manager.reservations.wall()
    for line in await state.journal.runs(statuses=("running",)):
        if line.created_at > now - LEASE_S and not await state.journal.is_driven(line.run):
            for key in capped:
                await _settle(state, key, line, now)


async def _settle(state: ServerState, key: Key, line: RunLine, now: float) -> None:
    bill, cost, tokens = bill_of_run(await state.journal.events(line.run))
    ledger, meters = state.manager.reservations.ledger, meters_of(key, state.manager.policy.budget.timezone)
    before = await ledger.usage(meters.budgets, now)
    amounts = [(meter, float(cost)) for meter in meters.budgets]
    amounts += [(meter, 1.0 if meter is meters.requests else float(tokens)) for meter in meters.rates]
    await ledger.settle(amounts, run_lease(line.run), now)
    if [each.held for each in await ledger.usage(meters.budgets, now)] != [each.held for each in before]:
        whose = KeySpent(quarter_of(now), key.name, key.tags, "orchestrator", f"squad/{line.squad}")
        state.store.spend(whose, spending_of(bill, "turns"))
