"""No cap is overshot, and nothing is held for ever."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from orchestrator.run.budget import AccountReservation, AccountScope, open_account
from orchestrator.squad.plan import Budget
from providers.budgets import BudgetRef
from providers.errors import BudgetSpent

amounts = st.integers(0, 60)


class NestedCaps(RuleBasedStateMachine):
    """Any order of reservations, settlements within the estimate, and releases, on a squad with two tasks."""

    open_ones = Bundle("open_ones")

    def __init__(self) -> None:
        super().__init__()
        squad = open_account(BudgetRef("squad"), Budget(max_cost=100, max_tokens=150), 0.0)
        budgets = AccountScope((), lambda: 0.0).within(squad)
        one = open_account(BudgetRef("task", "one"), Budget(max_cost=40, max_turns=5), 0.0)
        two = open_account(BudgetRef("task", "two"), None, 0.0)
        self.accounts = [a for a in (squad, one) if a]
        self.budgets = [budgets.within(one), budgets.within(two)]
        self.settled = 0
        self.turns = 0
        self.unclosed: list[AccountReservation] = []

    @rule(target=open_ones, which=st.integers(0, 1), cost=amounts, tokens=amounts)
    def reserve(self, which: int, cost: int, tokens: int) -> AccountReservation | None:
        before = [(a.held_cost, a.held_tokens, a.turns) for a in self.accounts]
        refusal = None
        try:
            hold = self.budgets[which].reserve(cost, tokens)
        except BudgetSpent as spent:
            refusal = spent
        if refusal is not None:
            assert refusal.spent + refusal.wanted > refusal.cap
            assert before == [(a.held_cost, a.held_tokens, a.turns) for a in self.accounts], "a refusal holds nothing"
            return None
        self.unclosed.append(hold)
        self.turns += 1
        return hold

    @rule(hold=consumes(open_ones), share=st.floats(0, 1))
    def settle(self, hold: AccountReservation | None, share: float) -> None:
        if hold is not None:
            hold.settle(int(hold.hold.cost * share), int(hold.hold.tokens * share))
            self.settled += int(hold.hold.cost * share)
            self.unclosed.remove(hold)

    @rule(hold=consumes(open_ones))
    def release(self, hold: AccountReservation | None) -> None:
        if hold is not None:
            hold.release()
            self.unclosed.remove(hold)
            self.turns -= 1

    @invariant()
    def no_cap_is_passed(self) -> None:
        squad, one = self.accounts
        assert squad.cost + squad.held_cost <= 100
        assert squad.tokens + squad.held_tokens <= 150
        assert one.cost + one.held_cost <= 40
        assert one.turns <= 5

    @invariant()
    def books_balance(self) -> None:
        squad = self.accounts[0]
        assert squad.cost == self.settled
        assert squad.held_cost == sum(h.hold.cost for h in self.unclosed)
        assert squad.turns == self.turns


TestNestedCaps = NestedCaps.TestCase


def test_a_reservation_is_closed_once() -> None:
    hold = (
        AccountScope((), lambda: 0.0).within(open_account(BudgetRef("squad"), Budget(max_cost=10), 0.0)).reserve(5, 1)
    )
    hold.settle(5, 1)
    with pytest.raises(AssertionError, match="once"):
        hold.release()


def test_time_is_a_cap_too() -> None:
    now = [0.0]
    budgets = AccountScope((), lambda: now[0]).within(open_account(BudgetRef("squad"), Budget(max_time=10.0), 0.0))
    now[0] = 9.5
    budgets.reserve(0, 0).release()
    assert budgets.seconds_left() == pytest.approx(0.5)
    now[0] = 10.0
    with pytest.raises(BudgetSpent, match="max_time"):
        budgets.reserve(0, 0)


def test_the_spent_account_is_named_and_says_what_it_wants_done() -> None:
    budgets = AccountScope((), lambda: 0.0)
    budgets = budgets.within(open_account(BudgetRef("squad"), Budget(max_cost=100), 0.0))
    budgets = budgets.within(
        open_account(BudgetRef("task", "build"), Budget(max_cost=1, on_exceed="downgrade_tier"), 0.0)
    )
    with pytest.raises(BudgetSpent, match="task build") as spent:
        budgets.reserve(2, 0)
    assert budgets.on_exceed(spent.value.budget) == "downgrade_tier"
