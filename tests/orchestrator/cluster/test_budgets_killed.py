"""Worker processes over a real PostgreSQL, one of them killed: a run's budgets are exact, as in one process."""

from __future__ import annotations

import time

import anyio
import pytest

from orchestrator import Squad
from orchestrator.events import Event, RunFinished
from orchestrator.run.history import history_of
from orchestrator.runtime import open_run
from providers.limits.ledger.memory import MemoryLedger
from tests.orchestrator.cluster_workers import STEPS, fan, worked_cluster
from tests.orchestrator.crashes import Counting, paying
from tests.orchestrator.squads import of_type
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]
UNITS = 12
CALLS = UNITS * STEPS + 1
EACH = {"max_cost": 7e-6, "max_tokens": 15, "max_turns": 1}
ONE_MORE = {"max_cost": 1100e-6, "max_tokens": 1200, "max_turns": 1}
"""What a call may be expected to take at most, before any was made."""


def capped(kind: str, cap: float, action: str = "stop") -> dict[str, object]:
    return fan(UNITS, budget={kind: cap, "on_exceed": action})


async def alone(squad: dict[str, object]) -> tuple[str, list[Event]]:
    """Return how it ends in one process."""
    with Counting().serving() as provider:
        answers = paying(provider.port, MemoryLedger())
        async with open_run(Squad.from_mapping(squad), manager=answers) as run:
            events = [event async for event in run]
    return run.result.status, events


def counted(events: list[Event], kind: str) -> float:
    paid = history_of(events).paid
    return {
        "max_cost": sum(call.cost or 0 for call in paid) / 1e6,
        "max_tokens": sum(call.tokens for call in paid),
        "max_turns": sum(call.turns for call in paid),
    }[kind]


@pytest.mark.parametrize("is_metered", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("kind", "cap"),
    [
        ("max_turns", 40),
        pytest.param("max_cost", 0.02, marks=pytest.mark.long),
        pytest.param("max_tokens", 20_000, marks=pytest.mark.sweep),
    ],
)
async def test_no_cap_is_passed_by_three_workers_of_which_one_is_killed(
    postgres_url: str, kind: str, cap: float, is_metered: bool
) -> None:
    squad = capped(kind, cap)
    status, told = await alone(squad)
    with Counting().serving() as provider:
        async with worked_cluster(postgres_url, provider.port, tasks=8, is_metered=is_metered) as cluster:
            workers = cluster.start(3)
            await cluster.submit(squad)
            if is_metered:  # what a killed call may have cost is known only where its beginning is told
                with anyio.fail_after(PATIENCE_S):
                    while provider.answered.total() < 15:  # noqa: ASYNC110  # other processes ask it
                        await anyio.sleep(0.005)
                cluster.kill(workers[0])
            finished = await cluster.ended()
            events = await cluster.events()
    answered = provider.answered.total()
    assert finished.status == status
    assert answered * EACH[kind] <= cap * (1 + 1e-9)
    assert finished.cost == 7 * len(of_type(events, "turn.ended")), "all that is known, and nothing else"
    if is_metered:
        assert answered * EACH[kind] <= counted(events, kind) * (1 + 1e-9), "what was answered counts, known or not"
    reached = of_type(events, "budget.reached")
    assert {(one.which, one.kind) for one in reached} == {
        (one.which, one.kind) for one in of_type(told, "budget.reached")
    }
    if status != "done":
        assert counted(events, kind) + ONE_MORE[kind] > cap, "nothing more fits"
    else:
        assert len(of_type(events, "turn.ended")) == CALLS


async def test_a_run_that_paused_for_its_budget_has_spent_all_of_it_wherever_it_goes_on(postgres_url: str) -> None:
    with Counting().serving() as provider:
        async with worked_cluster(postgres_url, provider.port, is_metered=True) as cluster:
            cluster.start(3)
            await cluster.submit(capped("max_turns", 25, "pause"))
            first = await cluster.ended()
            assert (first.status, provider.answered.total(), first.cost) == ("paused", 25, 25 * 7)
            await cluster.database.drive("r")
            with anyio.fail_after(PATIENCE_S):
                while len(of_type(await cluster.events(), "run.finished")) < 2:  # noqa: ASYNC110  # as above
                    await anyio.sleep(0.05)
            again = await cluster.ended()
    assert (again.status, provider.answered.total(), again.cost) == ("paused", 25, 25 * 7)


@pytest.mark.long
async def test_nothing_is_begun_or_recorded_once_the_time_of_a_run_is_up(postgres_url: str) -> None:
    with Counting(before=lambda _: time.sleep(0.2)).serving() as provider:
        async with worked_cluster(postgres_url, provider.port, tasks=8) as cluster:
            workers = cluster.start(3)
            await cluster.submit(fan(100, budget={"max_time": "6 s"}))
            with anyio.fail_after(PATIENCE_S):
                while provider.answered.total() < 15:  # noqa: ASYNC110  # other processes ask it
                    await anyio.sleep(0.005)
            cluster.kill(workers[0])  # its units are given to others after the run's end
            finished = await cluster.ended()
            events = await cluster.events()
    assert finished.status == "stopped"
    assert isinstance(events[-1].data, RunFinished)
    assert finished.cost == 7 * len(of_type(events, "turn.ended"))
    assert provider.answered.total() < 100 * STEPS


@pytest.mark.long
async def test_a_run_whose_time_is_up_begins_nothing_when_it_is_resumed_as_it_was(postgres_url: str) -> None:
    with Counting(before=lambda _: time.sleep(0.2)).serving() as provider:
        async with worked_cluster(postgres_url, provider.port, tasks=8) as cluster:
            cluster.start(2)
            await cluster.submit(fan(100, budget={"max_time": "3 s", "on_exceed": "pause"}))
            first, begun = await cluster.ended(), provider.answered.total()
            for times in (2, 3):
                await cluster.database.drive("r")
                with anyio.fail_after(PATIENCE_S):
                    while len(of_type(await cluster.events(), "run.finished")) < times:  # noqa: ASYNC110  # as above
                        await anyio.sleep(0.05)
            again = await cluster.ended()
    assert (first.status, again.status, again.cost) == ("paused", "paused", first.cost)
    assert provider.answered.total() == begun
