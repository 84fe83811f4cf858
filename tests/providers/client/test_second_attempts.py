"""Attempts beside a silent one, and answers that broke off: what the upstreams see, what is booked, what is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import anyio
import pytest
from trio.testing import MockClock

from providers.catalog.model import Candidate, Limit
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, BudgetSpent, Declined, StreamBroken
from providers.events import AttemptEnded
from providers.messages import (
    Capability,
    FinishReason,
    Needs,
    Request,
    Response,
    Restarted,
    Resumed,
    TextDelta,
    Usage,
    assistant,
    user,
)
from providers.policy.model import Policy
from providers.routing.health import FAULTS_TO_OPEN, FIRST_REST_S, OUTPACED_TO_REST
from providers.routing.retry_budget import FLOOR, WINDOW_S
from providers.windows import Paced
from tests.providers.client.test_manager import (
    ASK,
    HANG,
    Budgets,
    Clock,
    Local,
    Net,
    Plain,
    candidates,
    manager_of,
    ok,
    refused,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def nothing_is_out(manager: ProviderManager) -> bool:
    return all(state.in_flight == 0 for state in manager.fleet.states.values())


class Whole:
    """How a turn is asked."""

    def answer(self, *said: str):
        return ok("".join(said))

    async def ask(self, manager: ProviderManager, **how) -> str:
        return (await manager.complete(ASK, **how)).text


class Streamed(Whole):
    def answer(self, *said: str):
        return [*(word.encode() + b"\n" for word in said), b"END\n"]

    async def ask(self, manager: ProviderManager, **how) -> str:
        async with manager.stream(ASK, **how) as deltas:
            text = "".join([delta.text async for delta in deltas])
        assert deltas.response.text == text
        return text


@pytest.fixture(params=[Whole(), Streamed()], ids=["complete", "stream"])
def way(request):
    return request.param


class TestHedging:
    async def test_a_quick_answer_is_alone(self, way):
        net = Net({"a": [(1.9, way.answer("first"))], "b": [way.answer("second")]})
        assert await way.ask(manager_of(net, hedge_after=2.0)) == "first"
        assert net.calls == ["a"]

    async def test_beside_a_silent_one_a_second_is_asked_and_the_loser_is_let_go(self, way):
        net, budgets, seen = Net({"a": [(60.0, way.answer("first"))], "b": [way.answer("second")]}), Budgets(), []
        manager, began = manager_of(net, hedge_after=2.0), anyio.current_time()
        assert await way.ask(manager, budgets=budgets, emit=seen.append) == "second"
        assert anyio.current_time() - began == pytest.approx(2.0)
        assert net.calls == ["a", "b"]
        assert net.open_sockets == 0
        ends = [(e.number, e.provider, e.outcome) for e in seen if isinstance(e, AttemptEnded)]
        assert sorted(ends) == [(1, "a", "cancelled"), (2, "b", "ok")]
        assert nothing_is_out(manager)
        assert budgets.closed_once()
        assert len(budgets.settled) == 2, "the loser was sent, and is taken to be billed"

    async def test_the_first_may_still_win(self, way):
        net = Net({"a": [(3.0, way.answer("first"))], "b": [(60.0, way.answer("second"))]})
        manager = manager_of(net, hedge_after=2.0)
        assert await way.ask(manager) == "first"
        assert net.calls == ["a", "b"]
        assert nothing_is_out(manager)

    async def test_of_two_the_one_that_fails_leaves_the_turn_to_the_other(self, way):
        net = Net({"a": [(3.0, refused(500))], "b": [(9.0, way.answer("second"))], "c": [way.answer("third")]})
        assert await way.ask(manager_of(net, hedge_after=2.0)) == "second"
        assert net.calls == ["a", "b"]

    async def test_both_fail_and_a_third_is_asked(self, way):
        net = Net({"a": [(3.0, refused(500))], "b": [(3.0, refused(503))], "c": [way.answer("third")]})
        manager, seen = manager_of(net, hedge_after=2.0), []
        assert await way.ask(manager, emit=seen.append) == "third"
        assert [e.number for e in seen if isinstance(e, AttemptEnded)] == [1, 2, 3]
        assert nothing_is_out(manager)

    async def test_hedges_are_taken_from_the_budget_of_retries(self, way):
        net = Net({"a": [(3.0, way.answer("first"))], "b": [(60.0, way.answer("second"))]})
        manager = manager_of(net, hedge_after=2.0, retry_budget=0.0)
        while manager.fleet.retries.take(manager.clock()):
            pass
        assert await way.ask(manager) == "first"
        assert net.calls == ["a"]

    async def test_a_purse_that_allows_one_call_gets_one(self, way):
        net, budgets = Net({"a": [(3.0, way.answer("first"))], "b": [way.answer("second")]}), Budgets(room=1)
        assert await way.ask(manager_of(net, hedge_after=2.0), budgets=budgets) == "first"
        with pytest.raises(BudgetSpent):
            await way.ask(manager_of(net, hedge_after=2.0), budgets=budgets)
        assert budgets.closed_once()

    async def test_a_caller_that_leaves_takes_both_along(self, way):
        net, budgets = Net({"a": [HANG], "b": [HANG]}), Budgets()
        manager = manager_of(net, hedge_after=2.0)
        with anyio.move_on_after(5.0) as scope:
            await way.ask(manager, budgets=budgets)
        assert scope.cancelled_caught
        assert net.calls == ["a", "b"]
        assert net.open_sockets == 0
        assert nothing_is_out(manager)
        assert budgets.closed_once()


class TestWhatALoserTeaches:
    def late(self, way, **policy) -> tuple[Net, ProviderManager]:
        """Return a first one that takes a minute, and a quick second."""
        net = Net({"a": [(60.0, way.answer("first"))], "b": [(0.1, way.answer("second"))]})
        return net, manager_of(net, **{"hedge_after": 0.3, **policy})

    @pytest.mark.parametrize("strategy", ["tier", "latency"])
    async def test_the_next_turns_ask_the_faster_one_first(self, way, strategy):
        net, manager = self.late(way, strategy=strategy)
        for _ in range(50):
            assert await way.ask(manager) == "second"
        assert net.calls.count("a") == 1
        assert manager.fleet.states["a/m"].pace(manager.clock()) == pytest.approx(0.4)

    @pytest.mark.parametrize("strategy", ["chain", "weighted"])
    async def test_an_order_that_was_given_holds_until_three_were_lost_in_a_row(self, way, strategy):
        net, manager = self.late(way, strategy=strategy, weights={"a": 1.0, "b": 0.0001})
        for _ in range(50):
            assert await way.ask(manager) == "second"
        assert net.calls == ["a", "b"] * OUTPACED_TO_REST + ["b"] * (50 - OUTPACED_TO_REST)

    @pytest.mark.long
    async def test_after_each_rest_one_call_looks_and_the_rests_grow(self, way):
        net, manager = self.late(way, strategy="chain")
        asked_at = []
        for _ in range(700):
            before = len(net.calls)
            await way.ask(manager)
            if "a" in net.calls[before:]:
                asked_at.append(anyio.current_time())
            await anyio.sleep(0.9)
        rests = [round(later - earlier, -1) for earlier, later in pairwise(asked_at[OUTPACED_TO_REST - 1 :])]
        assert rests == [30, 60, 120, 240]

    async def test_of_a_crowd_one_call_looks(self, way):
        net, manager = self.late(way, strategy="chain")
        for _ in range(OUTPACED_TO_REST):
            await way.ask(manager)
        await anyio.sleep(FIRST_REST_S)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(way.ask, manager)
        assert net.calls.count("a") == OUTPACED_TO_REST + 1

    async def test_who_is_quick_again_has_its_place_again(self, way):
        net, manager = self.late(way, strategy="chain")
        for _ in range(OUTPACED_TO_REST):
            await way.ask(manager)
        net.answers["a"] = [way.answer("first")]
        await anyio.sleep(FIRST_REST_S)
        assert [await way.ask(manager) for _ in range(5)] == ["first"] * 5
        assert not manager.fleet.states["a/m"].is_late(manager.clock())

    async def test_a_hedge_that_lost_after_a_moment_says_nothing(self, way):
        net = Net({"a": [(0.4, way.answer("first"))], "b": [(60.0, way.answer("second"))]})
        manager = manager_of(net, hedge_after=0.3)
        assert await way.ask(manager) == "first"
        assert manager.fleet.states["b/m"].pace(manager.clock()) is None

    async def test_a_hedge_that_answers_is_free_and_one_that_loses_is_not(self, way):
        def left(manager: ProviderManager) -> int:
            return sum(manager.fleet.retries.take(manager.clock()) for _ in range(2 * FLOOR))

        _, manager = self.late(way, retry_budget=0.0)
        await way.ask(manager)
        assert left(manager) == FLOOR
        net = Net({"a": [(0.5, way.answer("first"))], "b": [(60.0, way.answer("second"))]})
        manager = manager_of(net, hedge_after=0.3, retry_budget=0.0)
        await way.ask(manager)
        assert left(manager) == FLOOR - 1

    async def test_whose_hedge_found_no_room_in_the_budget_gets_one_when_there_is(self, way):
        _, manager = self.late(way, retry_budget=0.0, strategy="chain")
        began, took = anyio.current_time(), []

        async def turn() -> None:
            assert await way.ask(manager) == "second"
            took.append(anyio.current_time() - began)

        async with anyio.create_task_group() as tasks:
            for _ in range(5 * FLOOR):
                tasks.start_soon(turn)
        assert max(took) < 5.0, "each hedge that answers makes room for another"


async def test_who_has_begun_to_speak_is_not_silent():
    net = Net({"a": [[b"one\n", 5.0, b"two\n", b"END\n"]], "b": [[b"second\n", b"END\n"]]})
    assert await Streamed().ask(manager_of(net, hedge_after=2.0)) == "onetwo"
    assert net.calls == ["a"]


@pytest.mark.parametrize("first", ["a", "local"])
async def test_of_a_local_one_and_a_remote_one_that_speak_at_once_one_is_heard(way, first):
    """Both may end in one step of the event loop: no word of the other one comes into the answer."""
    net = Net({"a": [(2.0, way.answer("remote"))]})
    own = Late("local")
    known = [*candidates("a"), *candidates("local", dialect="late")]
    known.sort(key=lambda each: each.provider.name != first)
    policy = Policy({"worker": tuple(each.name for each in known)}, hedge_after=2.0, last_resort=(), strategy="chain")
    manager = ProviderManager(known, policy, adapters={"plain": Plain(), "late": own}, transport=net, clock=Clock())
    for _ in range(3):
        assert await way.ask(manager) in ("remote", "local")
        assert net.open_sockets == 0
        assert nothing_is_out(manager)


async def test_of_two_streams_that_begin_at_once_the_loser_is_closed_before_the_winner_is_read():
    said = [b"one\n", b"two\n", b"END\n"]
    net, budgets = Net({"a": [(3.0, said)], "b": [(1.0, said)]}), Budgets()
    manager = manager_of(net, hedge_after=2.0)
    async with manager.stream(ASK, budgets=budgets) as stream:
        await anext(stream)
        assert (net.calls, net.open_sockets) == (["a", "b"], 1)
        assert sum(state.in_flight for state in manager.fleet.states.values()) == 1
        assert [delta.text async for delta in stream] == ["two"]
    assert nothing_is_out(manager)
    assert budgets.closed_once()


class Late(Local):
    """Answers in this process."""

    def __init__(self, text: str) -> None:
        self.text = text

    def respond(self, request: Request, candidate: Candidate) -> Response:
        return Response(assistant(self.text), FinishReason.STOP, Usage(1, output=1))


class Continuing(Plain):
    """`Plain`, and what it was asked to go on with."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def encode(self, request, candidate, *, stream):
        self.asked.append(request)
        return super().encode(request, candidate, stream=stream)


