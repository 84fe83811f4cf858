"""One process that serves: what fails, what is lost on the way, what is looked for, and how it stands."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NoReturn

import anyio
import psycopg
import pytest
from procrastinate import PsycopgConnector
from procrastinate.manager import JobManager
from psycopg_pool import AsyncConnectionPool

from orchestrator.dispatch.cluster.connections import conninfo_of, new_pool
from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.queue import JobQueue
from orchestrator.dispatch.cluster.reaper import Reaper
from orchestrator.dispatch.cluster.reaping import GapRule
from orchestrator.dispatch.cluster.settings import EXIT_FENCED
from orchestrator.units import Unit
from tests.orchestrator.dispatch.cluster.conftest import TIMES, logger, serving
from tests.orchestrator.dispatch.cluster.workers import eventually
from tests.patience import PATIENCE_S
from tests.postgres import PASSWORD, PostgresServer

pytestmark = pytest.mark.anyio

TABLES = "orchestrator_queue"
BY_HAND = f"-c search_path={TABLES}"
JOB = Job("r", Unit("build"))


def run(url: str, statement: str, *given: Any) -> list[Any]:
    """Run a statement on the queue's tables, as somebody does who knows better."""
    with psycopg.connect(url, options=BY_HAND, autocommit=True) as connection:
        done = connection.execute(statement.encode(), given or None)
        return done.fetchall() if done.description else []


class Left(BaseException):
    """Stands for the end of this process."""


