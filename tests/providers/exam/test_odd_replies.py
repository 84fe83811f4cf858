"""The failover exam, odd replies: figures that cannot be count as an estimate, no part is taken for the whole."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from orchestrator.run.accounts import AccountScope
from orchestrator.run.budget import Account
from orchestrator.squad.plan import Budget
from providers.budgets import BudgetRef
from providers.catalog.model import Limit, Price
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed, BudgetSpent, Declined, NoRoute, ProviderError, ServerFault, StreamBroken
from providers.events import AttemptEnded
from providers.messages import Estimate, FinishReason, Request, Response, Usage, user
from providers.policy.model import DailyBudget
from providers.windows import Rolling
from tests.loopback import Seen, Served
from tests.providers.exam.lab import ASK, PATIENT, Lab

pytestmark = pytest.mark.anyio

EVENTS = {"content-type": "text/event-stream"}
SAID = "A long story of a shop. " * 20
LONG = Request((user("Tell me a story. " * 100),), max_output_tokens=200)
PRICE = Price(10.0, 10.0)
CALL = LONG.input_tokens * 10 + 160 * 10
"""About what an answer costs, in micro-USD."""


def served(*chunks: Any, done: bool = True) -> Served:
    said = [each if isinstance(each, str) else f"data: {json.dumps(each)}\n\n" for each in chunks]
    return Served(200, "".join(said) + ("data: [DONE]\n\n" if done else ""), EVENTS)


def chunk(delta: Any, finish: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def whole(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def answer(usage: Any = ..., text: str = SAID, finish: str = "stop") -> Callable[[Seen], Served]:
    """Return a rule that answers as it is asked, with this usage."""
    more = {} if usage is ... else {"usage": usage}

    def rule(seen: Seen) -> Served:
        if seen.body.get("stream"):
            return served(chunk({"content": text}), chunk({}, finish, **more))
        return Served(200, whole({"content": text}, finish, **more))

    return rule


USAGES = {
    "missing": ...,
    "null": None,
    "negative": {"prompt_tokens": -5, "completion_tokens": -7},
    "zeros": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0},
    "text": {"prompt_tokens": "3", "completion_tokens": "2"},
    "arrays": [3, 2],
    "booleans": {"prompt_tokens": True, "completion_tokens": False},
    "other names": {"prompt_eval_count": 12, "eval_count": 7},
    "no output": {"prompt_tokens": 12, "completion_tokens": 0},
    "huge": {"prompt_tokens": 10**18, "completion_tokens": 7},
    "parts": {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 50}},
    "cost 0": {"prompt_tokens": 700, "completion_tokens": 160, "cost": 0},
}


async def ask(lab: Lab, manager: ProviderManager, scope: AccountScope) -> Response | None:
    """Ask within the budgets of a run."""
    if lab.how == "complete":
        return await manager.complete(LONG, budgets=scope)
    if lab.how == "relay":
        return await manager.relay(LONG, lambda _: None, budgets=scope)
    async with manager.stream(LONG, budgets=scope) as deltas:
        async for _ in deltas:
            pass
    return deltas.response


async def until_refused(ask: Callable[[], Awaitable[Any]]) -> tuple[int, Exception]:
    """Ask at most forty times; return how often there was an answer, and what ended it."""
    for answered in range(40):
        try:
            await ask()
        except (BudgetSpent, NoRoute) as refused:
            return answered, refused
    raise AssertionError("no cap holds")


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
async def test_a_runs_caps_hold_whatever_usage_says(lab: Lab, usage: Any):
    cap = 5 * CALL
    account = Account(BudgetRef("squad", "s"), Budget(max_cost=cap, max_tokens=10**9), 0.0)
    scope = AccountScope((account,), lambda: 0.0)
    async with lab.manager(lab.provider("odd", rule=answer(usage), price=PRICE), timeouts=PATIENT) as manager:
        answered, _ = await until_refused(lambda: ask(lab, manager, scope))
    assert 3 <= answered <= 6
    assert cap * 0.5 <= account.cost <= cap
    assert account.tokens == pytest.approx(account.cost / 10)


@pytest.mark.parametrize("name", ["missing", "negative", "zeros", "cost 0"])
async def test_the_days_cap_and_a_limit_of_tokens_hold_whatever_usage_says(lab: Lab, name: str):
    limit, rule = Limit("total", CALL / 2, Rolling(86400)), answer(USAGES[name])  # five answers
    row = lab.provider("odd", rule=rule, price=PRICE, limits=(limit,))
    async with lab.manager(row, timeouts=PATIENT, budget=DailyBudget(3 * CALL, ())) as manager:
        answered, refused = await until_refused(lambda: lab.ask(manager, LONG))
        assert isinstance(refused, NoRoute)
        assert refused.over_budget
        assert 2 <= answered <= 4
    async with lab.manager(lab.provider("free", rule=rule, limits=(limit,)), timeouts=PATIENT) as manager:
        assert (await lab.ask(manager, LONG)).cost == 0
        answered, _ = await until_refused(lambda: lab.ask(manager, LONG))
        assert 2 <= answered <= 6


async def test_an_unknown_usage_is_told_as_unknown_beside_its_estimate(lab: Lab):
    async with lab.manager(lab.provider("odd", rule=answer({"prompt_tokens": -1}), price=PRICE)) as manager:
        said = await lab.ask(manager)
    assert (said.usage, said.cost) == (Usage(), None)
    assert said.estimate is not None
    assert said.estimate.usage.input == ASK.input_tokens
    assert said.estimate.usage.output >= len(SAID) // 4
    assert said.estimate.cost == said.estimate.usage.total * 10
    async with lab.manager(lab.provider("sound", "ok", price=PRICE)) as manager:
        assert (await lab.ask(manager)).estimate is None


async def test_a_cost_that_the_provider_tells_counts_though_its_tokens_are_odd(lab: Lab):
    usage = {"prompt_tokens": "3", "completion_tokens": "2", "cost": 0.0125}
    async with lab.manager(lab.provider("odd", rule=answer(usage), price=PRICE)) as manager:
        said = await lab.ask(manager)
    assert (said.usage, said.cost) == (Usage(), 12_500)
    assert isinstance(said.estimate, Estimate)
    assert said.estimate.cost == 12_500


async def test_an_empty_answer_with_odd_usage_counts_too(lab: Lab):
    rows = lab.provider("empty", rule=answer({"prompt_tokens": -1}, text=""), price=PRICE), lab.provider("good", "ok")
    ended: list[Any] = []
    async with lab.manager(*rows, attempts_per_turn=2) as manager:
        assert (await lab.ask(manager, emit=ended.append)).provider == "good"
    failed = next(each for each in ended if isinstance(each, AttemptEnded))
    assert failed.error == "BadReply"
    assert failed.usage is not None
    assert failed.cost is not None
    assert failed.cost >= ASK.input_tokens * 10


# ---- shapes that are answers


ANSWERS: dict[str, Callable[[Seen], Served]] = {
    "JSON, also where a stream was asked for": lambda _: Served(200, whole({"content": "Hello."})),
    "a stream, also where a whole answer was asked for": lambda _: served(
        chunk({"content": "Hel"}), chunk({"content": "lo."}), chunk({}, "stop")
    ),
    "padding of every kind": lambda _: served(
        ": hi\n\ndata:\n\nretry: 10\n\n", chunk({"content": "Hello."}), "data: null\n\n", chunk({}, "stop"),
        "data: [DONE] \r\n\r\n", done=False,
    ),
    "empty calls": lambda _: Served(
        200, whole({"content": "Hello.", "tool_calls": [{}], "function_call": {"name": "", "arguments": ""}}, "")
    ),
    "two choices": lambda _: served(
        {"choices": [{"index": i, "delta": {"content": t}} for i, t in enumerate(("Hello.", "Ciao."))]},
        chunk({}, "stop"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_in_an_odd_shape_is_the_answer(lab: Lab, name: str):
    async with lab.manager(lab.provider("odd", rule=ANSWERS[name]), lab.provider("other", "ok")) as manager:
        said = await lab.ask(manager)
    assert (said.provider, said.text, said.finish) == ("odd", "Hello.", FinishReason.STOP)


async def test_an_object_as_content_is_its_text(lab: Lab):
    rule = lambda seen: (  # noqa: E731
        served(chunk({"content": {"title": "é"}}, "stop")) if seen.body.get("stream")
        else Served(200, whole({"content": {"title": "é"}}))
    )  # fmt: skip
    async with lab.manager(lab.provider("odd", rule=rule)) as manager:
        assert json.loads((await lab.ask(manager)).text) == {"title": "é"}


# ---- what is not whole


@pytest.mark.parametrize("word", ["abort", "insufficient_system_resource", "engine_error", "timeout", "cancelled"])
async def test_a_server_that_gave_up_gave_no_answer(lab: Lab, word: str):
    rows = lab.provider("broken", rule=answer(finish=word)), lab.provider("good", "ok")
    async with lab.manager(*rows, on_break="restart") as manager:
        assert (await lab.ask(manager)).provider == "good"


@pytest.mark.parametrize(
    ("word", "finish"), [("eos_token", "stop"), ("COMPLETE", "stop"), ("max_new_tokens", "length"), ("zorp", "length")]
)
async def test_a_word_that_nobody_knows_breaks_no_answer_and_ends_none_as_whole(lab: Lab, word: str, finish: str):
    async with lab.manager(lab.provider("odd", rule=answer(finish=word))) as manager:
        said = await lab.ask(manager)
    assert (said.text, said.finish) == (SAID, finish)


CALL_PIECE = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a": 1}'}}]}
HALF = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a": '}}]}
BROKEN: dict[str, tuple[Served, type[ProviderError]]] = {
    "a reason with each call": (
        served(chunk(CALL_PIECE, "tool_calls"), chunk(CALL_PIECE, "tool_calls"), done=False), StreamBroken
    ),
    "a reason with each text": (
        served(chunk({"content": "a"}, "stop"), chunk({"content": "b"}, "stop"), done=False), StreamBroken
    ),
    "half a call": (served(chunk(HALF)), StreamBroken),
    "an error of words": (served(chunk({"content": "half"}), "event: error\ndata: died\n\n"), ServerFault),
    "a filter": (served({"choices": [{"index": 0, "finish_reason": "content_filter"}]}), Declined),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
async def test_a_part_is_no_answer(lab: Lab, name: str):
    said, expected = BROKEN[name]
    async with lab.manager(lab.provider("odd", rule=lambda _: said), attempts_per_turn=1) as manager:
        with pytest.raises((AllAttemptsFailed, ProviderError)) as failed:
            await lab.ask(manager)
    error = failed.value.exceptions[0] if isinstance(failed.value, AllAttemptsFailed) else failed.value
    assert isinstance(error, expected)