def breaking(net: Net, on_break: str, dialect: Plain) -> ProviderManager:
    known = candidates(*net.answers)
    policy = Policy({"worker": tuple(c.name for c in known)}, on_break=on_break, last_resort=())
    return ProviderManager(known, policy, adapters={"plain": dialect}, transport=net, clock=Clock())


async def told(manager: ProviderManager, **how) -> tuple[list, str]:
    async with manager.stream(ASK, **how) as stream:
        deltas = [delta.text if isinstance(delta, TextDelta) else type(delta) async for delta in stream]
    return deltas, stream.response.text


class TestOnBreak:
    async def test_restart_tells_that_what_came_before_is_void_and_begins_anew(self):
        net = Net({"a": [[b"half\n"]], "b": [[b"a whole\n", b"answer\n", b"END\n"]]})
        deltas, text = await told(breaking(net, "restart", Plain()))
        assert deltas == ["half", Restarted, "a whole", "answer"]
        assert text == "a wholeanswer"

    async def test_who_takes_over_without_a_word_is_not_announced(self):
        net = Net({"a": [[b"half\n"]], "b": [[]], "c": [[b"whole\n", b"END\n"]]})
        deltas, _ = await told(breaking(net, "restart", Plain()))
        assert deltas == ["half", Restarted, "whole"]

    async def test_resume_goes_on_from_what_was_said_and_marks_the_seam(self):
        net, dialect = Net({"a": [[b"one two \n"]], "b": [[b" \n", b" three\n", b"END\n"]]}), Continuing()
        deltas, text = await told(breaking(net, "resume", dialect))
        assert deltas == ["one two ", Resumed, "three"]
        assert text == "one two three"
        last = dialect.asked[1].messages[-1]
        assert (last.role, last.text) == ("assistant", "one two")
        assert Capability.PREFILL in dialect.asked[1].needs.capabilities

    async def test_resume_after_resume_keeps_all_that_was_said(self):
        net, dialect = Net({"a": [[b"one\n"]], "b": [[b"two\n"]], "c": [[b"three\n", b"END\n"]]}), Continuing()
        deltas, text = await told(breaking(net, "resume", dialect))
        assert deltas == ["one", Resumed, "two", Resumed, "three"]
        assert text == "onetwothree"
        assert dialect.asked[2].messages[-1].text == "onetwo"

    async def test_nobody_who_could_resume_is_an_error_and_no_other_answer(self):
        net = Net({"a": [[b"half\n"]], "b": [[b"whole\n", b"END\n"]]})
        manager = breaking(net, "resume", Plain())
        for state in manager.fleet.states.values():
            model = state.candidate.model
            object.__setattr__(model, "capabilities", model.capabilities - {Capability.PREFILL})
        with pytest.raises(AllAttemptsFailed) as failed:
            await told(manager)
        assert isinstance(failed.value.exceptions[0], StreamBroken)
        assert net.calls == ["a"]


