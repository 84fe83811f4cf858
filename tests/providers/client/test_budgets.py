"""Our own budget of a day: never passed, told of at its shares, and free models go on."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import anyio
import pytest

from providers.adapters import HttpReply
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Limit, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, BadReply, NoRoute, StreamBroken
from providers.events import AttemptEnded, BudgetAlert, RouteChosen
from providers.limits.rules import caps_of
from providers.messages import FinishReason, Request, Response, Usage, assistant, user
from providers.policy.model import DailyBudget, Policy
from providers.windows import Rolling
from tests.providers.client.test_reservations import NOON, Dialect, Net, anyio_backend, clock

pytestmark = pytest.mark.anyio
virtual_time = anyio_backend
ASK = Request((user("hi"),), max_output_tokens=50)
MIDNIGHT = "2026-11-21T00:00:00Z"
COST = 20 * 1 + 10 * 10
"""What `Dialect` makes of an answer at `PRICE`: micro-USD."""
PRICE = Price(1, 10)


def priced(name: str, price: Price | None = PRICE, *limits: Limit) -> Candidate:
    model = Model("m", 10_000, 1_000, price=price)
    return Candidate(Provider(name, "test", name, None, {"m": model}, limits=limits), model, f"sk-{name}")


def manager(net: Net, budget: DailyBudget, *candidates: Candidate, dialect=None, **policy) -> ProviderManager:
    names = tuple(each.name for each in candidates)
    return ProviderManager(
        candidates,
        Policy({"worker": names}, last_resort=(), budget=budget, **({"strategy": "chain"} | policy)),
        adapters={"test": dialect or Dialect()},
        transport=net,
        clock=clock,
        rng=Random(4),
    )


async def spent(asked: ProviderManager) -> list[float]:
    caps = [cap.meter for cap in caps_of(asked.fleet.policy.budget)]
    return [used.used for used in await asked.reservations.ledger.usage(caps, clock())]


class TestACap:
    async def test_a_call_is_counted_with_its_true_cost_under_every_cap_that_covers_it(self):
        budget = DailyBudget(1_000_000, (), {"a": 500_000, "b": 500_000}, {"a/m": 400_000})
        asked = manager(Net(), budget, priced("a"), priced("b"))
        await asked.complete(ASK)
        assert await spent(asked) == [COST, COST, 0, COST]

    async def test_who_finds_no_room_is_passed_over_with_the_reason_and_free_ones_go_on(self):
        asked = manager(Net(), DailyBudget(1000, ()), priced("dear"), priced("free", Price(0, 0)))
        answered = [(await asked.complete(ASK)).provider for _ in range(8)]
        assert answered == ["dear"] * 5 + ["free"] * 3
        told: list[object] = []
        await asked.complete(ASK, emit=told.append)
        assert next(e for e in told if isinstance(e, RouteChosen)).refused == {
            "dear/m": f"the day's budget of $0.001 is used up until {MIDNIGHT}"
        }

    async def test_with_nobody_left_the_turn_ends_and_says_when_the_budget_is_there_again(self):
        asked = manager(Net(), DailyBudget(None, (), {"a": 700}), priced("a"))
        for _ in range(2):
            await asked.complete(ASK)
        with pytest.raises(NoRoute, match=r"day's budget of \$0.0007 for a is used up until") as caught:
            await asked.complete(ASK)
        assert caught.value.over_budget
        assert caught.value.earliest == NOON + 12 * 3600

    async def test_a_day_ends_at_midnight_in_its_timezone(self):
        asked = manager(Net(), DailyBudget(700, (), timezone="America/Los_Angeles"), priced("a"))
        for _ in range(2):
            await asked.complete(ASK)
        with pytest.raises(NoRoute) as caught:
            await asked.complete(ASK)
        assert caught.value.earliest == NOON + 20 * 3600
        await anyio.sleep(20 * 3600)
        assert (await asked.complete(ASK)).provider == "a"

    @pytest.mark.parametrize(
        "level", ["day", *(pytest.param(at, marks=pytest.mark.long) for at in ("provider", "model"))]
    )
    async def test_what_is_only_held_is_waited_for_however_long_that_takes(self, level):
        cap = 6 * COST + 520
        budget = {
            "day": DailyBudget(cap, ()),
            "provider": DailyBudget(None, (), {"a": cap}),
            "model": DailyBudget(None, (), {}, {"a/m": cap}),
        }[level]
        net = Net()
        net.seconds = 60.0
        asked, answered = manager(net, budget, priced("a")), list[str]()

        async def call() -> None:
            answered.append((await asked.complete(ASK)).provider)

        began = clock()
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(call)
        assert answered == ["a"] * 6
        assert clock() - began > asked.fleet.policy.timeouts.total
        assert (await spent(asked))[0] == 6 * COST

    async def test_a_call_that_may_cost_more_than_all_of_it_is_not_made(self):
        net = Net()
        asked = manager(net, DailyBudget(400, ()), priced("a"))
        with pytest.raises(NoRoute, match=r"may cost \$0\.\d+, more than all of the day's budget of \$0.0004"):
            await asked.complete(replace(ASK, messages=(user("hi" * 50),)))
        assert (await asked.complete(replace(ASK, max_output_tokens=10))).provider == "a"
        assert net.calls["a"] == 1

    @pytest.mark.parametrize("rows", [(), (Limit("requests", 100, Rolling(60)),)], ids=["no limits", "limits beside"])
    async def test_an_attempt_that_the_provider_refused_costs_nothing(self, rows):
        asked = manager(
            Net(a=HttpReply(500, {}, b"")), DailyBudget(1_000_000, ()), priced("a", PRICE, *rows), priced("b")
        )
        await asked.complete(ASK)
        assert await spent(asked) == [COST]

    async def test_what_may_have_been_billed_is_booked_as_expected(self):
        asked = manager(Net(a=StreamBroken("cut")), DailyBudget(1_000_000, ()), priced("a"), priced("b"))
        await asked.complete(ASK)
        assert await spent(asked) == [5 + 500 + COST]

    async def test_an_answer_that_its_caller_refuses_is_paid_and_its_attempt_says_so(self):
        asked, told = manager(Net(), DailyBudget(1_000_000, ()), priced("a"), priced("b")), []

        def accept(_: Response) -> None:
            if not any(isinstance(each, AttemptEnded) for each in told):
                raise BadReply("not what was asked for")

        await asked.complete(ASK, accept=accept, emit=told.append)
        ended = [each for each in told if isinstance(each, AttemptEnded)]
        assert [(each.outcome, each.usage, each.cost) for each in ended] == [
            ("failed", Usage(20, output=10), COST),
            ("ok", None, None),
        ]
        assert await spent(asked) == [2 * COST]

    async def test_a_cap_that_is_raised_while_it_runs_lets_calls_through_at_once(self):
        asked = manager(Net(), DailyBudget(700, ()), priced("a"))
        for _ in range(2):
            await asked.complete(ASK)
        with pytest.raises(NoRoute):
            await asked.complete(ASK)
        policy = replace(asked.fleet.policy, budget=DailyBudget(6000, ()))
        asked.fleet.adopt(policy, [each.candidate for each in asked.fleet.states.values()])
        await asked.complete(ASK)
        assert await spent(asked) == [3 * COST]


class TestAnUnknownPrice:
    async def test_is_refused_under_a_cap(self):
        asked = manager(Net(), DailyBudget(1000, ()), priced("unknown", None))
        with pytest.raises(NoRoute, match=r"its price is unknown, which the day's budget of .* must count") as caught:
            await asked.complete(ASK)
        assert caught.value.over_budget
        assert caught.value.earliest is None

    async def test_binds_nobody_whom_no_cap_covers(self):
        asked = manager(Net(), DailyBudget(None, (), {"a": 1000}), priced("unknown", None))
        assert (await asked.complete(ASK)).provider == "unknown"

    async def test_may_be_allowed_and_is_booked_where_the_provider_says_it(self):
        class Telling(Dialect):
            def decode(self, *told):
                return Response(assistant("hello"), FinishReason.STOP, Usage(20, output=10), cost=700)

        asked = manager(Net(), DailyBudget(1000, (), unknown_price="allow"), priced("unknown", None), dialect=Telling())
        for _ in range(2):
            await asked.complete(ASK)
        with pytest.raises(NoRoute, match="used up"):
            await asked.complete(ASK)
        assert await spent(asked) == [1400]


class TestAtOnce:
    async def test_two_hundred_calls_at_once_do_not_pass_a_cap(self):
        net = Net()
        net.seconds = 1.0
        asked, cap, refused = manager(net, DailyBudget(10_000, ()), priced("a")), 10_000, 0

        async def call() -> None:
            nonlocal refused
            try:
                await asked.complete(ASK)
            except NoRoute:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(call)
        total = (await spent(asked))[0]
        assert total == net.calls["a"] * COST <= cap
        assert total > cap - 5 - 500  # no more is left than one call may cost
        assert net.calls["a"] + refused == 200

    async def test_a_cancelled_call_is_booked_as_expected_and_its_room_is_not_lost_twice(self):
        net = Net()
        net.seconds = 5.0
        asked = manager(net, DailyBudget(10_000, ()), priced("a"))
        with anyio.move_on_after(1):
            await asked.complete(ASK)
        assert await spent(asked) == [505]


class TestAlerts:
    async def test_each_share_is_told_once_a_day(self):
        asked, told = manager(Net(), DailyBudget(1000, (0.5, 0.8, 1.0)), priced("a"), priced("free", Price(0, 0))), []
        for _ in range(10):
            await asked.complete(ASK, emit=told.append)
        alerts = [each for each in told if isinstance(each, BudgetAlert)]
        assert alerts == [
            BudgetAlert("day", 0.5, 600, 1000),
            BudgetAlert("day", 0.8, 600, 1000),
            BudgetAlert("day", 1.0, 600, 1000),
        ]
        await anyio.sleep(86400)
        for _ in range(5):
            await asked.complete(ASK, emit=told.append)
        assert [each for each in told if isinstance(each, BudgetAlert)][3:] == [BudgetAlert("day", 0.5, 600, 1000)]

    async def test_what_calls_hold_that_are_out_is_not_spent(self):
        net, told = Net(), []
        net.seconds = 1.0
        asked = manager(net, DailyBudget(10_000, (0.5,)), priced("a"))
        async with anyio.create_task_group() as tasks:
            for _ in range(15):
                tasks.start_soon(lambda: asked.complete(ASK, emit=told.append))
        assert not [each for each in told if isinstance(each, BudgetAlert)]


class TestAnswersThatWouldNotDo:
    """What the dialects refuse is billed by the provider's own figures."""

    @pytest.mark.parametrize(
        ("dialect", "body"),
        [
            (
                OpenAIChat(),
                {
                    "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 12, "completion_tokens": 7},
                },
            ),
            (
                AnthropicMessages(),
                {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 12, "output_tokens": 7}},
            ),
            (
                Gemini(),
                {
                    "candidates": [{"content": {"parts": []}, "finishReason": "STOP"}],
                    "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 7},
                },
            ),
        ],
        ids=["openai", "anthropic", "gemini"],
    )
    async def test_an_empty_answer_is_paid(self, dialect, body):
        class Replying(Net):
            async def send(self, *_, **__):
                return HttpReply(200, {"content-type": "application/json"}, json.dumps(body).encode())

        model = Model("m", 10_000, 1_000, price=PRICE)
        row = Candidate(Provider("a", "test", "https://a.test/v1", None, {"m": model}), model, "sk-a")
        asked, told = manager(Replying(), DailyBudget(1_000_000, ()), row, dialect=dialect, attempts_per_turn=1), []
        with pytest.raises(AllAttemptsFailed):
            await asked.complete(ASK, emit=told.append)
        (ended,) = [each for each in told if isinstance(each, AttemptEnded)]
        assert (ended.error, ended.usage, ended.cost) == ("BadReply", Usage(12, output=7), 12 + 70)
        assert await spent(asked) == [12 + 70]
