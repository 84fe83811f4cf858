"""A run that a budget paused: the cap is raised, and it goes on with what is left."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator import Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import Journal
from orchestrator.runtime import open_run
from tests.event_loops import VIRTUAL
from tests.orchestrator.run.test_resume import begin, cut, go_on, journal, turn
from tests.orchestrator.squads import Answers, of_type, squad
from tests.patience import PATIENCE_S

__all__ = ["journal"]

pytestmark = pytest.mark.anyio
MICRO_USD = 1e-6


def five(**budget: Any) -> Squad:
    """Five tasks of one turn each, which costs 10 micro-USD."""
    tasks = {"a": "x", **{name: {"agent": "ann", "needs": ["a"], "description": name} for name in "bcde"}}
    return squad(tasks, budget={"on_exceed": "pause", **budget} if budget else None)


async def test_a_raised_cap_holds_instead_of_the_squads_and_counts_what_was_spent(journal: Journal) -> None:
    given = five(max_cost=25 * MICRO_USD)
    result = await begin(given, journal, Answers())
    assert (result.status, result.cost) == ("paused", 20)
    manager = Answers()
    result, events = await go_on(given, journal, manager, max_cost_usd=40 * MICRO_USD)
    assert (result.status, result.cost, len(manager.asked)) == ("paused", 40, 2)
    assert of_type(events, "budget.reached")[0].kind == "max_cost"
    manager = Answers()
    result, _ = await go_on(given, journal, manager)
    assert (result.status, len(manager.asked)) == ("paused", 0), "the raised cap is the run's cap from then on"
    result, _ = await go_on(given, journal, manager, max_cost_usd=50 * MICRO_USD)
    assert (result.status, result.cost, len(manager.asked)) == ("done", 50, 1)


async def test_a_call_that_was_cut_short_holds_nothing_of_what_is_left(journal: Journal) -> None:
    async def answer(agent: str, request: Any) -> str:
        if len(first.asked) > 1:
            await anyio.sleep_forever()
        return "done"

    given, first, manager = five(max_cost=50 * MICRO_USD), Answers(answer), Answers()
    await cut(given, journal, first, turn(5))
    result, _ = await go_on(given, journal, manager)
    assert (result.status, result.cost) == ("done", 50), "five turns at 10 fit exactly"


async def test_calls_at_the_same_time_never_pass_the_raised_cap(journal: Journal) -> None:
    """Each reserves before it is made: of four that are ready, only as many as fit are asked."""
    given = five(max_cost=10 * MICRO_USD)
    assert (await begin(given, journal, Answers())).status == "paused"
    both = anyio.Event()

    async def answer(agent: str, request: Any) -> str:
        if len(manager.asked) == 2:
            both.set()
        with anyio.fail_after(PATIENCE_S):
            await both.wait()
        return "done"

    manager = Answers(answer)
    result, _ = await go_on(given, journal, manager, max_cost_usd=30 * MICRO_USD)
    assert (result.status, result.cost, len(manager.asked)) == ("paused", 30, 2)
    assert manager.most_at_work == 2


async def test_a_cap_of_the_caller_may_be_raised_too(journal: Journal) -> None:
    given = five(max_turns=100)
    assert (await begin(given, journal, Answers(), max_cost_usd=10 * MICRO_USD)).status == "paused"
    result, _ = await go_on(given, journal, Answers(), max_cost_usd=5.0)
    assert result.status == "done"


@pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)
async def test_more_time_may_be_given() -> None:
    async def answer(agent: str, request: Any) -> str:
        await anyio.sleep(10)
        return "done"

    given, kept = five(max_time=15), MemoryJournal()
    options: dict[str, Any] = {"clock": anyio.current_time}
    async with open_run(given, run_id="r", journal=kept, manager=Answers(answer), **options) as run:
        assert [event async for event in run]
    assert run.result.status == "paused"
    await anyio.sleep(1000)
    result, _ = await go_on(given, kept, Answers(answer), timeout_s=60, **options)
    assert (result.status, result.errors) == ("done", {})
