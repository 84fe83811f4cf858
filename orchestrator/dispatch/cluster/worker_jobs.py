"""Procrastinate's view of the jobs as one queue of one process needs it.

A worker of Procrastinate's ends when the database is away, forgets a job whose fetch was committed but not answered,
judges by its own machine's clock when to retry, and misses a notification that comes while it asks for work. It does
all of that through its `JobManager`, which an app lets one set: this one does not.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import psycopg
from procrastinate import BaseConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Notification, Status
from procrastinate.manager import JobManager, NotificationCallback
from psycopg.errors import ForeignKeyViolation, RaiseException
from structlog.typing import FilteringBoundLogger

from orchestrator.dispatch.cluster.connections import RETRY_S, Persistence, is_lost
from orchestrator.dispatch.cluster.lease import WorkerLease

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""When a job is due that may run at once, whatever any clock says."""
MOST_AT_ONCE = 16
"""Jobs that are taken in one trip."""
WAKE: Notification = {"type": "job_inserted", "job_id": 0}
"""A notification that only wakes: no job has this id."""


class WorkerJobs(JobManager):
    """The jobs of one queue for one process. Whatever it asks is asked again until the database answers."""

    def __init__(
        self,
        connector: BaseConnector,
        *,
        queue: str,
        slots: int,
        lease: WorkerLease,
        persist: Persistence,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(connector)
        self._queue, self._slots = queue, slots
        self._lease, self._persist, self._log = lease, persist, log
        self._held = set[int]()
        self._ready = deque[QueuedJob]()
        """Jobs that are ours, and that the worker has not been given yet."""
        self._at_once = 1
        self._notified = 0
        self._doubtful_until = 0.0
        self._tell: NotificationCallback | None = None
        self.stopping = False

    async def register_worker(self) -> int:
        worker = await self._persist(super().register_worker)
        self._held.clear()
        self._ready.clear()
        await self._lease.register(worker, self._queue, self._slots, lambda: len(self._held))
        return worker

    async def unregister_worker(self, worker_id: int) -> None:
        """Take the worker's number back. Where the database is away, it is left to a reaper."""
        try:
            await self._lease.release(worker_id)
            await super().unregister_worker(worker_id)
        except Exception as error:
            if not is_lost(error):
                raise
            self._log.warning("worker_not_unregistered", worker=worker_id, error=type(error).__name__)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Do nothing: the lease sends heartbeats, also while the worker drains."""

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:  # noqa: ARG002
        """Do nothing: each worker does this when it begins, and would rob living peers after an outage."""
        return []

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> QueuedJob | None:
        if not self._ready:
            await self._make_ready(queues, worker_id)
        if self.stopping:
            await self._give_back()
        return self._ready.popleft() if self._ready else None

    async def stop(self) -> None:
        """Take no job any more, and give those back that were taken and have not begun."""
        self.stopping = True
        await self._give_back()

    async def _give_back(self) -> None:
        while self._ready:
            try:
                await self.retry_job(self._ready.popleft(), LONG_AGO)
            except (ConnectorException, psycopg.Error) as error:
                if not is_lost(error):
                    raise  # else it is left to a reaper

    async def _make_ready(self, queues: Iterable[str] | None, worker: int) -> None:
        """Take jobs, if there are any."""
        if time.monotonic() < self._doubtful_until and await self._found_unanswered(worker):
            return
        while not self.stopping:
            notified = self._notified
            try:
                await self._take(queues, worker)
            except ConnectorException as error:
                if isinstance(error.__cause__, ForeignKeyViolation):
                    self._lease.lost("its number is gone")
                if not is_lost(error):
                    raise
                # The fetch may have been committed: then the jobs are ours, and no worker would ever run them.
                self._doubtful_until = time.monotonic() + self._lease.times.timeout_s
                await self._found_unanswered(worker)
            # The worker forgets what it was notified of while it asked: another job may have come since.
            if self._ready or notified == self._notified:
                return

    async def _take(self, queues: Iterable[str] | None, worker: int) -> None:
        """Take as many jobs as there are slots for: one at first, so that a few jobs are shared among workers, then
        twice as many each time, as long as there are enough."""
        asked = max(1, min(self._at_once, self._slots - len(self._held)))
        take = super().fetch_job
        answers = await asyncio.gather(*(take(queues, worker) for _ in range(asked)), return_exceptions=True)
        self._ready += [self._hold(job) for job in answers if isinstance(job, QueuedJob)]
        self._at_once = min(2 * self._at_once, MOST_AT_ONCE) if len(self._ready) == asked else 1
        for error in answers:
            if isinstance(error, BaseException):
                raise error

    async def _found_unanswered(self, worker: int) -> bool:
        """Return whether there are jobs that the database says this worker has, and that it did not know of: they are
        ready now."""
        known = set[int]()

        async def held() -> list[QueuedJob]:
            if self.stopping:
                return []
            # A job may end while the database answers: it is in the answer, and not held any more.
            known.update(self._held)
            return list(await self.list_jobs_async(status=Status.DOING.value, worker_id=worker))

        jobs = await self._persist(held)
        unknown = [self._hold(job) for job in jobs if job.id not in known | self._held]
        self._ready += unknown
        return bool(unknown)

    def _hold(self, job: QueuedJob) -> QueuedJob:
        assert job.id is not None
        self._held.add(job.id)
        return job

    async def finish_job(self, job: QueuedJob, status: Status, delete_job: bool) -> None:
        async def finish() -> None:
            await super(WorkerJobs, self).finish_job(job, status, delete_job)

        await self._say(job, finish)
        # A job that waited for this one's lock was not notified of its end.
        await self.wake()

    async def retry_job(
        self,
        job: QueuedJob,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Let the job run again. `retry_at` is by this machine's clock, which the database's may differ from."""
        delay = timedelta(0) if retry_at is None else retry_at - datetime.now(UTC)

        async def retry() -> None:
            at = LONG_AGO if delay <= timedelta(0) else await self._now() + delay
            try:
                await super(WorkerJobs, self).retry_job(job, at, priority, queue, lock)
            except UniqueViolation:  # it was submitted again while it ran: that one waits, and is enough
                await super(WorkerJobs, self).finish_job(job, Status.FAILED, delete_job=True)

        await self._say(job, retry)

    async def _say(self, job: QueuedJob, how: Any) -> None:
        """Record how a job ended. Where the row is gone or final, somebody removed it, or it was recorded before the
        connection was lost: either way there is nothing left to record."""
        assert job.id is not None
        try:
            await self._persist(how)
        except ConnectorException as error:
            if not isinstance(error.__cause__, RaiseException):
                self._doubt(job, error)
                raise
            self._log.info("job_gone", job=job.id, queue=self._queue)
        except BaseException as error:
            self._doubt(job, error)
            raise
        finally:
            self._held.discard(job.id)

    def _doubt(self, job: QueuedJob, error: BaseException) -> None:
        """Let a job whose end could not be recorded be run again: it would stay ours for ever, as the worker does not
        look at what fails here."""
        self._log.error("job_not_recorded", job=job.id, queue=self._queue, exc_info=error)
        self._doubtful_until = time.monotonic() + self._lease.times.timeout_s

    async def _now(self) -> datetime:
        row = await self.connector.execute_query_one_async("SELECT now() AS now")
        now: datetime = row["now"]
        return now

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:
        async def listed() -> Iterable[int]:
            return await super(WorkerJobs, self).list_jobs_to_abort_async(queue)

        return await self._persist(listed)

    async def cancelled_now(self) -> set[int]:
        """Return the running jobs that are to be cancelled; none while the database is away."""
        try:
            return set(await super().list_jobs_to_abort_async())
        except ConnectorException as error:
            if not is_lost(error):
                raise
            return set()

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Listen until cancelled. What was missed while the database was away is asked for when it is back."""

        async def noted(*, channel: str, notification: Notification) -> None:
            self._notified += 1
            await on_notification(channel=channel, notification=notification)

        self._tell = noted
        while True:
            try:
                await super().listen_for_jobs(on_notification=noted, queues=queues)
            except ConnectorException as error:
                if not is_lost(error):
                    raise
                await anyio.sleep(RETRY_S)
                await self.wake()

    async def wake(self) -> None:
        """Let the worker ask for work now."""
        if self._tell is not None:
            await self._tell(channel="", notification=WAKE)
