"""A handler that gives its job back, though nothing failed."""

from __future__ import annotations

from io import StringIO
from typing import Any

import anyio
import pytest
import structlog

from orchestrator.dispatch.cluster.job import Job, JobPutOff
from orchestrator.dispatch.cluster.queue import JobQueue
from tests.orchestrator.dispatch.cluster.conftest import logger, serving
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


async def test_a_job_that_is_put_off_runs_again_and_is_no_failure(postgres_url: str) -> None:
    said, times, done = StringIO(), list[float](), anyio.Event()

    async def put_off_twice(job: Job) -> None:
        times.append(anyio.current_time())
        if len(times) < 3:
            raise JobPutOff(0.5 if len(times) == 1 else 0.0)
        done.set()

    log = structlog.wrap_logger(structlog.PrintLogger(said), processors=[structlog.processors.JSONRenderer()])
    async with JobQueue(postgres_url, log=log) as jobs:
        await jobs.prepare()
        await jobs.submit([Job("r")])
        async with serving(jobs, put_off_twice):
            with anyio.fail_after(PATIENCE_S):
                await done.wait()
    assert times[1] - times[0] >= 0.4
    assert "failed" not in said.getvalue(), said.getvalue()


async def test_a_stopping_worker_s_jobs_go_on_elsewhere_at_once(jobs: Any, postgres_url: str) -> None:
    begun, done = anyio.Event(), anyio.Event()

    async def elsewhere(job: Job) -> None:
        done.set()

    async with serving(jobs, elsewhere, slots=0), JobQueue(postgres_url, log=logger()) as others:
        stopping = anyio.Event()

        async def until_stopping(job: Job) -> None:
            begun.set()
            await stopping.wait()
            raise JobPutOff

        async with serving(others, until_stopping) as stop:
            await jobs.submit([Job("r")])
            with anyio.fail_after(PATIENCE_S):
                await begun.wait()
                stop.set()
                stopping.set()
        async with serving(jobs, elsewhere):
            with anyio.fail_after(PATIENCE_S):
                await done.wait()


@pytest.mark.long
async def test_a_worker_that_is_stopped_as_it_begins_ends(postgres_url: str) -> None:
    async def nothing(job: Job) -> None: ...

    async with JobQueue(postgres_url) as queue:
        await queue.prepare()
        for moment in range(20):
            with anyio.fail_after(PATIENCE_S):
                async with serving(queue, nothing) as stop:
                    await anyio.sleep(moment * 0.002)
                    stop.set()
