"""What is submitted, how it is run, and how it is cancelled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from psycopg import AsyncConnection

from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.queue import JobQueue
from orchestrator.units import Unit
from tests.orchestrator.dispatch.cluster.conftest import logger, serving
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio

HOSTILE = [
    "plain",
    "with/slash#2",
    "\0",
    "\ud800",
    "Zoë 🐟",
    "'; DROP TABLE x; --",
    "]#2",
    "",
    "%s %(a)s {b}",
    "x" * 9000,
]


class Handled:
    """A handler that notes its jobs, in order."""

    def __init__(self, expected: int = 1) -> None:
        self.jobs: list[Job] = []
        self._expected = expected
        self._all = anyio.Event()

    async def __call__(self, job: Job) -> None:
        self.jobs.append(job)
        if len(self.jobs) >= self._expected:
            self._all.set()

    async def wait(self) -> None:
        with anyio.fail_after(PATIENCE_S):
            await self._all.wait()


async def test_what_is_submitted_twice_is_there_once(jobs: Any) -> None:
    batch = [Job("r", Unit("build", key)) for key in HOSTILE]
    await jobs.submit([*batch, *batch])
    await jobs.submit(batch[1:])
    assert await jobs.live("r") == set(batch)
    await jobs.submit([batch[0]._replace(generation=2), *batch])
    assert len(await jobs.live("r")) == len(batch) + 1
    assert await jobs.live("another") == set()


async def test_each_job_reaches_its_handler_as_it_was_submitted(jobs: Any) -> None:
    batch = [Job("r"), Job("\0\udfff"), *(Job("r", Unit("build", key, 2), 3) for key in HOSTILE)]
    handled = Handled(len(batch))
    async with serving(jobs, handled):
        await jobs.submit(batch)
        await handled.wait()
    assert sorted(handled.jobs, key=repr) == sorted(batch, key=repr)
    assert await jobs.live("r") == set()


async def test_submitting_from_many_places_at_once_places_each_job_once(postgres_url: str) -> None:
    batch = [Job("r", Unit("build", str(number))) for number in range(40)]
    async with JobQueue(postgres_url, log=logger()) as jobs:

        async def prepare_and_submit(start: int) -> None:
            await jobs.prepare()
            await jobs.submit([*batch[start:], *batch[:start]])

        async with anyio.create_task_group() as tasks:
            for start in range(0, 40, 5):
                tasks.start_soon(prepare_and_submit, start)
        assert await jobs.live("r") == set(batch)
        assert (await jobs.status()).queues["tasks"].waiting == len(batch)


async def test_a_job_is_there_if_and_when_the_callers_transaction_commits(jobs: Any, postgres_url: str) -> None:
    there, undone, added = (Job("r", Unit(name)) for name in ("there", "undone", "added"))
    await jobs.submit([there])
    async with await AsyncConnection.connect(postgres_url) as connection:
        await connection.execute("CREATE TABLE mine (x text)")
        await connection.commit()
        await jobs.submit([undone], connection=connection)
        await connection.execute("INSERT INTO mine VALUES ('undone')")
        await connection.rollback()
        assert await jobs.live("r") == {there}
        await connection.execute("INSERT INTO mine VALUES ('kept')")
        await jobs.submit([there, added], connection=connection)
        await connection.execute("INSERT INTO mine VALUES ('after')")
        assert await jobs.live("r") == {there}
        await connection.commit()
        assert await jobs.live("r") == {there, added}
        kept = await (await connection.execute("SELECT x FROM mine")).fetchall()
    assert kept == [("kept",), ("after",)]


async def test_one_submit_that_waits_for_anothers_transaction_does_not_end_its_own(
    jobs: Any, postgres_url: str
) -> None:
    """Two transactions place the same job: the second sees it only when the first commits, and goes on."""
    batch = [Job("r", Unit(name)) for name in ("same", "first", "second")]
    async with (
        await AsyncConnection.connect(postgres_url) as one,
        await AsyncConnection.connect(postgres_url) as two,
        anyio.create_task_group() as tasks,
    ):
        await jobs.submit(batch[:2], connection=one)

        async def second() -> None:
            await jobs.submit([batch[0], batch[2]], connection=two)
            await two.execute("SELECT 1")
            await two.commit()

        tasks.start_soon(second)
        await _until_blocked(postgres_url)
        await one.commit()
    assert await jobs.live("r") == set(batch)


async def _until_blocked(url: str) -> None:
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        with anyio.fail_after(PATIENCE_S):
            while True:
                row = await (await connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")).fetchone()
                if row and row[0]:
                    return
                await anyio.sleep(0.02)


async def test_higher_priorities_first_then_in_order_and_none_before_its_time(jobs: Any) -> None:
    names = ["c", "d", "a", "b", "e"]
    for name, priority in zip(names, (0, 0, 5, 5, -1), strict=True):
        await jobs.submit([Job("r", Unit(name))], priority=priority)
    await jobs.submit([Job("r", Unit("later"))], priority=99, at=datetime.now(UTC) + timedelta(days=1))
    handled = Handled(len(names))
    async with serving(jobs, handled, slots=1):
        await handled.wait()
    assert [job.unit.task for job in handled.jobs if job.unit] == sorted(names)
    assert await jobs.live("r") == {Job("r", Unit("later"))}
    assert (await jobs.status()).queues["tasks"].later == 1


@pytest.mark.parametrize("unit", [None, Unit("a")])
async def test_a_job_that_is_placed_for_later_holds_up_no_other_of_its_lock(jobs: Any, unit: Unit | None) -> None:
    await jobs.submit([Job("r", unit, 2)], at=datetime.now(UTC) + timedelta(days=1))
    await jobs.submit([Job("r", unit)])
    handled = Handled(1)
    async with serving(jobs, handled):
        await handled.wait()
    assert handled.jobs == [Job("r", unit)]
    assert await jobs.live("r") == {Job("r", unit, 2)}


async def test_of_one_units_jobs_the_next_runs_when_the_first_has_ended(jobs: Any) -> None:
    order, began, release, ended = list[str](), anyio.Event(), anyio.Event(), anyio.Event()

    async def handle(job: Job) -> None:
        order.append(f"begin {job.generation}")
        began.set()
        await release.wait()
        order.append(f"end {job.generation}")
        if job.generation == 3:
            ended.set()

    first = Job("r", Unit("build"))
    async with serving(jobs, handle):
        with anyio.fail_after(PATIENCE_S):
            await jobs.submit([first])
            await began.wait()
            for _ in range(2):  # what runs is placed once more: it may have looked before this was known
                await jobs.submit([first, first._replace(generation=2), first._replace(generation=3)])
            assert (await jobs.status()).queues["tasks"].waiting == 3
            release.set()
            await ended.wait()
    assert order == [f"{what} {number}" for number in (1, 1, 2, 3) for what in ("begin", "end")]


async def test_cancel_removes_what_waits_and_cancels_what_runs_and_nothing_else(jobs: Any) -> None:
    began, cancelled, others = anyio.Event(), list[str](), anyio.Event()

    async def handle(job: Job) -> None:
        if job.run == "other":
            others.set()
            return
        try:
            began.set()
            await anyio.sleep_forever()
        finally:
            cancelled.append(job.run)

    async with serving(jobs, handle, slots=1):
        await jobs.submit([Job("r", Unit(f"t{number}")) for number in range(20)], priority=1)
        await jobs.submit([Job("other", Unit("t"))])
        with anyio.fail_after(PATIENCE_S):
            await began.wait()
            assert await jobs.cancel("r") == 20
            await others.wait()
        assert await jobs.live("r") == set()
    assert cancelled == ["r"]
    assert await jobs.cancel("r") == 0
    assert await jobs.live("other") == set()
