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
    """Loses the answer of a fetch when told to, and lets something happen while the list of jobs is on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.loses_fetch = False
        self.meanwhile: Callable[[], Awaitable[Any]] | None = None

    async def fetch_job_one(self, *given: Any, **named: Any) -> dict[str, Any]:
        row = await super().fetch_job_one(*given, **named)
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
