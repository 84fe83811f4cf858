"""No cap is overshot, what is held is not spent, and nothing waits for ever."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from orchestrator.run.accounts import AccountReservation, AccountScope, WaitingCall
from orchestrator.run.budget import open_account
from orchestrator.squad.plan import Budget
from providers.budgets import BudgetRef, CallSize
from providers.errors import BudgetSpent

pytestmark = pytest.mark.anyio
amounts = st.integers(0, 60)


def at_once(scope: AccountScope, size: CallSize) -> AccountReservation | None:
    """Return what `reserve_now` does, which waits for nothing within one process."""
    asking = scope.reserve_now(size, scope.place())
    try:
        asking.send(None)
    except StopIteration as done:
        granted: AccountReservation | None = done.value
        return granted
    raise AssertionError("it waited")


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
        self.waiting: list[WaitingCall] = []

    @rule(target=open_ones, which=st.integers(0, 1), cost=amounts, tokens=amounts)
    def reserve(self, which: int, cost: int, tokens: int) -> AccountReservation | None:
        before = [(a.held_cost, a.held_tokens, a.held_turns) for a in self.accounts]
        scope, refusal, hold = self.budgets[which], None, None
        try:
            hold = at_once(scope, CallSize(cost, tokens))
        except BudgetSpent as spent:
            refusal = spent
        if refusal is not None:
            assert refusal.spent + refusal.wanted > refusal.cap
        if hold is None:
            assert before == [(a.held_cost, a.held_tokens, a.held_turns) for a in self.accounts], "nothing is held"
            assert refusal is not None or self.unclosed or self.waiting, "only what is held keeps a call waiting"
            return None
        self.unclosed.append(hold)
        return hold

    @rule(which=st.integers(0, 1), cost=amounts, tokens=amounts, most=amounts)
    def wait(self, which: int, cost: int, tokens: int, most: int) -> None:
        scope, size = self.budgets[which], CallSize(cost, tokens, 0.5, min(most, 10), min(most, 20), most)
        self.waiting.append(scope.calls.enter(scope, size, scope.place()))

    @rule(which=st.integers(0, 9))
    def leave(self, which: int) -> None:
        if which < len(self.waiting):
            one = self.waiting.pop(which)
            one.scope.calls.leave(one)

    @rule(hold=consumes(open_ones), share=st.floats(0, 1))
    def settle(self, hold: AccountReservation | None, share: float) -> None:
        if hold is not None:
            self.end(hold, share)

    def end(self, hold: AccountReservation, share: float) -> None:
        self.unclosed.remove(hold)
        self.settled += int(hold.hold.cost * share)
        self.turns += 1
        hold.settle(int(hold.hold.cost * share), int(hold.hold.tokens * share))

    @rule(hold=consumes(open_ones))
    def release(self, hold: AccountReservation | None) -> None:
        if hold is not None:
            self.unclosed.remove(hold)
            hold.release()

    @rule(which=st.integers(0, 9), share=st.floats(0, 1))
    def settle_one_that_waited(self, which: int, share: float) -> None:
        served = [one for one in self.waiting if isinstance(one.answer, AccountReservation)]
        if which < len(served):
            self.waiting.remove(served[which])
            hold = served[which].answer
            assert isinstance(hold, AccountReservation)
            self.unclosed.append(hold)
            self.end(hold, share)

    @invariant()
    def no_cap_is_passed(self) -> None:
        squad, one = self.accounts
        assert squad.cost + squad.held_cost <= 100
        assert squad.tokens + squad.held_tokens <= 150
        assert one.cost + one.held_cost <= 40
        assert one.turns + one.held_turns <= 5

    @invariant()
    def books_balance(self) -> None:
        squad = self.accounts[0]
        served = [one.answer for one in self.waiting if isinstance(one.answer, AccountReservation)]
        assert squad.cost == self.settled
        assert squad.held_cost == sum(h.hold.cost for h in [*self.unclosed, *served])
        assert squad.turns == self.turns

    @invariant()
    def who_waits_waits_for_somebody(self) -> None:
        still = [one for one in self.waiting if one.answer is None]
        if still:
            assert self.accounts[0].held_turns > 0
            ahead = min(still, key=lambda one: one.place)
            size, output = ahead.size, ahead.scope.output_of(ahead.size)
            assert any(not account.has_room(size, output) for account in ahead.scope.accounts)


TestNestedCaps = NestedCaps.TestCase


def scope_of(*caps: tuple[BudgetRef, Budget], clock: Callable[[], float] = lambda: 0.0) -> AccountScope:
    scope = AccountScope((), clock)
    for ref, cap in caps:
        scope = scope.within(open_account(ref, cap, 0.0))
    return scope


SQUAD = BudgetRef("squad")


async def test_a_reservation_is_closed_once() -> None:
    hold = await scope_of((SQUAD, Budget(max_cost=10))).reserve_now(CallSize(5, 1), 1)
    assert hold is not None
    hold.settle(5, 1)
    with pytest.raises(AssertionError, match="once"):
        hold.release()


async def test_time_is_a_cap_too() -> None:
    now = [0.0]
    budgets = scope_of((SQUAD, Budget(max_time=10.0)), clock=lambda: now[0])
    now[0] = 9.5
    (await budgets.reserve(CallSize(0, 0))).release()
    assert budgets.seconds_left() == pytest.approx(0.5)
    now[0] = 10.0
    with pytest.raises(BudgetSpent, match="max_time"):
        await budgets.reserve(CallSize(0, 0))


async def test_the_spent_account_is_named_and_says_what_it_wants_done() -> None:
    task = BudgetRef("task", "build")
    budgets = scope_of((SQUAD, Budget(max_cost=100)), (task, Budget(max_cost=1, on_exceed="downgrade_tier")))
    with pytest.raises(BudgetSpent, match="task build") as spent:
        await budgets.reserve(CallSize(2, 0))
    assert budgets.on_exceed(spent.value.budget) == "downgrade_tier"


@pytest.mark.parametrize("kind", ["max_cost", "max_tokens", "max_turns"])
async def test_what_is_only_held_is_waited_for_first_come_first_served(kind: str) -> None:
    budgets, served = scope_of((SQUAD, Budget(**{kind: 3}))), list[int]()
    size = CallSize(1, 1)
    first = [await budgets.reserve(size) for _ in range(3)]

    async def call(number: int) -> None:
        hold = await budgets.reserve(size)
        served.append(number)
        hold.release()

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(call, number)
            await anyio.wait_all_tasks_blocked()
        assert served == []
        assert await budgets.reserve_now(size, budgets.place()) is None, "others wait before it"
        first[0].release()
    assert served == [0, 1, 2, 3, 4]
    for hold in first[1:]:
        hold.settle(1, 1)
    last = await budgets.reserve(size)
    last.settle(1, 1)
    with pytest.raises(BudgetSpent, match=kind):
        await budgets.reserve(size)


async def test_who_waits_is_told_when_what_is_spent_leaves_it_no_room() -> None:
    budgets = scope_of((SQUAD, Budget(max_cost=10)))
    hold, told = await budgets.reserve(CallSize(8, 0)), list[BudgetSpent]()

    async def call() -> None:
        try:
            await budgets.reserve(CallSize(5, 0))
        except BudgetSpent as spent:
            told.append(spent)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert not told
        hold.settle(6, 0)
    assert [(spent.spent, spent.wanted, spent.cap) for spent in told] == [(6, 5, 10)]


async def test_a_cancelled_wait_holds_nothing_and_keeps_nobody_waiting() -> None:
    budgets = scope_of((SQUAD, Budget(max_cost=10)))
    hold, scopes, served = await budgets.reserve(CallSize(6, 0)), [anyio.CancelScope() for _ in range(2)], list[int]()

    async def call(number: int, cost: int) -> None:
        with scopes[number] if number < 2 else anyio.CancelScope():
            (await budgets.reserve(CallSize(cost, 0))).release()
            served.append(number)

    async with anyio.create_task_group() as tasks:
        for number, cost in enumerate((9, 9, 4)):
            tasks.start_soon(call, number, cost)
            await anyio.wait_all_tasks_blocked()
        assert served == [], "the small call waits behind the large ones"
        scopes[0].cancel()
        await anyio.wait_all_tasks_blocked()
        assert served == []
        scopes[1].cancel()
    assert served == [2]
    hold.release()
    assert budgets.accounts[0].held_cost == 0


async def test_a_cancellation_in_the_moment_of_the_grant_gives_it_back() -> None:
    budgets = scope_of((SQUAD, Budget(max_cost=10)))
    hold = await budgets.reserve(CallSize(10, 0))

    async def call() -> None:
        (await budgets.reserve(CallSize(10, 0))).release()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await anyio.wait_all_tasks_blocked()
            hold.release()
            scope.cancel()
    assert budgets.accounts[0].held_cost == 0
    (await budgets.reserve(CallSize(10, 0))).release()


async def test_a_full_task_keeps_no_other_task_waiting() -> None:
    whole = scope_of((SQUAD, Budget(max_cost=100)))
    one = whole.within(open_account(BudgetRef("task", "one"), Budget(max_cost=5), 0.0))
    hold, served = await one.reserve(CallSize(5, 0)), list[str]()

    async def call() -> None:
        (await one.reserve(CallSize(5, 0))).release()
        served.append("one")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        (await whole.reserve(CallSize(90, 0))).release()
        assert served == []
        hold.release()
    assert served == ["one"]


async def test_a_wait_ends_with_the_time_of_its_budget() -> None:
    began = anyio.current_time()
    clock = lambda: anyio.current_time() - began  # noqa: E731
    budgets = scope_of((SQUAD, Budget(max_cost=10)), (BudgetRef("agent", "a"), Budget(max_time=0.05)), clock=clock)
    hold = await budgets.reserve(CallSize(10, 0))
    with pytest.raises(BudgetSpent, match="agent a: max_time"):
        await budgets.reserve(CallSize(10, 0))
    hold.release()
    assert budgets.accounts[0].held_cost == 0


def test_the_longest_answer_is_a_share_of_what_is_left_then_the_usual_one_then_what_is_enough() -> None:
    budgets = scope_of((SQUAD, Budget(max_cost=1_000_000)))
    size = CallSize(100, 10, 2.0, 500, 4_000, 100_000)
    assert budgets.output_of(size) == (1_000_000 // 64 - 100) // 2
    account = budgets.accounts[0]
    account.cost = 900_000
    assert budgets.output_of(size) == 4_000
    account.cost = 997_000
    assert budgets.output_of(size) == 1_450
    account.cost = 998_899
    assert budgets.output_of(size) == 500
    account.cost = 998_901
    with pytest.raises(BudgetSpent):
        budgets.output_of(size)
