"""The queue of a cluster's jobs, in one PostgreSQL database.

Procrastinate keeps the jobs, through what it publishes: its `App`, `JobManager` and connector. Its tables are written
by it alone; we read them, add two indexes of our own, and keep what it has no place for in tables beside them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, LiteralString, NoReturn, Protocol, Self

import anyio
import structlog
from procrastinate import PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.jobs import Job as QueuedJob
from procrastinate.manager import JobManager
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from structlog.typing import FilteringBoundLogger

from orchestrator.dispatch.cluster.connections import Persistence, as_psycopg, conninfo_of, new_pool, reach
from orchestrator.dispatch.cluster.job import (
    Job,
    JobHandler,
    arguments_of,
    job_of,
    lock_of,
    queueing_lock_of,
    run_argument,
)
from orchestrator.dispatch.cluster.lease import WorkerLease
from orchestrator.dispatch.cluster.queue_worker import TASK, QueueService, QueueWorker
from orchestrator.dispatch.cluster.reaper import Reaper, Sweep
from orchestrator.dispatch.cluster.reaping import GapRule
from orchestrator.dispatch.cluster.schema import check_rights, check_schema_name, prepare_schema
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.dispatch.cluster.status import ClusterStatus, read_status
from orchestrator.dispatch.cluster.watchdog import Watchdog

SCHEMA = "orchestrator_queue"
BATCH = 1000
"""Jobs that are submitted by one statement."""
_LIVE = """
    SELECT id, args, status FROM procrastinate_jobs
    WHERE args->>'run' = %s AND status IN ('todo', 'doing') ORDER BY status DESC, id"""
_IS_AT_WORK = """
    SELECT EXISTS (
        SELECT 1 FROM procrastinate_jobs AS job JOIN orchestrator_workers AS alive
            ON alive.id = job.worker_id AND alive.heartbeat_at >= now() - make_interval(secs => alive.timeout_s)
        WHERE job.args->>'run' = %s AND job.args->>'unit' IS NOT NULL AND job.status = 'doing'
    )"""
_WAITING = "SELECT queueing_lock FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = ANY(%s)"


class StopSignal(Protocol):
    """What a worker waits for to stop: an `anyio.Event` is one."""

    async def wait(self) -> Any: ...


class JobQueue:
    """A queue that any number of processes on any hosts submit to and serve.

    Guarantees: each submitted job reaches a handler at least once; of the jobs of one unit no two run at a time, as
    long as no worker is frozen for longer than its timeout; what a dead worker ran is run by another. Use it as an
    asynchronous context manager, on asyncio; call `prepare` before anything else.

    `url` is PostgreSQL's (`postgresql://...`), `schema` where its tables are, `connections` how many it opens at most,
    beside one for each queue that it serves. All may raise `JobQueueUnusable`, and `JobQueueAway` while the database
    cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = SCHEMA,
        connections: int = 6,
        application: str = "orchestrator",
        log: FilteringBoundLogger | None = None,
    ) -> None:
        check_schema_name(schema)
        self._schema = schema
        self._prefix = f"{schema}."
        self._conninfo = conninfo_of(url, application)
        self._pool = new_pool(self._conninfo, schema, max(connections, 3), f"{application}-queue")
        self._connector = PsycopgConnector()
        self._jobs = JobManager(self._connector)
        self._log: FilteringBoundLogger = structlog.get_logger() if log is None else log

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        await self._connector.open_async(self._pool)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def prepare(self) -> None:
        """Make the tables, or bring them up to date. Safe again and again, and in many processes at once."""
        await reach(self._pool, lambda: prepare_schema(self._conninfo, self._schema))

    async def check_rights(self, *schemas: str) -> None:
        """Raise `JobQueueUnusable` where the user may not write to the queue's tables, and to all of these schemas."""

        async def check() -> None:
            async with self._pool.connection() as connection:
                await check_rights(connection, [self._schema, *schemas])

        await reach(self._pool, check)

    async def submit(
        self,
        jobs: Iterable[Job],
        *,
        connection: AsyncConnection[Any] | None = None,
        priority: int = 0,
        at: datetime | None = None,
    ) -> None:
        """Place jobs in the queue: to be run from `at` on, those of a higher priority first.

        A job that waits already stays as it is. One that is running is placed once more, to run after it: what it was
        submitted for may have come too late for the running one. With a `connection`, the jobs are there when and if
        its transaction commits; nothing that fails here ends that transaction.
        """
        placed = {queueing_lock_of(job): self._queued(job, priority, at) for job in jobs}
        new = list(placed.values())
        for start in range(0, len(new), BATCH):
            if connection is None:
                await reach(self._pool, partial(self._place_alone, new[start : start + BATCH]))
            else:
                with as_psycopg():
                    await self._place_within(connection, new[start : start + BATCH])

    async def cancel(self, run: str, *, drives_on: bool = False) -> int:
        """Remove the run's waiting jobs, cancel the handlers of its running ones, and return how many there were.

        Say in the journal first that the run is cancelled: else its jobs are submitted again. With `drives_on`, the job
        that drives the run is left alone.
        """
        return await reach(self._pool, lambda: self._cancel(run, drives_on=drives_on))

    async def _cancel(self, run: str, *, drives_on: bool) -> int:
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_LIVE, [run_argument(run)])).fetchall()
            rows = [row for row in rows if not (drives_on and job_of(row[1]).unit is None)]

            async def cancel(job: int) -> None:
                await self._jobs.cancel_job_by_id_async(job, abort=True, delete_job=True, connection=connection)

            # In one transaction: else a slot that is freed would be filled by the run's next job.
            async with connection.transaction(), connection.pipeline(), anyio.create_task_group() as cancelling:
                for job, _, _ in rows:
                    cancelling.start_soon(cancel, job)
        return len(rows)

    async def live(self, run: str) -> set[Job]:
        """Return the run's jobs that wait or run."""

        async def read() -> list[tuple[Any, ...]]:
            async with self._pool.connection() as connection:
                return await (await connection.execute(_LIVE, [run_argument(run)])).fetchall()

        return {job_of(arguments) for _, arguments, _ in await reach(self._pool, read)}

    async def is_at_work(self, run: str) -> bool:
        """Return whether a worker that is alive works on a unit of the run."""
        return bool(await self._asked(_IS_AT_WORK, run_argument(run)))

    async def now(self) -> datetime:
        """Return what time it is by the database's clock, which alone says when a job may run."""
        time: datetime = await self._asked("SELECT clock_timestamp()")
        return time

    async def _asked(self, query: LiteralString, *given: Any) -> Any:
        async def read() -> Any:
            async with self._pool.connection() as connection:
                row = await (await connection.execute(query, given)).fetchone()
                assert row is not None
                return row[0]

        return await reach(self._pool, read)

    async def status(self) -> ClusterStatus:
        """Return how the workers and the queues stand."""
        return await reach(self._pool, lambda: read_status(self._pool, self._prefix))

    async def serve(
        self,
        handlers: Mapping[str, JobHandler],
        slots: Mapping[str, int],
        *,
        stop: StopSignal,
        times: WorkerTimes | None = None,
        sweep: Sweep | None = None,
        lost: JobHandler | None = None,
        fatal: Sequence[type[BaseException]] = (),
        exit: Callable[[int], NoReturn] = os._exit,  # noqa: A002
    ) -> None:
        """Run the jobs of each queue in `slots` by its handler, so many at a time, until `stop`.

        A handler that returns ends its job; one that raises gets it again, later and later. One that raises an error of
        a kind in `fatal` ends the process by `exit` before the queue hears of it: its work was taken over, and what it
        says must not count. Stopping, no new job is taken; running ones may end within the grace period, and are then
        cancelled and given to others. Cancelled, it cancels them at once.

        An outage of the database is waited for. The process ends by `exit` also when it was taken for dead, or when its
        event loop stands still for the timeout: a supervisor starts it again. `sweep` is called every `sweep_s`, in one
        process of the cluster, as is `lost` with each job of a worker that died, before another one gets it.
        """
        times = times or WorkerTimes()
        persist = Persistence(self._pool, self._log)
        lease = WorkerLease(self._pool, self._jobs, times, persist, exit, self._log)
        workers = [
            QueueWorker(
                QueueService(self._prefix + queue, count, handlers[queue], times, tuple(fatal), exit, self._log),
                self._pool,
                lease,
                persist,
            )
            for queue, count in slots.items()
            if count > 0
        ]
        reaper = self._reaper(times, sweep, lost)
        watchdog = Watchdog(times.timeout_s, exit, self._log)
        stopping = anyio.Event()
        with watchdog.watching():
            async with anyio.create_task_group() as aside:
                for task in (watchdog.keep, lease.keep, reaper.keep):
                    aside.start_soon(task)
                async with anyio.create_task_group() as served:
                    for worker in workers:
                        served.start_soon(worker.serve, stopping)
                    await stop.wait()
                    lease.draining = True
                    stopping.set()
                    aside.start_soon(_give_up, persist, times.grace_s)
                aside.cancel_scope.cancel()

    def _reaper(self, times: WorkerTimes, sweep: Sweep | None, lost: JobHandler | None) -> Reaper:
        rule = GapRule(times.timeout_s, times.tick_s)
        lock = f"orchestrator:reap:{self._schema}"
        return Reaper(self._pool, self._jobs, times, rule, lock, sweep, self.prepare, self._log, lost)

    def _queued(self, job: Job, priority: int, at: datetime | None) -> QueuedJob:
        return QueuedJob(
            queue=self._prefix + job.queue,
            task_name=TASK,
            task_kwargs=arguments_of(job),
            lock=lock_of(job),
            queueing_lock=queueing_lock_of(job),
            # A waiting job holds up those of its lock that came later, unless they come before it: one that is to wait
            # until a time would keep its run from being driven, or its unit from going on, until then. So it comes
            # after the others of its priority, and before all of lower ones.
            priority=2 * priority - (at is not None),
            scheduled_at=at,
        )

    async def _place_alone(self, jobs: Sequence[QueuedJob]) -> None:
        async with self._pool.connection() as connection:
            await self._place(connection, jobs)

    async def _place_within(self, connection: AsyncConnection[Any], jobs: Sequence[QueuedJob]) -> None:
        """Place jobs in a transaction of the caller's, whose connection may look names up elsewhere."""
        # First of all, so that a transaction that the caller's connection would begin by itself has begun: else the
        # block below is one of its own, and commits.
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute("SELECT current_setting('search_path')")
            ((before,),) = await cursor.fetchall()
        async with connection.transaction():
            await _look_in(connection, self._schema)
            await self._place(connection, jobs)
            await _look_in(connection, before)

    async def _place(self, connection: AsyncConnection[Any], jobs: Sequence[QueuedJob]) -> None:
        new = await _not_waiting(connection, jobs)
        try:
            await self._defer(connection, new)
        except AlreadyEnqueued:  # another process was quicker with some of them
            for job in await _not_waiting(connection, new):
                try:
                    await self._defer(connection, [job])
                except AlreadyEnqueued:
                    continue

    async def _defer(self, connection: AsyncConnection[Any], jobs: Sequence[QueuedJob]) -> None:
        if jobs:
            async with connection.transaction():
                await self._jobs.batch_defer_jobs_async(list(jobs), connection=connection)


async def _give_up(persist: Persistence, after_s: float) -> None:
    await anyio.sleep(after_s)
    persist.give_up = True


async def _look_in(connection: AsyncConnection[Any], path: str) -> None:
    await connection.execute("SELECT set_config('search_path', %s, true)", [path])


async def _not_waiting(connection: AsyncConnection[Any], jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
    asked = [job.queueing_lock for job in jobs]
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_WAITING, [asked])
        waiting = {lock for (lock,) in await cursor.fetchall()}
    return [job for job in jobs if job.queueing_lock not in waiting]
