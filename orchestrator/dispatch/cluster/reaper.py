"""Gives the jobs of dead workers to others, and lets lost work be looked for: in one process of the cluster at once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import psycopg
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Status
from procrastinate.manager import JobManager, get_channel_for_queues
from psycopg import AsyncConnection
from psycopg.errors import RaiseException
from psycopg_pool import AsyncConnectionPool
from structlog.typing import FilteringBoundLogger

from orchestrator.dispatch.cluster.connections import is_lost, leaves
from orchestrator.dispatch.cluster.job import JobHandler, job_of
from orchestrator.dispatch.cluster.reaping import GapRule
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.dispatch.cluster.worker_jobs import LONG_AGO, WAKE

Sweep = Callable[[], Awaitable[None]]
"""Submits again what is not final and has no job."""
UPKEEP_S = 3600.0
_FORGET_S = 86_400.0
"""Seconds after which a worker's number that belongs to no process is removed."""
_LIMIT = "SELECT set_config('idle_in_transaction_session_timeout', %s, true)"
_LOOK = "SELECT extract(epoch FROM clock_timestamp())::float8, pg_try_advisory_xact_lock(hashtextextended(%s, 0))"
_DUE = """
    INSERT INTO orchestrator_upkeep AS upkeep (name, at) VALUES (%s, now())
    ON CONFLICT (name) DO UPDATE SET at = now()
    WHERE upkeep.at <= now() - make_interval(secs => %s) OR upkeep.at > now()
    RETURNING name"""
_BURY = """
    DELETE FROM orchestrator_workers WHERE heartbeat_at < now() - make_interval(secs => timeout_s)
    RETURNING id, process, host, pid, queue"""


@dataclass(slots=True)
class Reaper:
    """Looks every `tick_s` whether there is a dead worker; who holds the lock acts."""

    pool: AsyncConnectionPool
    jobs: JobManager
    times: WorkerTimes
    rule: GapRule
    lock: str
    sweep: Sweep | None
    upkeep: Sweep
    log: FilteringBoundLogger
    lost: JobHandler | None = None
    """Is told of each job of a dead worker, before another one gets it."""

    async def keep(self) -> None:
        """Look until cancelled, whether the database is there or not."""
        while True:
            try:
                await self.look()
            except* (ConnectorException, psycopg.Error) as errors:
                if not all(is_lost(error) for error in leaves(errors)):
                    raise
            await anyio.sleep(self.times.tick_s)

    async def look(self) -> None:
        """Do what is due, if no other process does."""
        async with self.pool.connection() as connection, connection.transaction():
            # Who is frozen or cut off while it holds the lock would keep all others from ever noticing that.
            await connection.execute(_LIMIT, [f"{self.times.timeout_s * 1000:.0f}ms"])
            row = await (await connection.execute(_LOOK, [self.lock])).fetchone()
            assert row is not None
            now, is_ours = row
            may_reap = self.rule.may_reap(now)
            if is_ours:
                async with anyio.create_task_group() as held:
                    held.start_soon(self._hold, connection)
                    await self._act(connection, may_reap)
                    held.cancel_scope.cancel()

    async def _hold(self, connection: AsyncConnection[Any]) -> None:
        """Show that this process lives, which keeps the lock, until cancelled."""
        while True:
            await anyio.sleep(self.times.timeout_s / 4)
            with anyio.CancelScope(shield=True):  # a statement that is cut off would end the transaction
                await connection.execute("SELECT 1")

    async def _act(self, connection: AsyncConnection[Any], may_reap: bool) -> None:
        if may_reap:
            await self.reap()
        if self.sweep is not None and await _is_due(connection, "sweep", self.times.sweep_s):
            await self._call("sweep", self.sweep)
        if await _is_due(connection, "upkeep", UPKEEP_S):
            await self.jobs.prune_stalled_workers(_FORGET_S)
            await self.jobs.delete_old_jobs(1, include_failed=True, include_cancelled=True, include_aborted=True)
            await self._call("upkeep", self.upkeep)

    async def reap(self) -> None:
        """Give the jobs of workers whose heartbeats are too old to others.

        First their rows go, and with them the leave to say anything: a worker that is only slow finds that out at its
        next heartbeat. Only then are the jobs of those without a row freed. Killed in between, the next reaper goes on.
        """
        dead, alive = await self._bury()
        freed = list[QueuedJob]()
        for job in await self.jobs.get_stalled_jobs(seconds_since_heartbeat=self.times.timeout_s):
            if job.worker_id in alive:
                continue
            if self.lost is not None:
                await self._call("lost", partial(self.lost, job_of(job.task_kwargs)))
            await self._free(job)
            freed.append(job)
        for worker in dead:
            await self.jobs.unregister_worker(worker)
        if dead or freed:
            self.log.warning("worker_dead", workers=len(dead), jobs=len(freed))
        if freed:
            await self._announce({job.queue for job in freed})

    async def _announce(self, queues: Iterable[str]) -> None:
        """Let all workers of the queues ask for work: Procrastinate tells them of new jobs alone."""
        async with self.pool.connection() as connection:
            for channel in get_channel_for_queues(queues):
                await connection.execute("SELECT pg_notify(%s, %s)", (channel, json.dumps(WAKE)))

    async def _free(self, job: QueuedJob) -> None:
        try:
            await self.jobs.retry_job(job, retry_at=LONG_AGO)
        except UniqueViolation:  # it was submitted again while it ran: that one waits, and is enough
            await self.jobs.finish_job(job, Status.FAILED, delete_job=True)
        except ConnectorException as error:
            if not isinstance(error.__cause__, RaiseException):  # it ended in this moment
                raise

    async def _bury(self) -> tuple[Sequence[int], set[int]]:
        async with self.pool.connection() as connection:
            rows: list[Any] = await (await connection.execute(_BURY)).fetchall()
            left = await (await connection.execute("SELECT id FROM orchestrator_workers")).fetchall()
        for worker, process, host, pid, queue in rows:
            self.log.warning("worker_buried", worker=worker, process=process, host=host, pid=pid, queue=queue)
        return [row[0] for row in rows], {worker for (worker,) in left}

    async def _call(self, name: str, call: Sweep) -> None:
        try:
            await call()
        except Exception as error:  # one that fails is logged, and called again when it is due
            self.log.error("cluster_upkeep_failed", what=name, exc_info=error)


async def _is_due(connection: AsyncConnection[Any], name: str, every_s: float) -> bool:
    return await (await connection.execute(_DUE, (name, every_s))).fetchone() is not None
