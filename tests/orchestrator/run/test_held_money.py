"""Many calls at once under a cap: what is only held is waited for, all that fits is done, and no cap is passed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import ceil
from typing import Any

import anyio
import pytest

from orchestrator.events import Event
from orchestrator.journal.memory import MemoryJournal
from orchestrator.runtime import open_run, resume_run
from providers.adapters import HttpReply, HttpRequest
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.errors import ServerFault
from providers.messages import Capability, FinishReason, Message, Request, Response, Text, ToolCall, Usage
from providers.policy.model import Policy, Timeouts
from tests.orchestrator.squads import of_type, squad

pytestmark = pytest.mark.anyio
USD = 1_000_000
SENT, SAID = 1000, 500
CALL = SENT * 1 + SAID * 20
"""Micro-USD of an answer: 11,000. A call is expected to cost 82,920, with an answer of 4,096 tokens."""


class Lab:
    """A dialect and the way to its provider, which counts what it answered, and keeps to the cap that it is sent.

    `says` are the tokens of an answer by agent. `fails` of the first answers are errors that cost nothing.
    """

    def __init__(self, says: dict[str, int] | None = None, *, fails: int = 0, hangs: int = 0) -> None:
        self.says, self.fails, self.hangs = says or {}, fails, hangs
        self.cost = self.tokens = self.answers = self.at_work = self.most_at_work = 0
        self.caps: list[int | None] = []
        self.after: Callable[[int], None] = lambda answers: None
        """Called with the number of answers once there is one more, before it has arrived."""
        self.order: list[str] = []

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        price = candidate.model.price
        assert price is not None
        told = {
            "agent": request.needs.agent,
            "cap": request.max_output_tokens,
            "tools": bool(request.tools) and request.messages[-1].role == "user",
            "prices": (price.input, price.output),
            "text": request.messages[-1].text,
        }
        return HttpRequest("POST", "", {}, json.dumps(told).encode())

    async def send(self, request: HttpRequest, **_: float) -> HttpReply:
        told = json.loads(request.body)
        self.caps.append(told["cap"])
        self.order.append(told["text"])
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            if self.hangs:
                self.hangs -= 1
                await anyio.sleep_forever()
            await anyio.sleep(0.001)
        finally:
            self.at_work -= 1
        if self.fails:
            self.fails -= 1
            return HttpReply(500, {}, b"{}")
        said = self.says.get(told["agent"], SAID)
        told["said"], told["cut"] = min(said, told["cap"] or said), said > (told["cap"] or said)
        self.cost += ceil(SENT * told["prices"][0] + told["said"] * told["prices"][1])
        self.tokens += SENT + told["said"]
        self.answers += 1
        self.after(self.answers)
        await anyio.lowlevel.checkpoint()
        return HttpReply(200, {}, json.dumps(told).encode())

    def decode(self, reply: HttpReply, *_: Any) -> Response:
        told = json.loads(reply.body)
        usage = Usage(SENT, output=told["said"])
        if told["tools"]:
            return Response(Message("assistant", (ToolCall("c", "ask", "{}"),)), FinishReason.TOOL_CALLS, usage)
        finish = FinishReason.LENGTH if told["cut"] else FinishReason.STOP
        return Response(Message("assistant", (Text("done"),)), finish, usage)

    def classify(self, *_: Any) -> Exception:
        return ServerFault("down", status=500)


def manager(lab: Lab, *, clock: Callable[[], float] | None = None, **policy: Any) -> ProviderManager:
    """A dear model for the tier of workers, a cheap one to fall back to."""
    capabilities = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA})
    dear = Model("dear", 200_000, 64_000, capabilities, Price(1, 20))
    cheap = Model("cheap", 200_000, 64_000, capabilities, Price(0.01, 0.01))
    rows = [Candidate(Provider(m.name, "lab", "", None, {m.name: m}), m) for m in (dear, cheap)]
    tiers = {"worker": (rows[0].name,), "fallback": (rows[1].name,)}
    made: Any = lab
    chain = Policy(tiers, last_resort=(), strategy="chain", **policy)
    return ProviderManager(rows, chain, adapters={"lab": made}, transport=made, clock=clock)


def crowd(tasks: int, at_once: int, **more: Any) -> Any:
    return squad({f"t{n}": f"Do {n}." for n in range(tasks)}, max_parallel=at_once, **more)


def fan_out(at_once: int, task: dict[str, Any] | None = None, **more: Any) -> Any:
    """Return a squad with one task for each of its `items`."""
    work = {"agent": "ann", "description": "Do ${{ item }}.", "for_each": "${{ inputs.items }}", "key": "n${{ item }}"}
    tasks = {"all": {**work, "max_parallel": at_once, **(task or {})}}
    return squad(tasks, max_parallel=at_once, inputs={"items": {"type": "list"}}, **more)


async def run(given: Any, lab: Lab, **more: Any) -> tuple[Any, list[Event]]:
    async with open_run(given, manager=more.pop("manager", None) or manager(lab), **more) as opened:
        events = [event async for event in opened]
    return opened.result, events


@pytest.mark.parametrize("at_once", [pytest.param(16, marks=pytest.mark.long), 64])
@pytest.mark.parametrize("level", ["squad", "agent", pytest.param("elements", marks=pytest.mark.long)])
@pytest.mark.parametrize(("kind", "cap"), [("max_cost", 0.8), ("max_tokens", 64 * 1500 + 4000), ("max_turns", 64)])
async def test_calls_that_fit_are_all_made_however_many_at_once(
    at_once: int, level: str, kind: str, cap: float
) -> None:
    lab, more = Lab(), dict[str, Any]()
    budget = {kind: cap}
    match level:
        case "squad":
            given = crowd(64, at_once, budget=budget)
        case "agent":
            persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
            given = crowd(64, at_once, people={"ann": {"persona": persona, "budget": budget}})
        case _:
            given = fan_out(at_once, budget=budget)
            more["inputs"] = {"items": list(range(64))}
    result, events = await run(given, lab, **more)
    assert not of_type(events, "budget.reached")
    assert (result.status, result.cost, lab.cost) == ("done", 64 * CALL, 64 * CALL)
    assert lab.most_at_work > 1


@pytest.mark.parametrize("kind", ["max_cost", pytest.param("max_tokens", marks=pytest.mark.long), "max_turns"])
@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.long), 16])
async def test_a_budget_of_a_task_is_that_of_all_elements_together(kind: str, at_once: int) -> None:
    lab, caps, fit = Lab(), {"max_cost": 0.125, "max_tokens": 15_500, "max_turns": 8}, (11, 10, 8)
    given = fan_out(at_once, {"budget": {kind: caps[kind], "on_exceed": "pause"}})
    journal = MemoryJournal()
    result, _ = await run(given, lab, journal=journal, run_id="r", inputs={"items": list(range(16))})
    assert (result.status, lab.answers) == ("paused", fit[list(caps).index(kind)])
    before = lab.answers
    async with resume_run(given, "r", journal=journal, manager=manager(lab)) as again:
        async for _ in again:
            pass
    assert (again.result.status, lab.answers) == ("paused", before), "what was spent before counts"


async def test_nested_budgets_are_waited_for_together() -> None:
    persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
    people = {"ann": {"persona": persona, "budget": {"max_turns": 8}}, "bob": {"persona": persona}}
    tasks = {
        f"{who}{n}": {"agent": who, "description": f"Do {n}.", "budget": {"max_cost": 0.2}}
        for who in people
        for n in range(8)
    }
    lab = Lab(fails=1)
    result, events = await run(
        squad(tasks, max_parallel=16, people=people, budget={"max_cost": 0.27}), lab, manager=manager(lab)
    )
    assert (result.status, lab.cost, lab.answers) == ("done", 16 * CALL, 16)
    assert of_type(events, "waiting.for_budget")


@pytest.mark.parametrize("kind", ["max_cost", "max_tokens", "max_turns"])
@pytest.mark.parametrize("action", ["stop", "pause"])
async def test_a_cap_below_what_is_asked_for_ends_the_run_within_it_and_uses_it(kind: str, action: str) -> None:
    lab, cap = Lab(), {"max_cost": 0.25, "max_tokens": 30_000, "max_turns": 20}[kind]
    result, events = await run(crowd(64, 16, budget={kind: cap, "on_exceed": action}), lab)
    assert result.status == {"stop": "stopped", "pause": "paused"}[action]
    assert {event.kind for event in of_type(events, "budget.reached")} == {kind}
    spent = {"max_cost": lab.cost / USD, "max_tokens": lab.tokens, "max_turns": lab.answers}[kind]
    one_more = {"max_cost": 2 * CALL / USD, "max_tokens": 2 * (SENT + SAID), "max_turns": 1}[kind]
    assert cap - one_more < spent <= cap


@pytest.mark.parametrize("kind", ["max_cost", "max_tokens"])
async def test_a_call_that_can_never_fit_ends_the_run_at_once_and_says_why(kind: str) -> None:
    lab, cap = Lab(), {"max_cost": 0.01, "max_tokens": 900}[kind]
    result, _ = await run(crowd(8, 8, budget={kind: cap}), lab)
    assert (result.status, lab.answers) == ("stopped", 0)
    error = next(filter(None, result.errors.values()))
    estimate = {"max_cost": r"\$0.08\d+", "max_tokens": r"41\d\d"}[kind]
    shown = {"max_cost": r"\$0.010000", "max_tokens": "900"}[kind]
    assert re.search(rf"budget of squad: {kind} {shown} is less than the {estimate} that this one call may take", error)


async def test_an_answer_is_no_longer_than_the_money_that_is_left_and_is_told_as_cut_off() -> None:
    tasks = {f"t{n}": {"agent": "ann", "description": "x", **({"needs": [f"t{n - 1}"]} if n else {})} for n in range(5)}
    lab = Lab({"ann": 500})
    given = squad(
        {**tasks, "long": {"agent": "ann", "description": "long", "needs": ["t4"]}}, budget={"max_cost": 0.12}
    )
    events = []
    async with open_run(given, manager=manager(lab)) as opened:
        async for event in opened:
            events.append(event)
            if event.type == "task.ended" and event.data.task == "t3":
                lab.says["ann"] = 5000
    assert of_type(events, "turn.ended")[-1].finish is FinishReason.LENGTH
    assert opened.result.status == "done"
    assert lab.caps[-1] is not None
    assert 625 <= lab.caps[-1] <= (120_000 - 5 * CALL - SENT) // 20
    assert lab.cost <= 120_000


async def test_where_much_is_left_no_answer_is_cut_off() -> None:
    lab = Lab({"ann": 30_000})
    result, _ = await run(crowd(6, 2, budget={"max_cost": 60}), lab)
    assert (result.status, lab.cost) == ("done", 6 * (SENT + 30_000 * 20))


@pytest.mark.parametrize("at_once", [1, 16])
async def test_a_cheaper_tier_is_asked_once_the_money_is_spent_and_not_before(at_once: int) -> None:
    lab = Lab()
    budget = {"max_cost": 0.3, "on_exceed": "downgrade_tier"}
    result, events = await run(crowd(32, at_once, budget=budget), lab)
    assert result.status == "done"
    dear = [event for event in of_type(events, "turn.ended") if event.model == "dear"]
    assert 14 <= len(dear) <= 27, "what is held is no reason"
    assert len(of_type(events, "budget.reached")) == 32 - len(dear)
    assert lab.cost <= 300_000


async def test_a_tasks_time_runs_while_it_waits_and_its_place_goes_to_the_next() -> None:
    lab = Lab(hangs=1)
    tasks = {
        "holds": {"agent": "ann", "description": "holds", "timeout": "2 s"},
        "waits": {"agent": "bob", "description": "waits", "timeout": "0.05 s"},
    }
    result, events = await run(squad(tasks, max_parallel=2, budget={"max_cost": 0.16}), lab, timeout_s=0.2)
    assert result.error_kinds.get("waits") == "TaskTimedOut"
    assert len(of_type(events, "waiting.for_budget")) == 1


@pytest.mark.long
async def test_a_wait_takes_no_time_of_the_turns_deadline() -> None:
    lab = Lab(hangs=0)
    answers = manager(lab, timeouts=Timeouts(0.5, 0.5, 0.5, 0.5))
    slow = anyio.sleep

    async def send(request: HttpRequest, **_: float) -> HttpReply:
        await slow(0.1)
        return await Lab.send(lab, request)

    lab.send = send  # type: ignore[method-assign]
    result, _ = await run(crowd(8, 8, budget={"max_turns": 8, "max_cost": 0.12}), lab, manager=answers)
    assert result.status == "done"


async def test_waiting_calls_are_served_in_the_order_in_which_they_came() -> None:
    lab = Lab()
    result, _ = await run(crowd(12, 12, budget={"max_cost": 0.17}), lab)
    assert result.status == "done"
    served = [int(n) for n in re.findall(r"Do (\d+)", " ".join(lab.order))]
    # Those that are given room together leave together.
    assert max(abs(place - number) for place, number in enumerate(served)) <= 4


async def test_a_hedge_waits_for_no_money_and_the_first_goes_on() -> None:
    lab = Lab()
    capabilities = frozenset({Capability.TOOLS, Capability.JSON_SCHEMA})
    model = Model("dear", 200_000, 64_000, capabilities, Price(1, 20))
    rows = [Candidate(Provider(name, "lab", "", None, {"dear": model}), model) for name in ("a", "b")]
    policy = Policy({"worker": tuple(r.name for r in rows)}, last_resort=(), strategy="chain", hedge_after=0.01)
    made: Any = lab

    async def send(request: HttpRequest, **_: float) -> HttpReply:
        await anyio.sleep(0.05)
        return await Lab.send(lab, request)

    lab.send = send  # type: ignore[method-assign]
    answers = ProviderManager(rows, policy, adapters={"lab": made}, transport=made)
    result, _ = await run(crowd(4, 4, budget={"max_cost": 0.12}), lab, manager=answers)
    assert (result.status, lab.cost) == ("done", 4 * CALL)


async def test_a_task_whose_budget_of_time_is_up_in_the_middle_of_a_call_says_so() -> None:
    tasks = {"slow": {"agent": "ann", "description": "x", "budget": {"max_time": "0.05 s"}}}
    result, events = await run(squad(tasks), Lab(hangs=1))
    assert (result.status, result.error_kinds) == ("stopped", {"slow": "BudgetSpent"})
    assert [(one.which, one.kind) for one in of_type(events, "budget.reached")] == [("task slow", "max_time")]
