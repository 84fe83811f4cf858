"""What one process knows of its jobs while the database answers late, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Status
from procrastinate.testing import InMemoryConnector

from orchestrator.dispatch.cluster.worker_jobs import WorkerJobs
from tests.orchestrator.dispatch.cluster.conftest import TIMES, logger

pytestmark = pytest.mark.anyio


class LateConnector(InMemoryConnector):
    """Loses the answer of a fetch when told to, and lets something happen while that, or the list of jobs, is on its
    way."""

    def __init__(self) -> None:
        super().__init__()
        self.loses_fetch = False
        self.when_fetched: Callable[[], Awaitable[Any]] | None = None
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None

    async def fetch_job_one(self, *given: Any, **named: Any) -> dict[str, Any]:
        row = await super().fetch_job_one(*given, **named)
        if self.when_fetched is not None:
            await self.when_fetched()
        if self.loses_fetch:
            self.loses_fetch = False
            raise ConnectorException from psycopg.OperationalError("server closed the connection unexpectedly")
        return row

    async def list_jobs_all(self, **given: Any) -> Any:
        rows = [dict(row) for row in await super().list_jobs_all(**given) if row["status"] == "doing"]
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return rows


async def hold() -> None:
    """The process may say what became of its jobs."""


async def persist(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


async def worker_jobs(count: int) -> tuple[LateConnector, WorkerJobs, int]:
    """Return a worker's jobs, of which so many wait, and its number."""
    connector = LateConnector()
    lease: Any = SimpleNamespace(hold=hold, times=TIMES)
    jobs = WorkerJobs(connector, queue="q", slots=9, lease=lease, persist=persist, log=logger())
    for number in range(count):
        await jobs.defer_job_async(
            QueuedJob(id=None, queue="q", lock=None, queueing_lock=None, task_name=f"t{number}", task_kwargs={})
        )
    return connector, jobs, (await connector.register_worker_one())["worker_id"]


def under_way(connector: LateConnector) -> set[int]:
    return {number for number, job in connector.jobs.items() if job["status"] == "doing"}


async def test_a_job_whose_fetch_was_not_answered_is_found() -> None:
    connector, jobs, worker = await worker_jobs(1)
    connector.loses_fetch = True
    found = await jobs.fetch_job(["q"], worker)
    assert found is not None
    assert found.task_name == "t0"
    assert await jobs.fetch_job(["q"], worker) is None


async def test_a_job_that_ends_while_the_unanswered_ones_are_listed_is_not_run_again() -> None:
    connector, jobs, worker = await worker_jobs(2)
    first = await jobs.fetch_job(["q"], worker)
    assert first is not None
    connector.loses_fetch = True
    connector.meanwhile = lambda: jobs.finish_job(first, Status.SUCCEEDED, delete_job=True)
    second = await jobs.fetch_job(["q"], worker)
    assert second is not None
    assert second.task_name == "t1", "t0 is in the list, as it ended only afterwards"
    assert await jobs.fetch_job(["q"], worker) is None


async def test_all_jobs_of_a_fetch_that_was_not_answered_are_found() -> None:
    connector, jobs, worker = await worker_jobs(3)
    found = [await jobs.fetch_job(["q"], worker)]
    connector.loses_fetch = True
    found += [await jobs.fetch_job(["q"], worker) for _ in range(2)]
    assert [job and job.task_name for job in found] == ["t0", "t2", "t1"]
    assert await jobs.fetch_job(["q"], worker) is None


async def test_many_jobs_are_taken_at_once_and_few_are_left_to_others() -> None:
    connector, jobs, worker = await worker_jobs(20)
    taken = []
    for _ in range(9):
        assert await jobs.fetch_job(["q"], worker) is not None
        taken.append(len(under_way(connector)))
    assert taken == [1, 3, 3, 7, 7, 7, 7, 9, 9], "twice as many each time, but no more than it has slots for"


async def test_what_was_taken_and_has_not_begun_is_given_back_by_a_worker_that_stops() -> None:
    connector, jobs, worker = await worker_jobs(9)
    begun = [await jobs.fetch_job(["q"], worker) for _ in range(4)]
    assert len(under_way(connector)) > len(begun)
    await jobs.stop()
    assert under_way(connector) == {job.id for job in begun if job is not None}
    assert await jobs.fetch_job(["q"], worker) is None, "it takes no more"


async def test_a_worker_that_stops_while_it_takes_jobs_begins_none_of_them() -> None:
    connector, jobs, worker = await worker_jobs(3)
    assert await jobs.fetch_job(["q"], worker) is not None
    connector.when_fetched = jobs.stop
    assert await jobs.fetch_job(["q"], worker) is None
    assert len(under_way(connector)) == 1
