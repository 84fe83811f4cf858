"""That this process is alive: one row for each queue that it serves, with a heartbeat by the database's clock.

A row that is gone was removed by a reaper, which gave this process's jobs to others: from then on nothing that the
process says may count, so it ends at once. Procrastinate's own heartbeats stop when a worker begins to drain, so they
are sent from here too.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn
from uuid import uuid4

import anyio
import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager
from psycopg_pool import AsyncConnectionPool
from structlog.typing import FilteringBoundLogger

from orchestrator.dispatch.cluster.connections import Persistence, is_lost
from orchestrator.dispatch.cluster.settings import EXIT_FENCED, WorkerTimes

_BEAT = """
    UPDATE orchestrator_workers AS worker
    SET heartbeat_at = now(), busy = said.busy, draining = %s
    FROM unnest(%s::bigint[], %s::integer[]) AS said (id, busy)
    WHERE worker.id = said.id
    RETURNING worker.id"""
_REGISTER = """
    INSERT INTO orchestrator_workers (id, process, host, pid, queue, slots, version, timeout_s)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING"""


@dataclass(slots=True)
class WorkerLease:
    """What this process holds in the name of its workers, each of which is a number of Procrastinate's."""

    pool: AsyncConnectionPool
    jobs: JobManager
    times: WorkerTimes
    persist: Persistence
    exit: Callable[[int], NoReturn]
    log: FilteringBoundLogger
    process: str = field(default_factory=lambda: uuid4().hex)
    draining: bool = False
    _busy: dict[int, Callable[[], int]] = field(default_factory=dict)
    _confirmed: float = 0.0

    async def register(self, worker: int, queue: str, slots: int, busy: Callable[[], int]) -> None:
        """Say that the worker is there; `busy` tells how many jobs it is at."""
        row = (worker, self.process, socket.gethostname(), os.getpid(), queue, slots, procrastinate.__version__)

        async def insert() -> None:
            async with self.pool.connection() as connection:
                await connection.execute(_REGISTER, (*row, self.times.timeout_s))

        await self.persist(insert)
        self._busy[worker] = busy

    async def release(self, worker: int) -> None:
        """Say that the worker is gone; it holds no job."""
        self._busy.pop(worker, None)
        async with self.pool.connection() as connection:
            await connection.execute("DELETE FROM orchestrator_workers WHERE id = %s", [worker])

    async def keep(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await anyio.sleep(self.times.heartbeat_s)
            try:
                await self.persist(self.beat)
            except (ConnectorException, psycopg.Error) as error:
                if not is_lost(error):
                    raise
                self.log.warning("heartbeat_not_sent", process=self.process)  # it stops in an outage

    async def beat(self) -> None:
        """Say that all workers of this process are alive; end the process where one was taken for dead."""
        began, busy = time.monotonic(), {worker: count() for worker, count in self._busy.items()}
        if not busy:
            return
        async with self.pool.connection() as connection:
            done = await connection.execute(_BEAT, (self.draining, list(busy), list(busy.values())))
            alive = {worker for (worker,) in await done.fetchall()}
        if busy.keys() & self._busy.keys() - alive:
            self.lost("its heartbeat is gone")
        self._confirmed = began
        for worker in busy:
            await self.jobs.update_heartbeat(worker)

    async def hold(self) -> None:
        """Return if the jobs of this process are still its own; else end it.

        They are while the last heartbeat is young. A process that was frozen asks the database before it says what
        became of a job: by then that may be another's.
        """
        if time.monotonic() - self._confirmed > self.times.timeout_s / 2:
            await self.beat()

    def lost(self, sign: str) -> NoReturn:
        """End the process: its jobs were given to others."""
        self.log.error("worker_taken_for_dead", process=self.process, sign=sign)
        self.exit(EXIT_FENCED)