@pytest.mark.parametrize("on_decline", ["error", "elsewhere"])
async def test_what_a_filter_declines_goes_elsewhere_by_policy_alone(way, on_decline):
    net = Net({"a": [refused(403)], "b": [way.answer("yes")]})
    manager = manager_of(net, on_decline=on_decline)
    if on_decline == "elsewhere":
        assert await way.ask(manager) == "yes"
    else:
        with pytest.raises(Declined):
            await way.ask(manager)
        assert net.calls == ["a"]


@pytest.mark.long
async def test_with_everything_down_calls_stay_within_the_share_and_the_floor(way):
    net = Net({name: [refused(500)] for name in "abcd"})
    manager, callers, began = manager_of(net), 500, anyio.current_time()

    async def caller() -> None:
        with pytest.raises(AllAttemptsFailed):
            await way.ask(manager)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    windows = 1 + (anyio.current_time() - began) // WINDOW_S
    assert len(net.calls) <= 1.2 * callers + FLOOR * windows + FAULTS_TO_OPEN


@pytest.mark.long
async def test_a_small_run_is_not_kept_waiting_behind_a_large_one():
    (known,) = candidates("a")
    spaced = Limit("requests", 1, Paced(1.0))
    known = replace(known, provider=replace(known.provider, limits=(spaced,)))
    policy = Policy({"worker": (known.name,)}, last_resort=())
    net, served = Net({"a": [ok()]}), []
    manager = ProviderManager([known], policy, adapters={"plain": Plain()}, transport=net, clock=Clock())

    async def turn(run: str) -> None:
        await manager.complete(Request((user("hi"),), needs=Needs(run=run, deadline_s=600.0)))
        served.append(run)

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(turn, "large")
        await anyio.sleep(20)
        for _ in range(3):
            tasks.start_soon(turn, "small")
    assert len(served) == 203
    assert served[:40].count("small") == 3, "20 had been served, and 180 of the large run waited"
