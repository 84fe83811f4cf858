"""Our own caps: what was spent under each, what calls in flight hold, and what that leaves. Pure.

An `Account` is the running sum under one `Budget`; `accounts.py` reserves on them. Money is micro-USD, time is seconds;
`now` is passed in.

An unknown price cannot be capped: such a call is reserved and settled at 0 micro-USD, counts its tokens and
its turn in full, and makes the run's cost unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

from agents.events import TextsEmbedded, TurnEnded
from orchestrator.events.bills import Bill as Bill
from orchestrator.events.bills import bill_of as bill_of
from orchestrator.squad.elements import has_task, task_of
from orchestrator.squad.plan import Budget, OnExceed, Plan
from orchestrator.units import StepPath, Unit
from providers.budgets import BudgetRef, CallSize
from providers.errors import BudgetSpent


def counted_of(payload: Any) -> Bill | None:
    """Return what the caps count for an event: what was billed, or the estimate of a turn whose usage is unknown."""
    if isinstance(payload, TurnEnded | TextsEmbedded) and payload.estimate is not None:
        return Bill(payload.estimate.usage, payload.estimate.cost)
    return bill_of(payload)


class Paid(NamedTuple):
    """One call that an earlier process paid for: where, by which agent, micro-USD (None: unknown), tokens, and for how
    many turns it counts."""

    unit: Unit | None
    step: StepPath
    agent: str
    cost: int | None
    tokens: int
    turns: int = 1


def no_time() -> float:
    """Return 0: no person is waited for."""
    return 0.0


@dataclass(slots=True)
class Account:
    """What was spent and what is held under one cap of the run's: `ref` names the budget."""

    ref: BudgetRef
    cap: Budget
    opened_at: float
    cost: int = 0
    tokens: int = 0
    turns: int = 0
    held_cost: int = 0
    held_tokens: int = 0
    held_turns: int = 0
    waited: Callable[[], float] = no_time
    """Returns the seconds since it was opened in which a person alone was waited for: they are nobody's work."""
    shared_as: str = ""
    """What other processes know it by that draw on it as well; empty: none does."""

    def hold(self, cost: int, tokens: int, turns: int) -> None:
        """Count what a call in flight may take, or no longer where the figures are below 0."""
        self.held_cost += cost
        self.held_tokens += tokens
        self.held_turns += turns

    def check(self, size: CallSize, now: float) -> None:
        """Raise `BudgetSpent` where what is spent leaves no room for one more call of this size."""
        cap, least = self.cap, size.least
        wanted: tuple[tuple[str, float | None, float, float], ...] = (
            ("max_cost", cap.max_cost, self.cost, size.cost_of(least)),
            ("max_tokens", cap.max_tokens, self.tokens, size.tokens + least),
            ("max_turns", cap.max_turns, self.turns, size.turns),
        )
        for kind, limit, spent, more in wanted:
            if limit is not None and spent + more > limit:
                raise BudgetSpent(self.ref, kind, limit, spent, more)
        if self.seconds_left(now) <= 0:
            raise BudgetSpent(self.ref, "max_time", cap.max_time or 0, now - self.opened_at - self.waited(), 0)

    def longest(self, size: CallSize, share: float = 1.0) -> float:
        """Return for how long an answer a share of what is not spent would pay: tokens; inf: any. It may be too few."""
        most = inf
        if self.cap.max_cost is not None and size.each:
            most = ((self.cap.max_cost - self.cost) * share - size.cost) / size.each
        if self.cap.max_tokens is not None:
            most = min(most, (self.cap.max_tokens - self.tokens) * share - size.tokens)
        return most

    def has_room(self, size: CallSize, output: int, *, held: bool = True) -> bool:
        """Return whether a call fits beside what is spent, and what is `held`."""
        cap = self.cap
        wanted = (
            (cap.max_cost, self.cost + held * self.held_cost + size.cost_of(output)),
            (cap.max_tokens, self.tokens + held * self.held_tokens + size.tokens + output),
            (cap.max_turns, self.turns + held * self.held_turns + size.turns),
        )
        return all(limit is None or amount <= limit for limit, amount in wanted)

    def seconds_left(self, now: float) -> float:
        return float("inf") if self.cap.max_time is None else self.opened_at + self.waited() + self.cap.max_time - now


def open_account(
    ref: BudgetRef, cap: Budget | None, now: float, paid: Iterable[Paid] = (), waited: Callable[[], float] = no_time
) -> Account | None:
    """Return an account that starts at `now` with what was `paid` already, None where there is no cap.

    `waited` returns the seconds so far in which a person alone was waited for.
    """
    if cap is None:
        return None
    account = Account(ref, cap, now - waited(), waited=waited)
    for call in paid:
        account.cost += call.cost or 0
        account.tokens += call.tokens
        account.turns += call.turns
    return account


def has_caps(plan: Plan) -> bool:
    """Return whether anything in the plan has a budget."""
    parts: tuple[Mapping[str, Any], ...] = (plan.tasks, plan.templates, plan.agents, plan.conversations, plan.squads)
    within = (one for part in parts for one in part.values())
    return any(getattr(one, "budget", None) is not None for one in (plan, *within))


def on_exceed(plan: Plan, ref: BudgetRef) -> OnExceed:
    """Return what the plan wants done when one of its budgets is spent."""
    places: Mapping[str, Any] = {
        "squad": plan,
        "task": task_of(plan, ref.name) if has_task(plan, ref.name) else None,
        "agent": plan.agents.get(ref.name),
        "conversation": plan.conversations.get(ref.name),
    }
    budget: Budget | None = getattr(places[ref.kind], "budget", None)
    return "stop" if budget is None else budget.on_exceed
