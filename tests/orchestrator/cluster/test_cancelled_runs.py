"""Runs that are cancelled while no process drives them: they end, and nothing more of them is done."""

from __future__ import annotations

import anyio
import pytest

from providers.messages import Request
from tests.event_loops import VIRTUAL
from tests.orchestrator.cluster.test_worker import CHAIN, INPUTS
from tests.orchestrator.in_memory_cluster import in_memory_cluster
from tests.orchestrator.squads import Answers, squad, types

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)]


async def test_a_run_that_is_cancelled_in_the_queue_ends_as_cancelled_with_nothing_asked() -> None:
    manager = Answers()
    async with in_memory_cluster(squad(CHAIN, inputs=INPUTS), manager) as cluster:
        await cluster.start(inputs={"parts": list("abc")})
        await cluster.journal.request_cancel("r")
        await cluster.worker("w1")
        finished = await cluster.ended()
        await cluster.drive()
        await cluster.ended()
        events = list(await cluster.journal.events("r"))
    assert (finished.status, finished.cost, manager.asked) == ("cancelled", 0, [])
    assert types(events) == ["run.started", "run.finished"]


async def test_a_run_whose_driver_died_is_cancelled_with_its_units() -> None:
    given, begun = squad(CHAIN, inputs=INPUTS), anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        if agent == "bob":
            begun.set()
            await anyio.sleep(30)
        return "done"

    manager = Answers(answer)
    async with in_memory_cluster(given, manager) as cluster:
        await cluster.worker("w1", slots=1)
        await cluster.start(inputs={"parts": list("abcd")})
        await anyio.wait_all_tasks_blocked()
        await cluster.worker("w2", slots=2)
        await begun.wait()
        await cluster.kill("w1")
        await cluster.journal.request_cancel("r")
        await cluster.worker("w3")
        finished = await cluster.ended()
        reports = await cluster.journal.reports("r")
    assert finished.status == "cancelled"
    assert not reports
    assert finished.cost == 10 * len(manager.asked)
