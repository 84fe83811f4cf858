"""What a worker process does with its jobs: drive runs, and work on units of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import structlog
from anyio.abc import TaskGroup

from orchestrator.cluster.lost_work import PlacedJobs, resubmit_lost, wake_at_deadline
from orchestrator.cluster.run_dispatcher import ClusterDispatcher, HandOver
from orchestrator.cluster.unit_host import HostOutdated, SquadOf, UnitHost, open_unit_host
from orchestrator.cluster.waking import resume_answered
from orchestrator.dispatch.cluster.job import Job, JobPutOff
from orchestrator.errors import IsAChat, NoProvider, RunCancelled, RunChanged, RunNotFound, RunOver
from orchestrator.execution import Run
from orchestrator.journal.protocols import RunBusy, SharedJournal
from orchestrator.options import RunOptions
from orchestrator.run.durable import HandedOver
from orchestrator.run_opening import resume_with

IDLE_S = 20.0
"""How long what a run's units need stays open in a process that has none of them."""
CANCEL_POLL_S = 1.0
BUSY_S = 0.25
"""How often it is looked whether a run can be driven that another process holds: it may be dead, its lease fresh."""
BUSY_TRIES = 40
"""After so many looks the job is put off."""
UNABLE_S = 1.0
"""How long a job is kept from others by a process that cannot do it."""
_log = structlog.get_logger("orchestrator.cluster")


@dataclass(slots=True)
class _OpenHost:
    """A run that this process works on: its `host` once that is open, or why it could not be opened."""

    is_ready: anyio.Event = field(default_factory=anyio.Event)
    host: UnitHost | None = None
    failure: Exception | None = None
    users: int = 0
    uses: int = 0


class RunWorker:
    """Does jobs, any number at once. `owner` names this process in claims."""

    def __init__(
        self,
        tasks: TaskGroup,
        journal: SharedJournal,
        hand_over: HandOver,
        cut_off: Callable[[str], Awaitable[object]],
        placed: PlacedJobs,
        squad_of: SquadOf,
        options: RunOptions,
        owner: str,
        out: Path | None = None,
    ) -> None:
        """`out` is a folder that all workers share, for the folders of the runs' files. None: files are in the record
        alone."""
        self._tasks, self._journal, self._hand_over, self._cut_off = tasks, journal, hand_over, cut_off
        self._placed = placed
        self._squad_of, self._options, self._owner, self._out = squad_of, options, owner, out
        self._clock = options.clock or time.time
        self._hosts: dict[str, _OpenHost] = {}
        self._stopping = anyio.Event()

    def stop(self) -> None:
        """Hand all work over: runs are driven, and units worked on, by other processes from here on."""
        self._stopping.set()

    async def do(self, job: Job) -> None:
        """Do a job to its end.

        Raises `JobPutOff` where it is to be done elsewhere, as this process stops or is not of the run's version, or
        later, as another process drives the run; `Fenced` where another one was given the work; and why a run cannot be
        worked on at all.
        """
        if self._stopping.is_set():
            raise JobPutOff
        try:
            if job.unit is None:
                await self._drive_when_free(job.run)
            else:
                await self._work(job)
        except HandedOver:
            raise JobPutOff from None
        except (RunChanged, NoProvider) as error:
            # In this process: another may be of the version that the run began with, or have the keys. The slot is kept
            # for a while, else this worker would take all jobs only to give them back.
            _log.warning("job_is_for_others", run=job.run, error=str(error))
            with anyio.move_on_after(UNABLE_S):
                await self._stopping.wait()
            raise JobPutOff from None
        except RunNotFound:
            _log.warning("run_is_gone", run=job.run)

    # -- runs

    async def _drive_when_free(self, run: str) -> None:
        """Drive a run once no other process does."""
        for _ in range(BUSY_TRIES):
            if not await self._journal.is_driven(run):
                with suppress(RunBusy):  # another process was quicker
                    return await self._drive(run)
            with anyio.move_on_after(BUSY_S):
                await self._stopping.wait()
                break
        raise JobPutOff(BUSY_S)

    async def _drive(self, run: str) -> None:
        """Drive a run until it is over, or waits for a person."""
        manifest = await self._journal.manifest(run)
        dispatcher = ClusterDispatcher(
            run, self._journal, self._hand_over, self._cut_off, self._clock, manifest.priority
        )
        options = replace(self._options_of(run), dispatcher=dispatcher)
        try:
            async with resume_with(self._squad_of(manifest), run, self._journal, options) as opened:
                await self._follow(opened)
        except (RunOver, RunCancelled, IsAChat):
            return

    async def _follow(self, run: Run) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_cancelled, run)
            tasks.start_soon(resume_answered, run, self._journal, self._clock)
            tasks.start_soon(resubmit_lost, run, self._placed)
            tasks.start_soon(self._leave_when_stopping, tasks.cancel_scope)
            async for _ in run:
                pass  # who wants to know reads the journal
            tasks.cancel_scope.cancel()
        if self._stopping.is_set() and not run.has_ended:
            raise JobPutOff
        if run.result.status == "waiting":
            await wake_at_deadline(run, self._journal, self._placed, self._clock())

    async def _leave_when_stopping(self, scope: anyio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

    async def _stop_cancelled(self, run: Run) -> None:
        await self._until_cancelled(run.run_id)
        run.stop()

    async def _until_cancelled(self, run: str) -> None:
        while not await self._journal.cancel_requested(run):  # noqa: ASYNC110  # another process is asked to
            await anyio.sleep(CANCEL_POLL_S)

    # -- units

    async def _work(self, job: Job) -> None:
        assert job.unit is not None
        while True:
            async with self._using(job.run) as host:
                try:
                    return await host.work(job.unit, self._owner, self._stopping.is_set)
                except HostOutdated:
                    self._hosts.pop(job.run, None)  # units that use it still may; the next one opens another

    @asynccontextmanager
    async def _using(self, run: str) -> AsyncIterator[UnitHost]:
        """Yield what works on units of the run, which is opened for the first of them. Raises why it cannot be."""
        if (found := self._hosts.get(run)) is None:
            found = self._hosts[run] = _OpenHost()
            self._tasks.start_soon(self._keep, run, found)
        found.users, found.uses = found.users + 1, found.uses + 1
        try:
            await found.is_ready.wait()
            if found.host is None:
                assert found.failure is not None
                raise found.failure
            yield found.host
        finally:
            found.users -= 1

    async def _keep(self, run: str, kept: _OpenHost) -> None:
        """Keep what a run's units need open until it is not used for a while."""
        try:
            async with (
                open_unit_host(run, self._journal, self._squad_of, self._options_of(run)) as host,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._note_cancelled, host)
                kept.host = host
                kept.is_ready.set()
                uses = -1
                while kept.users or kept.uses != uses:
                    uses = kept.uses
                    await anyio.sleep(IDLE_S)
                self._forget(run, kept)
                tasks.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001  # raised where the host is used; the worker goes on with other runs
            kept.failure, kept.host = error, None
            _log.error("run_cannot_be_worked_on", run=run, error=str(error))
        finally:
            self._forget(run, kept)
            kept.is_ready.set()

    def _forget(self, run: str, kept: _OpenHost) -> None:
        if self._hosts.get(run) is kept:
            del self._hosts[run]

    async def _note_cancelled(self, host: UnitHost) -> None:
        await self._until_cancelled(host.run)
        host.is_cancelled = True

    def _options_of(self, run: str) -> RunOptions:
        out = None if self._out is None else self._out / run
        return replace(self._options, journal=self._journal, out=out)
