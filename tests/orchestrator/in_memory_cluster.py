"""A cluster in one event loop: its jobs in a list, its workers tasks. The journal is the one of the process."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from agents.run_context import Complete
from orchestrator import Squad
from orchestrator.cluster.claiming import disown
from orchestrator.cluster.submission import submit_run
from orchestrator.cluster.worker import RunWorker
from orchestrator.dispatch.cluster.job import Job, JobPutOff
from orchestrator.events import Event
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import RunManifest
from orchestrator.options import RunOptions
from orchestrator.subscribers import Subscriber
from tests.orchestrator.squads import Answers


class InMemoryCluster:
    """`given` is the squad of all its runs."""

    def __init__(self, tasks: TaskGroup, given: Squad, manager: Complete) -> None:
        self.journal = MemoryJournal()
        self.given, self.manager = given, manager
        self.subscribers: list[Subscriber] = []
        self.jobs: deque[Job] = deque()
        self.at_work: dict[Job, str] = {}
        self._works: dict[Job, anyio.CancelScope] = {}
        self._tasks = tasks
        self._changed = anyio.Event()
        self.workers: dict[str, RunWorker] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}

    async def worker(self, name: str, slots: int = 4) -> None:
        """Start a worker."""
        await self._tasks.start(self._serve_all, name, slots)

    async def _serve_all(self, name: str, slots: int, *, task_status: TaskStatus[None]) -> None:
        options = RunOptions(manager=self.manager, clock=anyio.current_time, subscribers=self.subscribers)
        async with anyio.create_task_group() as own:
            made = RunWorker(own, self.journal, self.hand_over, self.cut_off, self, lambda _: self.given, options, name)
            self.workers[name], self._scopes[name] = made, own.cancel_scope
            async with anyio.create_task_group() as served:
                for _ in range(slots):
                    served.start_soon(self._serve, name, made)
                task_status.started()
            own.cancel_scope.cancel()

    async def kill(self, name: str) -> None:
        """End a worker at once: its jobs are another's to do, and its lease on runs is up."""
        del self.workers[name]
        self._scopes.pop(name).cancel()
        await anyio.wait_all_tasks_blocked()

    def kill_soon(self, name: str, slots: int = 4) -> None:
        """Kill a worker as soon as whoever asks for it waits, and start it again a second later."""

        async def replace() -> None:
            if name in self.workers:
                await self.kill(name)
                await anyio.sleep(1)
                await self.worker(name, slots)

        self._tasks.start_soon(replace)

    def stop(self, name: str) -> None:
        """Let a worker hand over its jobs."""
        self.workers.pop(name).stop()
        self._wake()

    async def _serve(self, name: str, worker: RunWorker) -> None:
        while name in self.workers:
            job = next((job for job in self.jobs if job not in self.at_work), None)
            if job is None:
                await self._changed.wait()
            else:
                await self._do(job, name, worker)

    async def _do(self, job: Job, name: str, worker: RunWorker) -> None:
        self.jobs.remove(job)
        self.at_work[job] = name
        is_done = False
        self._works[job] = scope = anyio.CancelScope()
        try:
            with scope:
                await worker.do(job)
            is_done = True
        except JobPutOff:
            await anyio.sleep(0.1)
        finally:
            del self.at_work[job], self._works[job]
            if not is_done:
                if job.unit is not None and name not in self.workers:
                    with anyio.CancelScope(shield=True):  # as the one does that finds the worker dead
                        await disown(self.journal, job.run, job.unit, anyio.current_time)
                self.jobs.append(job)
            self._wake()

    async def hand_over(
        self, run: str, taken: int, events: Sequence[Event], jobs: Sequence[Job], priority: int = 0
    ) -> None:
        assert priority == 0, "its jobs are done in order"
        await self.journal.take_reports(run, taken, events)
        self.jobs += [job for job in jobs if job not in self.jobs]
        self._wake()

    async def live(self, run: str) -> set[Job]:
        return {job for job in (*self.jobs, *self.at_work) if job.run == run}

    async def place(self, run: str, jobs: Sequence[Job], after_s: float = 0.0) -> None:
        async def later() -> None:
            await anyio.sleep(after_s)
            await self.hand_over(run, 0, (), jobs)

        self._tasks.start_soon(later)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so: time passes by itself where all wait."""
        while not is_so():  # noqa: ASYNC110  # of whatever kind
            await anyio.sleep(1)

    async def cut_off(self, run: str) -> None:
        self.jobs = deque(job for job in self.jobs if job.run != run or job.unit is None)
        for job, scope in self._works.items():
            if job.run == run and job.unit is not None:
                scope.cancel()
        while any(job.run == run and job.unit is not None for job in self.at_work):
            await self._changed.wait()

    async def withdraw(self, run: str) -> None:
        await self.cut_off(run)
        assert not any(job.run == run and job.unit for job in self.at_work), "no unit is at work"

    async def start(self, run: str = "r", **options: Any) -> None:
        async def record(name: str, manifest: RunManifest, events: Sequence[Event]) -> None:
            await self.journal.create(name, manifest, events)
            await self.drive(name)

        await submit_run(self.given, RunOptions(run_id=run, clock=anyio.current_time, **options), record)

    async def drive(self, run: str = "r") -> None:
        """Have the run driven on."""
        await self.hand_over(run, 0, (), [Job(run)])

    async def ended(self, run: str = "r") -> Any:
        """Return the run's last event, once no process drives it."""
        while self.jobs or self.at_work:
            await self._changed.wait()
        return (await self.journal.events(run))[-1].data

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


@asynccontextmanager
async def in_memory_cluster(given: Squad, manager: Complete | None = None) -> AsyncIterator[InMemoryCluster]:
    async with anyio.create_task_group() as tasks:
        yield InMemoryCluster(tasks, given, manager or Answers())
        tasks.cancel_scope.cancel()
