"""Queues in a fresh database."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import structlog

from orchestrator.dispatch.cluster.job import JobHandler
from orchestrator.dispatch.cluster.settings import WorkerTimes
from tests.components import imported

queue = imported("orchestrator.dispatch.cluster.queue", "cluster")

TIMES = WorkerTimes(heartbeat_s=0.5, timeout_s=4.0, grace_s=1.0, sweep_s=1.0, poll_s=0.25, tick_s=0.25)
"""Short enough for a test. A busy machine may delay a heartbeat by seconds: nobody is taken for dead for that."""


def logger() -> Any:
    """Return a logger to what pytest shows of a test that failed."""
    return structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=[structlog.dev.ConsoleRenderer()])


@pytest.fixture
def anyio_backend() -> str:
    """psycopg works on asyncio alone."""
    return "asyncio"


@pytest.fixture
async def jobs(postgres_url: str) -> AsyncIterator[Any]:
    """A queue that is ready."""
    async with queue.JobQueue(postgres_url, log=logger()) as found:
        await found.prepare()
        yield found


@asynccontextmanager
async def serving(jobs: Any, handler: JobHandler, slots: int = 5, **more: Any) -> AsyncIterator[anyio.Event]:
    """Serve both queues by one handler while the block lasts, or until the event that it yields is set."""
    stop = anyio.Event()

    async def serve() -> None:
        options = {"times": TIMES, **more}
        await jobs.serve({"runs": handler, "tasks": handler}, {"runs": slots, "tasks": slots}, stop=stop, **options)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        yield stop
        stop.set()
