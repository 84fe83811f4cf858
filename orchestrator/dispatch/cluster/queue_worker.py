"""One queue in one process: a worker of Procrastinate's with slots of its own, begun again whenever it ends unasked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import anyio
from procrastinate import App, BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.job_context import AbortReason
from procrastinate.jobs import DeleteJobCondition
from procrastinate.jobs import Job as QueuedJob
from psycopg_pool import AsyncConnectionPool
from structlog.typing import FilteringBoundLogger

from orchestrator.dispatch.cluster.connections import RETRY_S, Persistence
from orchestrator.dispatch.cluster.grouping import GroupingConnector
from orchestrator.dispatch.cluster.job import Job, JobHandler, JobPutOff, delay_s, job_of
from orchestrator.dispatch.cluster.lease import WorkerLease
from orchestrator.dispatch.cluster.settings import EXIT_FENCED, WorkerTimes
from orchestrator.dispatch.cluster.worker_jobs import LONG_AGO, WorkerJobs

TASK = "orchestrator.job"
"""The one task that Procrastinate knows: what a job is stands in its arguments."""
_NEVER_S = 1e9


@dataclass(frozen=True, slots=True)
class QueueService:
    """How one process serves one queue. An exception of a kind in `fatal` is never reported as the job's: the process
    ends by `exit` first."""

    queue: str
    slots: int
    handler: JobHandler
    times: WorkerTimes
    fatal: tuple[type[BaseException], ...]
    exit: Callable[[int], NoReturn]
    log: FilteringBoundLogger


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[Any]
    job: Job
    is_cancelled: bool = False
    """Its run was cancelled, rather than its worker stopped."""


class _Again(BaseRetryStrategy):
    """A job that did not end well runs again: at once where its worker stopped, where it was put off after that time,
    else later and later."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision:
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_at=LONG_AGO)
        after_s = exception.after_s if isinstance(exception, JobPutOff) else delay_s(job.attempts)
        return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=after_s) if after_s else LONG_AGO)


TOLD_AGAIN_S = 3.0
"""After how long without a job a worker that does not stop is told to once more."""


@dataclass(slots=True)
class QueueWorker:
    """Runs the jobs of a queue, `slots` at a time, each in the handler."""

    service: QueueService
    pool: AsyncConnectionPool
    lease: WorkerLease
    persist: Persistence
    _running: dict[int, _Running] = field(default_factory=dict, init=False)
    jobs: WorkerJobs = field(init=False)
    _app: App = field(init=False)

    def __post_init__(self) -> None:
        connector = GroupingConnector(before=self.lease.hold)
        self._app = App(connector=connector)
        self.jobs = self._app.job_manager = WorkerJobs(
            connector,
            queue=self.service.queue,
            slots=self.service.slots,
            lease=self.lease,
            persist=self.persist,
            log=self.service.log,
        )

        async def run(context: JobContext, /, **arguments: Any) -> None:
            await self._run(context, job_of(arguments))

        self._app.task(name=TASK, pass_context=True, retry=_Again())(run)

    async def serve(self, stop: anyio.Event) -> None:
        """Run jobs until `stop` is set, and return once none is left. Cancelled, it cancels them all at once."""
        await self._app.open_async(self.pool)
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                worker = asyncio.ensure_future(self._work())
                await self._until_ended(worker, stopped)
                if not stop.is_set():
                    error = None if worker.cancelled() else worker.exception()
                    self.service.log.error("worker_ended_unasked", queue=self.service.queue, exc_info=error)
                    await anyio.sleep(RETRY_S)
        finally:
            stopped.cancel()

    async def _until_ended(self, worker: asyncio.Future[None], stopped: asyncio.Future[Any]) -> None:
        # A future of asyncio's own is cancelled once: a scope of anyio's would cancel what waits in it again and again,
        # and so cut the worker's own wait for its jobs short.
        try:
            await asyncio.wait({worker, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not worker.done():
                worker.cancel()
                await self.jobs.stop()
                await self._drain(worker)
        except asyncio.CancelledError:
            self.jobs.stopping = True
            worker.cancel()
            for running in list(self._running.values()):
                running.task.cancel()
            with anyio.CancelScope(shield=True):
                await self.jobs.stop()
                await asyncio.wait({worker})
            raise

    async def _drain(self, worker: asyncio.Future[None]) -> None:
        """Wait for a stopping worker's jobs. It listens no more, so whether a run was cancelled is asked for it.

        One that had only just begun may have missed that it is to stop: it is told again while it has no job.
        """
        idle_since = time.monotonic()
        while not worker.done():
            await asyncio.wait({worker}, timeout=self.service.times.poll_s)
            if not worker.done() and self._running:
                idle_since = time.monotonic()
                for number in await self.jobs.cancelled_now() & self._running.keys():
                    self._cancel(self._running[number])
            elif time.monotonic() - idle_since > TOLD_AGAIN_S:
                worker.cancel()
                idle_since = time.monotonic()

    def _cancel(self, running: _Running) -> None:
        if not running.is_cancelled:
            running.is_cancelled = True
            running.task.cancel()

    async def _work(self) -> None:
        times = self.service.times
        await self._app.run_worker_async(
            queues=[self.service.queue],
            name=self.service.queue,
            concurrency=self.service.slots,
            fetch_job_polling_interval=times.poll_s,
            abort_job_polling_interval=times.poll_s,
            shutdown_graceful_timeout=times.grace_s,
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            update_heartbeat_interval=_NEVER_S,
            stalled_worker_timeout=_NEVER_S,
        )

    async def _run(self, context: JobContext, job: Job) -> None:
        number, task = context.job.id, asyncio.current_task()
        assert number is not None
        assert task is not None
        running = self._running[number] = _Running(task, job)
        try:
            await self.service.handler(job)
        except BaseException as error:
            if self._is_fatal(error):
                self.service.log.error("worker_fenced", job=job, error=type(error).__name__)
                self.service.exit(EXIT_FENCED)
            is_cancelled = isinstance(error, asyncio.CancelledError)
            if running.is_cancelled or context.abort_reason() is AbortReason.USER_REQUEST:
                if not is_cancelled:
                    self.service.log.warning("job_failed_when_cancelled", job=job, exc_info=error)
                raise JobAborted from None
            if is_cancelled and (self.jobs.stopping or context.should_abort()):
                raise
            if isinstance(error, JobPutOff):
                raise
            self.service.log.error("job_failed", job=job, attempts=context.job.attempts + 1, exc_info=error)
            if is_cancelled:  # neither by a stop nor by a cancel of ours: it is to run again later, not at once
                raise RuntimeError("the handler was cancelled from within") from error
            raise
        finally:
            del self._running[number]

    def _is_fatal(self, error: BaseException) -> bool:
        """Return whether an error is fatal, or one in a group of a handler's task group is."""
        if isinstance(error, BaseExceptionGroup):
            return error.subgroup(self.service.fatal) is not None
        return isinstance(error, self.service.fatal)