class Tried:
    """A handler that fails so often, and then ends well."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.ended = anyio.Event()

    async def __call__(self, job: Job) -> None:
        if self.left:
            self.left -= 1
            raise ValueError("not yet")
        self.ended.set()


async def test_a_job_whose_handler_fails_is_run_again_and_is_seen_meanwhile(jobs: Any) -> None:
    tried = Tried(2)
    async with serving(jobs, tried):
        await jobs.submit([JOB])

        async def waits_again() -> bool:
            depth = (await jobs.status()).queues["tasks"]
            return bool(depth.again and depth.later)

        await eventually(waits_again)
        with anyio.fail_after(PATIENCE_S):
            await tried.ended.wait()

        async def is_gone() -> bool:
            return not await jobs.live("r")

        await eventually(is_gone)


async def test_a_job_that_fails_after_it_was_submitted_again_leaves_the_one_that_waits(jobs: Any) -> None:
    tried = list[int]()

    async def handle(job: Job) -> None:
        tried.append(1)
        if len(tried) == 1:
            await jobs.submit([JOB])
            raise ValueError("not yet")

    async with serving(jobs, handle):
        await jobs.submit([JOB])

        async def is_done() -> bool:
            return len(tried) == 2 and not await jobs.live("r")

        await eventually(is_done)


async def test_a_handler_that_is_cancelled_from_within_is_run_again_later(jobs: Any) -> None:
    asked = list[int]()

    async def handle(job: Job) -> None:
        asked.append(1)
        raise anyio.get_cancelled_exc_class()

    async with serving(jobs, handle):
        await jobs.submit([JOB])

        async def waits_again() -> bool:
            return (await jobs.status()).queues["tasks"].later == 1

        await eventually(waits_again)
    assert len(asked) == 1


async def test_a_job_whose_row_was_removed_is_run_again_by_the_sweep(jobs: Any, postgres_url: str) -> None:
    """Somebody empties the table while a unit is at work: what it says at its end has no row, and does no harm."""
    began, release, ended = list[int](), anyio.Event(), anyio.Event()

    async def handle(job: Job) -> None:
        began.append(1)
        if len(began) == 1:
            await release.wait()
        else:
            ended.set()

    async def sweep() -> None:
        if not ended.is_set() and JOB not in await jobs.live("r"):
            await jobs.submit([JOB])

    async with serving(jobs, handle, slots=1, sweep=sweep):
        await eventually(_served(jobs))
        await jobs.submit([JOB])

        async def is_running() -> bool:
            return bool(began)

        await eventually(is_running)
        run(postgres_url, "DELETE FROM procrastinate_jobs")

        async def is_there_again() -> bool:
            return bool(await jobs.live("r"))

        await eventually(is_there_again)
        release.set()
        with anyio.fail_after(PATIENCE_S):
            await ended.wait()
    assert len(began) == 2


def _served(jobs: Any) -> Any:
    async def is_served() -> bool:
        return bool((await jobs.status()).workers)

    return is_served


async def test_a_sweep_is_called_in_one_process_at_a_time_and_again_when_it_failed(postgres_url: str) -> None:
    calls, at_once, most = 0, 0, 0

    async def sweep() -> None:
        nonlocal calls, at_once, most
        calls, at_once = calls + 1, at_once + 1
        most = max(most, at_once)
        try:
            await anyio.sleep(0.05)
        finally:  # a worker that stops cancels its sweep
            at_once -= 1
        if calls == 2:
            raise ValueError("the journal is away")

    async def nothing(job: Job) -> None: ...

    async with JobQueue(postgres_url, log=logger()) as one, JobQueue(postgres_url, log=logger()) as two:
        await one.prepare()
        async with serving(one, nothing, sweep=sweep), serving(two, nothing, sweep=sweep):

            async def is_enough() -> bool:
                return calls >= 4

            await eventually(is_enough)
    assert most == 1


@pytest.fixture
async def pool(postgres_url: str) -> Any:
    async with new_pool(conninfo_of(postgres_url, "test"), TABLES, 5, "test") as found:
        yield found


async def test_two_reapers_free_a_dead_workers_job_once_and_leave_the_living_alone(
    jobs: Any, postgres_url: str, pool: AsyncConnectionPool
) -> None:
    connector = PsycopgConnector()
    await connector.open_async(pool)
    manager = JobManager(connector)
    await jobs.submit([Job("r", Unit(f"t{number}")) for number in range(5)])
    for _ in range(3):  # the last is alive, and only looks dead to Procrastinate
        worker = await manager.register_worker()
        run(
            postgres_url,
            "INSERT INTO orchestrator_workers (id, process, host, pid, queue, slots, version, timeout_s)"
            " VALUES (%s, %s, 'h', 1, 'q', 1, '3', 4)",
            worker,
            str(worker),
        )
        assert await manager.fetch_job([f"{TABLES}.tasks"], worker)
    run(postgres_url, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    run(
        postgres_url,
        "UPDATE orchestrator_workers SET heartbeat_at = now() - interval '5 s'"
        " WHERE id < (SELECT max(id) FROM orchestrator_workers)",
    )

    async def nothing() -> None: ...

    await jobs.submit([Job("r", Unit("t0"))])  # what its dead worker runs waits once more
    rule = GapRule(0.0, 1000.0)  # it waits for nothing
    reapers = [Reaper(pool, manager, TIMES, rule, "lock", None, nothing, logger()) for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        for reaper in reapers * 3:
            tasks.start_soon(reaper.look)
    found = run(postgres_url, "SELECT status, attempts FROM procrastinate_jobs ORDER BY id")
    assert found == [("todo", 1), ("doing", 0), ("todo", 0), ("todo", 0), ("todo", 0)]
    assert len(run(postgres_url, "SELECT id FROM orchestrator_workers")) == 1
    assert len(run(postgres_url, "SELECT id FROM procrastinate_workers")) == 1


async def test_what_a_dead_worker_ran_is_announced_to_all_others(
    jobs: Any, postgres_url: str, pool: AsyncConnectionPool
) -> None:
    """They look for work by themselves much later."""
    connector = PsycopgConnector()
    await connector.open_async(pool)
    manager = JobManager(connector)
    await jobs.submit([Job("r", Unit("t"))])
    assert await manager.fetch_job([f"{TABLES}.tasks"], await manager.register_worker())
    run(postgres_url, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    handled = list[Job]()

    async def handle(job: Job) -> None:
        handled.append(job)

    async def nothing() -> None: ...

    async def listens() -> bool:
        asked = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s"
        return bool(run(postgres_url, asked, "LISTEN %tasks%"))

    async def is_handled() -> bool:
        return bool(handled)

    async with serving(jobs, handle, times=replace(TIMES, poll_s=1000, tick_s=1000)):
        await eventually(listens)
        reaper = Reaper(pool, manager, TIMES, GapRule(0.0, 1000.0), "lock", None, nothing, logger())
        await reaper.look()
        await eventually(is_handled)


async def test_a_worker_that_was_buried_alive_ends_before_it_takes_or_ends_another_job(
    jobs: Any, postgres_url: str
) -> None:
    left = list[int]()

    def leave(code: int) -> NoReturn:
        left.append(code)
        raise Left

    async def handle(job: Job) -> None:
        await anyio.sleep_forever()

    async def bury() -> None:
        async with serving(jobs, handle, exit=leave):
            await eventually(_served(jobs))
            run(postgres_url, "DELETE FROM orchestrator_workers")
            with anyio.fail_after(PATIENCE_S):
                await anyio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as raised:
        await bury()
    assert raised.value.subgroup(Left)
    assert set(left) == {EXIT_FENCED}


async def test_a_job_whose_fetch_was_not_answered_is_run(jobs: Any, postgres_server: PostgresServer) -> None:
    """The fetch was committed, and the connection broke before the answer: the worker has a job it never heard of."""
    url = postgres_server.url(jobs_database(jobs))
    handled = list[Job]()

    async def handle(job: Job) -> None:
        handled.append(job)

    async with serving(jobs, handle):
        await eventually(_served(jobs))
        # What such a fetch leaves behind: the row says that the worker has the job.
        ((worker,),) = run(url, f"SELECT id FROM orchestrator_workers WHERE queue = '{TABLES}.tasks'")
        with psycopg.connect(url, options=BY_HAND) as connection:
            connection.execute("LOCK TABLE procrastinate_jobs IN EXCLUSIVE MODE")
            await anyio.sleep(1)  # the worker's fetch waits for the lock, and is cut off
            connection.execute("ALTER TABLE procrastinate_jobs DISABLE TRIGGER USER")
            connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, worker_id)"
                " VALUES (%s, 'orchestrator.job', %s, 'doing', %s)",
                (f"{TABLES}.tasks", '{"run": "\\"r\\"", "unit": "[\\"build\\", null, 1]", "generation": 1}', worker),
            )
            connection.execute("ALTER TABLE procrastinate_jobs ENABLE TRIGGER USER")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE '%procrastinate_fetch_job%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"
            )
            connection.commit()

        async def is_run() -> bool:
            return handled == [JOB] and not await jobs.live("r")

        await eventually(is_run)


def jobs_database(jobs: Any) -> str:
    return psycopg.conninfo.conninfo_to_dict(jobs._conninfo)["dbname"]


async def test_a_worker_that_is_cancelled_hands_its_jobs_on_at_once(jobs: Any) -> None:
    began, ended = anyio.Event(), list[str]()

    async def handle(job: Job) -> None:
        try:
            began.set()
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    with anyio.fail_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_serve_for_ever, jobs, handle)
            await jobs.submit([JOB])
            await began.wait()
            tasks.cancel_scope.cancel()
    assert ended == ["cancelled"]
    status = await jobs.status()
    assert status.workers == ()
    assert (status.queues["tasks"].waiting, status.queues["tasks"].running) == (1, 0)


async def _serve_for_ever(jobs: Any, handle: Any) -> None:
    async with serving(jobs, handle):
        await anyio.sleep_forever()


async def test_the_status_says_who_works_on_what_and_for_how_long_the_oldest_waits(jobs: Any) -> None:
    release, began = anyio.Event(), list[Job]()

    async def handle(job: Job) -> None:
        began.append(job)
        await release.wait()

    async with serving(jobs, handle, slots=2):
        await jobs.submit([Job("r", Unit(f"t{number}")) for number in range(5)] + [Job("r")])

        async def is_busy() -> bool:
            workers = (await jobs.status()).workers
            busy = {name: share.busy for worker in workers for name, share in worker.queues.items()}
            return busy == {"runs": 1, "tasks": 2}

        await eventually(is_busy)
        await anyio.sleep(0.2)
        status = await jobs.status()
        (worker,) = status.workers
        assert (worker.pid, set(worker.queues), worker.is_stalled) == (os.getpid(), {"runs", "tasks"}, False)
        assert worker.queues["tasks"].slots == 2
        tasks = status.queues["tasks"]
        assert (tasks.waiting, tasks.running, tasks.stalled) == (3, 2, 0)
        assert 0.2 <= tasks.oldest_waiting_s < PATIENCE_S
        assert status.queues["runs"].running == 1
        release.set()
    assert len(began) >= 3
    assert PASSWORD not in repr(jobs) + repr(status) + repr(vars(jobs)["_pool"])


async def test_two_queues_in_one_database_have_nothing_to_do_with_each_other(postgres_url: str) -> None:
    """They share PostgreSQL's channels of notifications: a job's number in the one is no job's in the other."""
    mine, others = list[Job](), list[Job]()
    release = anyio.Event()

    async def note(job: Job) -> None:
        mine.append(job)
        await release.wait()

    async def note_others(job: Job) -> None:
        others.append(job)
        await anyio.sleep_forever()

    async with (
        JobQueue(postgres_url, schema="one", log=logger()) as one,
        JobQueue(postgres_url, schema="two", log=logger()) as two,
    ):
        await one.prepare()
        await two.prepare()
        async with serving(one, note), serving(two, note_others):
            await one.submit([JOB])
            await two.submit([JOB])

            async def both_run() -> bool:
                return bool(mine and others)

            await eventually(both_run)
            await two.cancel("r")

            async def is_cancelled() -> bool:
                return not await two.live("r")

            await eventually(is_cancelled)
            assert await one.live("r") == {JOB}
            release.set()
    assert mine == others == [JOB]
