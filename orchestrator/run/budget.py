"""Our own caps, nested, as reservations: taken before a call, settled after it, so that no cap can be overshot.

An `Account` is the running sum under one `Budget`. An `AccountScope` is the accounts that one piece of work draws on
together: its squad's, task's, conversation's and agent's. A call is reserved on all of them or on none. Money is
micro-USD, time is seconds; `now` is passed in.

An unknown price cannot be capped: such a call is reserved and settled at 0 micro-USD, counts its tokens and
its turn in full, and makes the run's cost unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents.events import TurnEnded
from orchestrator.squad.plan import Budget, OnExceed, Plan
from orchestrator.units import StepPath, Unit
from providers.budgets import BudgetRef
from providers.errors import BudgetSpent
from providers.events import AttemptEnded
from providers.messages import Usage


class Bill(NamedTuple):
    """What was billed: tokens, and micro-USD (None: unknown)."""

    usage: Usage
    cost: int | None


def bill_of(payload: Any) -> Bill | None:
    """Return what an event says was billed, None for one that says nothing of it.

    A turn's event carries the cost of the attempt that answered it, and each other attempt carries its own: their sum
    is all that was billed.
    """
    if isinstance(payload, TurnEnded) or (isinstance(payload, AttemptEnded) and payload.usage is not None):
        return Bill(payload.usage or Usage(), payload.cost)
    return None


def counted_of(payload: Any) -> Bill | None:
    """Return what the caps count for an event: what was billed, or the estimate of a turn whose usage is unknown."""
    if isinstance(payload, TurnEnded) and payload.estimate is not None:
        return Bill(payload.estimate.usage, payload.estimate.cost)
    return bill_of(payload)


class Paid(NamedTuple):
    """One call that an earlier process paid for: where, by which agent, micro-USD (None: unknown), tokens."""

    unit: Unit | None
    step: StepPath
    agent: str
    cost: int | None
    tokens: int


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

    def check(self, cost: int, tokens: int, now: float) -> None:
        """Raise `BudgetSpent` where the cap leaves no room for one more call of this size."""
        cap = self.cap
        wanted: tuple[tuple[str, float | None, float, float], ...] = (
            ("max_cost", cap.max_cost, self.cost + self.held_cost, cost),
            ("max_tokens", cap.max_tokens, self.tokens + self.held_tokens, tokens),
            ("max_turns", cap.max_turns, self.turns, 1),
        )
        for kind, limit, spent, more in wanted:
            if limit is not None and spent + more > limit:
                raise BudgetSpent(self.ref, kind, limit, spent, more)
        if self.seconds_left(now) <= 0:
            raise BudgetSpent(self.ref, "max_time", cap.max_time or 0, now - self.opened_at, 0)

    def seconds_left(self, now: float) -> float:
        return float("inf") if self.cap.max_time is None else self.opened_at + self.cap.max_time - now


class Hold(NamedTuple):
    """What a reservation took from each account of a scope."""

    cost: int
    tokens: int


@dataclass(slots=True)
class AccountReservation:
    """One call's share of a scope. Settled or released exactly once; a second time is an error of ours."""

    accounts: tuple[Account, ...]
    hold: Hold
    open: bool = True

    def settle(self, cost: int, tokens: int) -> None:
        """Replace the reservation by what the call really cost: micro-USD and tokens."""
        self._close()
        for account in self.accounts:
            account.cost += cost
            account.tokens += tokens

    def release(self) -> None:
        """Give everything back: the call cost nothing."""
        self._close()
        for account in self.accounts:
            account.turns -= 1

    def _close(self) -> None:
        assert self.open, "a reservation is settled or released once"
        self.open = False
        for account in self.accounts:
            account.held_cost -= self.hold.cost
            account.held_tokens -= self.hold.tokens


@dataclass(frozen=True, slots=True)
class AccountScope:
    """The accounts that a piece of work draws on, outermost first. A `BudgetScope`."""

    accounts: tuple[Account, ...]
    clock: Callable[[], float] = field(repr=False)

    def reserve(self, cost: int, tokens: int) -> AccountReservation:
        """Hold `cost` and `tokens` on every account, or raise `BudgetSpent` and hold nothing."""
        now = self.clock()
        for account in self.accounts:
            account.check(cost, tokens, now)
        for account in self.accounts:
            account.held_cost += cost
            account.held_tokens += tokens
            account.turns += 1
        return AccountReservation(self.accounts, Hold(cost, tokens))

    def within(self, account: Account | None) -> AccountScope:
        """Return a scope that draws on `account` too."""
        return self if account is None else AccountScope((*self.accounts, account), self.clock)

    def on_exceed(self, budget: BudgetRef) -> OnExceed:
        """Return what the account of `budget` wants done when it is spent."""
        return next((a.cap.on_exceed for a in self.accounts if a.ref == budget), "stop")

    def seconds_left(self) -> float:
        now = self.clock()
        return min((a.seconds_left(now) for a in self.accounts), default=float("inf"))

    def out_of_time(self) -> BudgetSpent:
        """Return the failure of the account whose time is up first."""
        now = self.clock()
        first = min(self.accounts, key=lambda account: account.seconds_left(now))
        limit = first.cap.max_time or 0
        return BudgetSpent(first.ref, "max_time", limit, limit, 0)


def open_account(ref: BudgetRef, cap: Budget | None, now: float, paid: Iterable[Paid] = ()) -> Account | None:
    """Return an account that starts at `now` with what was `paid` already, None where there is no cap."""
    if cap is None:
        return None
    account = Account(ref, cap, now)
    for call in paid:
        account.cost += call.cost or 0
        account.tokens += call.tokens
        account.turns += 1
    return account


def on_exceed(plan: Plan, ref: BudgetRef) -> OnExceed:
    """Return what the plan wants done when one of its budgets is spent."""
    places: Mapping[str, Any] = {
        "squad": plan,
        "task": plan.tasks.get(ref.name),
        "agent": plan.agents.get(ref.name),
        "conversation": plan.conversations.get(ref.name),
    }
    budget: Budget | None = getattr(places[ref.kind], "budget", None)
    return "stop" if budget is None else budget.on_exceed
