"""An edit of a run of real workers: killed in between, and while a unit is at work that no process drives."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.cluster.going_on import resume_edited
from orchestrator.cluster.opening import ClusterDatabase
from orchestrator.dispatch.cluster.job import Job
from orchestrator.events import RunEdited, RunFinished
from orchestrator.options import RunOptions
from tests.orchestrator.cluster_workers import fan, worked_cluster
from tests.orchestrator.crashes import Counting
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)]


class Killed(Exception):
    """The process that edits is gone."""


class KilledBeforeIt(ClusterDatabase):
    async def withdraw(self, run: str) -> None:
        await super().withdraw(run)
        raise Killed


class KilledAfterIt(ClusterDatabase):
    async def drive(self, run: str) -> None:
        raise Killed


def fanned(units: int, end: str = "End.") -> Squad:
    made: dict[str, Any] = fan(units)
    made["tasks"]["end"]["description"] = end
    return Squad.from_mapping(made)


@pytest.mark.parametrize(("killed", "again"), [(KilledBeforeIt, 0), (KilledAfterIt, 1)])
async def test_an_edit_that_is_killed_is_there_and_gone_on_with_or_is_not(
    postgres_url: str, killed: type[ClusterDatabase], again: int
) -> None:
    provider = Counting()
    with provider.serving():
        async with worked_cluster(postgres_url, provider.port) as cluster:
            await cluster.submit(fanned(2))
            cluster.start()
            assert (await cluster.ended()).status == "done"
            before = provider.answered.total()
            dying = killed(cluster.database.journal, cluster.database.queue)
            with pytest.raises(Killed):
                await resume_edited(fanned(2, "Finish."), "r", dying, RunOptions())
            assert not await cluster.database.journal.is_driven("r")
            assert (await cluster.ended()).status == "done"
            events = await cluster.events()
            assert provider.answered.total() == before + again, "its last task alone"
    assert sum(isinstance(event.data, RunEdited) for event in events) == again
    assert sum(isinstance(event.data, RunFinished) for event in events) == 1 + again


@pytest.mark.long
async def test_units_that_are_at_work_while_nobody_drives_their_run_end_before_it_is_edited(postgres_url: str) -> None:
    """The worker that has them lives on, and takes the run as it was edited."""
    edited = threading.Event()
    provider = Counting(before=lambda number: number < 2 or edited.wait(PATIENCE_S))
    with provider.serving():
        async with worked_cluster(postgres_url, provider.port, tasks=0) as cluster:
            (driver,) = cluster.start()
            (busy,) = cluster.start(tasks=1, runs=0)
            await cluster.submit(fanned(1))

            async def is_at_work() -> bool:
                return provider.answered.total() == 2

            async def is_not_driven() -> bool:
                return not await cluster.database.journal.is_driven("r")

            await cluster.until(is_at_work)
            cluster.kill(driver)
            await cluster.until(is_not_driven)
            assert await cluster.database.queue.is_at_work("r")
            await resume_edited(fanned(1, "Finish."), "r", cluster.database, RunOptions())
            assert not await cluster.database.queue.is_at_work("r")
            assert await cluster.database.live("r") == {Job("r")}
            edited.set()
            cluster.start()
            assert (await cluster.ended()).status == "done"
            assert busy.exitcode is None
    repeated = provider.answered.total() - len(provider.answered)
    assert repeated == 1, "the call that was cut short"
