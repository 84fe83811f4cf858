"""What has no job though it is to go on: it is submitted again, and in time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from providers.messages import Request
from tests.event_loops import VIRTUAL
from tests.orchestrator.in_memory_cluster import in_memory_cluster
from tests.orchestrator.squads import Answers, of_type, squad

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)]
EACH = {"agent": "ann", "for_each": "${{ ['a', 'b', 'c', 'd'] }}", "key": "${{ item }}", "description": "${{ item }}"}


def gated(on_timeout: str) -> Any:
    gate = {"prompt": "Go?", "choices": ["approve", "reject"], "timeout": "1h", "on_timeout": on_timeout}
    return squad({"gate": {"approval": gate}, "after": {"agent": "ann", "needs": ["gate"], "description": "go on"}})


async def test_units_whose_jobs_are_lost_are_submitted_again() -> None:
    begun = anyio.Event()

    async def answer(agent: str, request: Request) -> str:
        begun.set()
        await anyio.sleep(5)
        return "done"

    manager = Answers(answer)
    async with in_memory_cluster(squad({"all": EACH}), manager) as cluster:
        await cluster.worker("w1", slots=2)
        await cluster.start()
        await begun.wait()
        lost = [job for job in cluster.jobs if job.unit is not None]
        assert len(lost) == 3, "one slot drives the run"
        cluster.jobs.clear()
        with anyio.fail_after(120):
            finished = await cluster.ended()
    assert finished.status == "done"
    assert len(manager.asked) == 4, "each once"


@pytest.mark.parametrize(("on_timeout", "status"), [("approve", "done"), ("reject", "rejected")])
async def test_a_question_s_time_is_up_while_no_process_drives_the_run(on_timeout: str, status: str) -> None:
    async with in_memory_cluster(gated(on_timeout)) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        assert (await cluster.ended()).status == "waiting"
        began = anyio.current_time()
        await anyio.sleep(3590)
        assert not cluster.jobs
        await anyio.sleep(60)
        finished = await cluster.ended()
        answered = of_type(list(await cluster.journal.events("r")), "gate.answered")
    assert [(one.choice, one.by) for one in answered] == [(on_timeout, "timeout")]
    assert finished.status == status
    assert anyio.current_time() - began < 3700


async def test_a_question_that_pauses_when_its_time_is_up_wakes_nobody() -> None:
    async with in_memory_cluster(gated("pause")) as cluster:
        await cluster.worker("w1")
        await cluster.start()
        assert (await cluster.ended()).status == "waiting"
        before = await cluster.journal.last_seq("r")
        await anyio.sleep(7200)
        assert await cluster.journal.last_seq("r") == before
