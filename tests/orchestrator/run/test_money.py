"""Money in a run: what is paid in vain counts, a day's budget makes it wait, and the figures agree."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.events import Event, to_json
from orchestrator.journal.memory import MemoryJournal
from orchestrator.run.history import history_of
from orchestrator.runtime import open_run, resume_run
from providers.adapters import HttpReply
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.client.manager import ProviderManager
from providers.messages import FinishReason, Response, Usage, assistant
from providers.policy.model import DailyBudget, Policy
from tests.orchestrator.squads import of_type, squad
from tests.providers.client.test_reservations import NOON, Dialect

pytestmark = pytest.mark.anyio
CALL = 20 * 1 + 10 * 10
"""Micro-USD of an answer."""
CHAIN = {"a": "x", "b": {"agent": "bob", "needs": ["a"], "description": "y"}}


class Net:
    async def send(self, request: Any, **limits: float) -> HttpReply:
        return HttpReply(200, {}, b"{}")


class Empty(Dialect):
    """Its first `left` answers say nothing, and are billed all the same."""

    def __init__(self, left: int) -> None:
        self.left = left

    def decode(self, *told: Any) -> Response:
        self.left -= 1
        return Response(assistant("" if self.left >= 0 else "hello"), FinishReason.STOP, Usage(20, output=10))


def manager(
    now: list[float], *names: str, budget: DailyBudget | None = None, dialect: Dialect | None = None
) -> ProviderManager:
    model = Model("m", 10_000, 1_000, price=Price(1, 10))
    rows = [Candidate(Provider(name, "test", name, None, {"m": model}), model, "k") for name in names]
    policy = Policy(
        {"worker": tuple(row.name for row in rows)}, last_resort=(), strategy="chain", budget=budget or DailyBudget()
    )
    return ProviderManager(rows, policy, adapters={"test": dialect or Empty(0)}, transport=Net(), clock=lambda: now[0])  # type: ignore[arg-type]


async def test_an_answer_that_would_not_do_is_paid_in_the_run_and_in_what_a_resume_counts() -> None:
    now, journal = [NOON], MemoryJournal()
    async with open_run(
        squad(CHAIN), manager=manager(now, "x", "y", dialect=Empty(1)), journal=journal, run_id="r"
    ) as run:
        events = [event async for event in run]
    assert run.result.status == "done"
    assert (run.result.cost, run.result.usage) == (3 * CALL, Usage(60, output=30))
    paid = history_of(await journal.events("r")).paid
    assert sorted((call.agent, call.cost, call.tokens) for call in paid) == [
        ("ann", CALL, 30),
        ("ann", CALL, 30),
        ("bob", CALL, 30),
    ]
    lost = next(to_json(event) for event in events if event.type == "attempt.ended" and event.data.usage is not None)
    assert (lost["outcome"], lost["cost_usd"], lost["usage"]["output_tokens"]) == ("failed", CALL / 1e6, 10)


class Silent(Dialect):
    """Sends no usage that could be true."""

    def decode(self, *told: Any) -> Response:
        return Response(assistant("hello " * 50), FinishReason.STOP)


async def test_what_nobody_counted_before_a_resume_counts_as_an_estimate_on_its_caps() -> None:
    now, journal = [NOON], MemoryJournal()
    given = squad(CHAIN, budget={"max_cost": 0.0105, "on_exceed": "pause"})  # a call is expected to cost 0.01003
    answers = manager(now, "x", dialect=Silent())
    async with open_run(given, manager=answers, journal=journal, run_id="r") as run:
        [event async for event in run]
    assert run.result.status == "paused"
    assert run.result.cost is None
    (paid,) = history_of(await journal.events("r")).paid
    assert paid.tokens > 100
    assert paid.cost is not None
    assert paid.cost > 1000
    async with resume_run(given, "r", manager=answers, journal=journal) as run:
        events = [event async for event in run]
    assert run.result.status == "paused"
    assert f"after ${paid.cost / 1e6:.6f}" in of_type(events, "task.parked")[0].reason


async def test_what_was_paid_in_vain_before_a_resume_counts_on_its_caps() -> None:
    now, journal = [NOON], MemoryJournal()

    def capped(usd: float) -> Any:
        return squad(CHAIN, budget={"max_cost": usd, "on_exceed": "pause"})

    before, after = capped(0.0102), capped(0.1)  # a call is expected to cost 0.01003
    async with open_run(before, manager=manager(now, "x", "y", dialect=Empty(1)), journal=journal, run_id="r") as run:
        [event async for event in run]
    assert run.result.status == "paused"
    async with resume_run(before, "r", manager=manager(now, "x"), journal=journal) as run:
        events = [event async for event in run]
    assert run.result.status == "paused", "no money is there that was not there before"
    assert f"after ${2 * CALL / 1e6:.6f}" in of_type(events, "task.parked")[0].reason
    async with resume_run(after, "r", manager=manager(now, "x"), journal=journal) as run:
        [event async for event in run]
    assert run.result.status == "done"


async def test_a_run_waits_for_another_day_where_the_days_budget_is_used_up() -> None:
    now, journal = [NOON], MemoryJournal()
    answers = manager(now, "x", budget=DailyBudget(11_000, (0.01,)))
    given = squad(CHAIN)

    async def first() -> list[Event]:
        async with open_run(given, manager=answers, journal=journal, run_id="r", clock=lambda: now[0]) as run:
            events = [event async for event in run]
        assert run.result.status == "paused"
        return events

    await answers.reservations.ledger.spend([(answers.reservations.bound(_only(answers)).caps[0].meter, 900)], NOON)
    events = await first()
    assert [(e.which, e.share, e.spent, e.cap) for e in of_type(events, "budget.alert")] == [
        ("day", 0.01, 900 + CALL, 11_000)
    ]
    assert [(e.which, e.action) for e in of_type(events, "budget.reached")] == [("day", "pause")]
    assert (
        "the day's budget of $0.011 is used up until 2026-11-21T00:00:00Z" in of_type(events, "task.parked")[0].reason
    )
    now[0] += 12 * 3600
    async with resume_run(given, "r", manager=answers, journal=journal, clock=lambda: now[0]) as run:
        [event async for event in run]
    assert (run.result.status, run.result.cost) == ("done", 2 * CALL)


def _only(answers: ProviderManager) -> Candidate:
    (state,) = answers.fleet.states.values()
    return state.candidate


async def test_a_conversation_that_ends_after_so_many_tokens_ends_also_where_nobody_counts_them() -> None:
    talk = {
        "pattern": "round_robin",
        "participants": ["ann", "bob"],
        "terminate": {"any": [{"tokens": 300}, {"max_turns": 9}]},
    }
    given = squad({"talk": {"conversation": "meeting", "description": "Agree."}}, conversations={"meeting": talk})
    answers = manager([NOON], "x", dialect=Silent())
    async with open_run(given, manager=answers, journal=MemoryJournal(), run_id="r") as run:
        events = [event async for event in run]
    assert run.result.status == "done"
    assert len(of_type(events, "message.spoken")) == 2
