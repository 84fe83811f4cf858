"""Priorities of runs: all jobs of a run have its own, whoever submits them, and workers take the highest first."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from orchestrator import Squad
from orchestrator.cluster.going_on import resume_submitted, submit_fork
from orchestrator.cluster.opening import ClusterDatabase, open_cluster
from orchestrator.cluster.submission import submit_run
from orchestrator.dispatch.cluster.job import Job
from orchestrator.events import ElementEnded, RunFinished
from orchestrator.journal.protocols import RunManifest
from orchestrator.options import RunOptions
from orchestrator.run_opening import open_with
from orchestrator.units import Unit
from tests.orchestrator.cluster_workers import fan, worked_cluster
from tests.orchestrator.crashes import Counting
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]
URGENT = 5


async def waiting(database: ClusterDatabase, queue: str) -> dict[int, int]:
    """Return how many jobs of a queue wait, by priority."""
    depth = (await database.queue.status()).queues.get(queue)
    return {} if depth is None else depth.by_priority


async def test_an_urgent_run_overtakes_one_that_waits_and_the_units_of_one_at_work(postgres_url: str) -> None:
    urgent_waits = threading.Event()
    provider = Counting(before=lambda _: urgent_waits.wait(PATIENCE_S))
    with provider.serving():
        async with worked_cluster(postgres_url, provider.port, tasks=1, runs=2) as cluster:
            await cluster.submit(fan(6), "at-work")
            cluster.start()
            await cluster.until(lambda: waiting(cluster.database, "tasks"))
            await cluster.submit(fan(2), "urgent", priority=URGENT)

            async def is_next() -> bool:
                return URGENT in await waiting(cluster.database, "tasks")

            await cluster.until(is_next)
            for run, priority in {"last": -1, "waits": 0}.items():
                await cluster.submit(fan(2), run, priority=priority)
            urgent_waits.set()
            elements, ended = {}, {}
            for run in ("at-work", "urgent", "waits", "last"):
                await cluster.ended(run)
                events = await cluster.events(run)
                elements[run] = [event.at for event in events if isinstance(event.data, ElementEnded)]
                (ended[run],) = [event.at for event in events if isinstance(event.data, RunFinished)]
    before = [at for at in elements["at-work"] if at < max(elements["urgent"])]
    assert len(before) == 1, "the unit that was at work"
    assert ended["waits"] < ended["last"]


@pytest.mark.long
async def test_units_of_a_killed_worker_keep_the_priority_of_their_run(postgres_url: str) -> None:
    killed = threading.Event()
    provider = Counting(before=lambda _: killed.wait(PATIENCE_S))
    with provider.serving():
        async with worked_cluster(postgres_url, provider.port, tasks=0) as cluster:
            cluster.start()  # it drives runs, and gives away what the other one leaves
            (doomed,) = cluster.start(tasks=2, runs=0)
            await cluster.submit(fan(2), priority=URGENT)

            async def are_at_work() -> bool:
                return provider.answered.total() == 2

            async def are_given_away() -> bool:
                return await waiting(cluster.database, "tasks") == {URGENT: 2}

            await cluster.until(are_at_work)
            cluster.kill(doomed)
            await cluster.until(are_given_away)
            killed.set()
            cluster.start(tasks=2)
            assert (await cluster.ended()).status == "done"


async def test_whatever_is_submitted_for_a_run_has_its_priority(postgres_url: str) -> None:
    async with open_cluster(postgres_url) as database:
        await database.journal.create("old", RunManifest("t"))  # as earlier releases recorded it
        await database.journal.create("urgent", RunManifest("t", options={"priority": URGENT}))
        await database.drive("old")
        await database.sweep()
        assert await waiting(database, "runs") == {URGENT: 1, 0: 1}
        await database.place("urgent", [Job("urgent", Unit("lost"))])
        await database.hand_over("urgent", 0, (), [Job("urgent", Unit("new"))], URGENT)
        await database.place("old", [Job("old", Unit("lost"))])
        assert await waiting(database, "tasks") == {URGENT: 2, 0: 1}


async def test_what_waited_for_its_time_comes_before_all_of_lower_priorities(postgres_url: str) -> None:
    async with open_cluster(postgres_url) as database:
        at = await database.queue.now() - timedelta(seconds=1)
        await database.queue.submit([Job("r", Unit("timed"))], priority=1, at=at)
        await database.queue.submit([Job("r", Unit("plain"))], priority=0)
        assert list((await waiting(database, "tasks")).items()) == [(1, 1), (0, 1)]


async def test_a_run_that_goes_on_and_its_forks_keep_its_priority(postgres_url: str) -> None:
    squad = Squad.from_mapping(fan(1))
    async with open_cluster(postgres_url) as database:
        options = RunOptions(run_id="r", offline=True, priority=URGENT)
        await submit_run(squad, options, database.record_new)
        await resume_submitted(database, "r", {"max_cost_usd": 1.0})
        assert await submit_fork(squad, "r", database, RunOptions(run_id="s"), "all") == "s"
        for run in ("r", "s"):
            assert (await database.journal.manifest(run)).priority == URGENT
        assert await waiting(database, "runs") == {URGENT: 2}
        with pytest.raises(ValueError, match="from -100 to 100, not 101"):
            await submit_run(squad, RunOptions(run_id="x", priority=101), database.record_new)
        assert await database.live("x") == set()


async def test_a_process_that_does_a_run_itself_takes_no_priority() -> None:
    with pytest.raises(ValueError, match="it orders the runs of a cluster"):
        async with open_with(Squad.from_mapping(fan(1)), RunOptions(offline=True, priority=URGENT)):
            pass
