"""The failover exam, hedging: who is asked beside a silent one, what is learned of the loser, and callers who leave."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from providers.budgets import BudgetRef, CallSize, CallSizes
from providers.client.manager import ProviderManager
from providers.errors import BudgetSpent
from providers.events import AttemptEnded
from providers.routing.health import LONGEST_REST_S, OUTPACED_TO_REST
from providers.routing.retry_budget import FLOOR
from providers.transport.over_httpx2 import HttpxTransport
from providers.transport.sockets import SocketTransport
from tests.loopback import ANSWER
from tests.patience import PATIENCE_S
from tests.providers.exam.lab import ASK, PATIENT, Lab, within

pytestmark = pytest.mark.anyio
SOON = 0.15
"""After so many seconds of silence a second one is asked."""


def hedged(lab: Lab, *modes: str, **policy):
    """Return a manager of providers `p0`, `p1` and so on, which hedges soon."""
    providers = [lab.provider(f"p{at}", mode) for at, mode in enumerate(modes)]
    return lab.manager(*providers, **{"timeouts": PATIENT, "hedge_after": SOON, **policy})


def room_for_retries(manager: ProviderManager) -> int:
    """Take all that is left of the retry budget; return how much that was."""
    taken = 0
    while manager.fleet.retries.take(manager.clock()):
        taken += 1
    return taken


async def test_h1_the_loser_is_closed_and_what_was_sent_to_it_is_booked(lab: Lab):
    seen: list[object] = []
    async with hedged(lab, "hang", "ok") as manager:
        assert (await lab.ask(manager, emit=seen.append)).text == ANSWER
        assert sorted(lab.calls) == ["p0", "p1"], "a busy machine may accept the second one's connection first"
        assert lab.to("p0")[0].left.wait(PATIENCE_S)
        booked = await lab.booked(manager, "p0")
        assert booked == (1, ASK.input_tokens + ASK.max_output_tokens), "it may have answered in full"
        assert (await lab.booked(manager, "p1"))[0] == 1
    ends = {(e.provider, e.outcome) for e in seen if isinstance(e, AttemptEnded)}
    assert ends == {("p0", "cancelled"), ("p1", "ok")}


@pytest.mark.parametrize("strategy", ["tier", "latency", "chain", "weighted"])
async def test_h2_who_loses_is_asked_after_the_faster_one(lab: Lab, strategy: str):
    """How many times exactly, `tests/providers/client/test_second_attempts.py` says on a clock that never is late."""
    async with hedged(lab, "hang", "ok", strategy=strategy, weights={"p0": 1.0, "p1": 1.0}) as manager:
        for _ in range(16):
            assert (await lab.ask(manager)).text == ANSWER
        pace = manager.fleet.states["p0/m"].pace(lab.clock())
    assert lab.calls.count("p1") == 16
    assert lab.calls.count("p0") <= 8
    assert pace is not None
    assert pace >= SOON


async def test_h3_its_place_is_not_lost_for_good(lab: Lab):
    well: list[bool] = []
    providers = lab.provider("late", rule=lambda _: "ok" if well else "hang"), lab.provider("spare", "ok")
    async with lab.manager(*providers, timeouts=PATIENT, hedge_after=SOON) as manager:
        for _ in range(OUTPACED_TO_REST):
            await lab.ask(manager)
        assert lab.calls == ["late", "spare"] * OUTPACED_TO_REST
        well.append(True)
        lab.skip(LONGEST_REST_S)
        assert (await lab.ask(manager)).provider == "late"


async def test_h4_a_quick_one_is_alone(lab: Lab):
    async with hedged(lab, "ok", "ok", hedge_after=PATIENT.first_token / 2) as manager:
        assert (await lab.ask(manager)).provider == "p0"
    assert lab.calls == ["p0"]


async def test_h5_a_hedge_that_answered_is_given_back_to_the_retry_budget(lab: Lab):
    async with hedged(lab, "hang", "ok") as manager:
        await lab.ask(manager)
        assert room_for_retries(manager) == FLOOR + 1, "a share of one turn is rounded up"
    assert lab.calls == ["p0", "p1"]


async def test_h6_one_that_lost_is_not(lab: Lab):
    async with hedged(lab, f"slow={3 * SOON}", "hang") as manager:
        assert (await lab.ask(manager)).provider == "p0"
        assert room_for_retries(manager) == FLOOR
    assert lab.calls == ["p0", "p1"]


async def test_h7_whose_hedge_found_no_room_in_the_budget_asks_again(lab: Lab):
    turns = 3 * FLOOR
    async with hedged(lab, "hang", f"slow={SOON}", retry_budget=0.0) as manager:
        ends = await lab.ask_at_once(manager, turns, within(PATIENT.total))
    assert [getattr(end, "text", end) for end in ends] == [ANSWER] * turns


async def test_h8_the_first_may_win_and_its_hedge_learns_nothing_of_a_moment(lab: Lab):
    async with hedged(lab, f"slow={2 * SOON}", "hang") as manager:
        assert (await lab.ask(manager)).provider == "p0"
        track = manager.fleet.states["p1/m"].track
        assert track.outpaced == 0 or track.pace(lab.clock()) >= SOON
        assert manager.fleet.states["p0/m"].track.outpaced == 0
    assert lab.calls == ["p0", "p1"]


class OneCall:
    """A budget that pays for one call at a time."""

    def __init__(self) -> None:
        self.out = self.ended = 0
        self.sizes = CallSizes()

    is_capped = True

    def place(self) -> int:
        return 1

    async def reserve_now(self, size: CallSize, place: int):
        if self.out:
            raise BudgetSpent(BudgetRef("squad"), "max_tokens", 1, 1, size.tokens)
        self.out += 1
        self.size, self.output = size, size.most
        return self

    async def recorded(self) -> None:
        pass

    def settle(self, cost: int, tokens: int) -> None:
        self.out -= 1
        self.ended += 1

    def release(self) -> None:
        self.settle(0, 0)


async def test_h9_a_budget_that_allows_no_hedge_leaves_the_first_alone(lab: Lab):
    budget = OneCall()
    async with hedged(lab, f"slow={2 * SOON}", "ok") as manager:
        if lab.how == "complete":
            answer = await manager.complete(ASK, budgets=budget)
        else:
            async with manager.stream(ASK, budgets=budget) as deltas:
                assert "".join([delta.text async for delta in deltas]) == ANSWER
            answer = deltas.response
        assert answer.provider == "p0"
        assert room_for_retries(manager) >= FLOOR, "what was not sent is given back"
    assert lab.calls == ["p0"]
    assert (budget.out, budget.ended) == (0, 1)


async def test_h10_a_caller_that_leaves_takes_both_along(lab: Lab):
    async with hedged(lab, "hang", "hang") as manager:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lab.ask, manager)
                await anyio.to_thread.run_sync(lab.loopback.wait_for, 2)
                scope.cancel()
        assert scope.cancelled_caught
        assert not lab.ledger.open
        assert all(state.in_flight == 0 and not state.waiting for state in manager.fleet.states.values())
        assert all(seen.left.wait(PATIENCE_S) for seen in lab.loopback.requests)


ON_ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
"""For what asyncio alone does: a cancellation without a scope."""
CLIENTS = pytest.mark.parametrize("client", [SocketTransport, HttpxTransport])


@ON_ASYNCIO
@CLIENTS
async def test_h11_a_time_limit_of_asyncio_is_one_during_a_hedge(lab: Lab, client):
    lab.client = client
    async with hedged(lab, "hang", "hang") as manager:
        for limited in (
            lambda: asyncio.wait_for(lab.ask(manager), 2 * SOON),
            lambda: asyncio.wait_for(lab.ask(manager), SOON),
        ):
            with pytest.raises(TimeoutError):
                await limited()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2 * SOON):
                await lab.ask(manager)
        assert asyncio.current_task().cancelling() == 0
        assert not lab.ledger.open
        assert all(seen.left.wait(PATIENCE_S) for seen in lab.loopback.requests)


async def test_h12_by_latency_few_go_to_a_slow_one(lab: Lab):
    paces = {"fast": 0.01, "middle": 0.1, "slow": 1.0}
    providers = [lab.provider(name, f"slow={pace}") for name, pace in paces.items()]
    async with lab.manager(*providers, strategy="latency", timeouts=PATIENT) as manager:
        await lab.ask_at_once(manager, 3, within(PATIENT.total))  # nobody is known: each is asked once
        assert sorted(lab.calls) == sorted(paces)
        for _ in range(20):
            await lab.ask(manager)
    assert lab.calls.count("slow") == 1


@ON_ASYNCIO
@CLIENTS
@pytest.mark.parametrize("hedge_after", [None, 0.02])
async def test_h13_cancelled_at_any_step_of_the_event_loop(lab: Lab, client, hedge_after: float | None):
    """Once and twice, before the hedge and after it: it comes through, and everything is given back."""
    lab.client = client
    async with hedged(lab, "hang", "slow=0.03", hedge_after=hedge_after) as manager:
        for steps in range(0, 60, 7):
            for before, again in ((0.0, False), (0.0, True), (0.02, False), (0.05, True)):
                task = asyncio.ensure_future(lab.ask(manager))
                await asyncio.sleep(before)
                for _ in range(steps):
                    await asyncio.sleep(0)
                was_over = task.done()
                task.cancel()
                if again:
                    await asyncio.sleep(0)
                    task.cancel()
                await asyncio.wait([task])
                assert task.cancelled() or was_over
                assert not lab.ledger.open
                assert all(state.in_flight == 0 for state in manager.fleet.states.values())
        assert all(seen.left.wait(PATIENCE_S) for seen in lab.loopback.requests if seen.mode == "hang")
