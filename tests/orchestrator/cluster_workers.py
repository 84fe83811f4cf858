"""Worker processes of a cluster over a real PostgreSQL, and the provider of theirs that counts what it answered."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from typing import Any

import anyio

from orchestrator import Squad
from orchestrator.cluster.opening import ClusterDatabase, open_cluster
from orchestrator.cluster.serving import serve_worker
from orchestrator.cluster.submission import submit_run
from orchestrator.dispatch.cluster.job import RUNS, TASKS
from orchestrator.dispatch.cluster.settings import EXIT_FENCED, EXIT_STUCK, WorkerTimes
from orchestrator.events import Event, RunFinished
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.timing import ClusterTiming
from orchestrator.options import RunOptions
from providers.limits.ledger.memory import MemoryLedger
from tests import processes
from tests.orchestrator.crashes import OverSocket, agent, paying, squad_for
from tests.patience import PATIENCE_S

TIMES = WorkerTimes(heartbeat_s=1, timeout_s=4, grace_s=10, sweep_s=2, tick_s=0.5)
TIMING = ClusterTiming(retry_s=None, heartbeat_s=1, lease_s=4)
STEPS = 5
SUPERVISED = (EXIT_FENCED, EXIT_STUCK)
"""Exit codes after which a supervisor starts a worker again: any may be taken for dead on a busy machine."""


def fan(units: int, *, at_once: int = 50, **more: Any) -> dict[str, Any]:
    """Return a squad of so many units, each of five turns, one after the other."""
    step = {"agent": "ann", "description": "Do ${{ item }}."}
    return {
        "version": 1,
        "name": "fan",
        "max_parallel": at_once,
        "inputs": {"items": {"type": "list", "default": [f"S-{number}" for number in range(units)]}},
        "agents": {"ann": agent()},
        "tasks": {
            "all": {
                "for_each": "${{ inputs.items }}",
                "key": "${{ item }}",
                "steps": [{"id": f"s{number}", **step} for number in range(STEPS)],
            },
            "end": {"agent": "ann", "needs": ["all"], "description": "End.", "output_file": "end.md"},
        },
        "outputs": {"all": "${{ tasks.all.output }}", "end": "${{ tasks.end.output }}"},
        **more,
    }


@dataclass(frozen=True)
class WorkerOrder:
    """What one worker process is to do: pickled for it."""

    url: str
    port: int
    tasks: int = 25
    runs: int = 5
    times: WorkerTimes = TIMES
    timing: ClusterTiming = TIMING
    clock_s: float = 0.0
    """How many seconds its clock is ahead."""
    squad: str = ""
    """The squad of `crashes.py` that its runs are of; empty: what their record says."""
    note: str = "Note it."
    """What the squad's tool says of itself: another version of the software says something else."""
    is_metered: bool = False
    """Whether its calls reserve for what they may take, as those of a provider with prices do."""


def work(order: WorkerOrder) -> None:
    """Be a worker, until SIGTERM. In a process of its own."""
    anyio.run(_work, order)


async def _work(order: WorkerOrder) -> None:
    answers = paying(order.port, MemoryLedger()) if order.is_metered else OverSocket(order.port)
    options = RunOptions(manager=answers)
    stop = anyio.Event()

    async def heed() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                stop.set()

    async with open_cluster(order.url, timing=order.timing) as database, anyio.create_task_group() as tasks:
        tasks.start_soon(heed)
        slots = {TASKS: order.tasks, RUNS: order.runs}
        await serve_worker(database, squad_by(order), options, slots, stop=stop, times=order.times)
        tasks.cancel_scope.cancel()


def squad_by(order: WorkerOrder) -> Callable[[RunManifest], Squad]:
    def squad_of(manifest: RunManifest) -> Squad:
        if order.squad:
            return squad_for(order.squad, order.port, order.note)
        return Squad.from_text(manifest.text, manifest.file, where_gone=manifest.sources)

    return squad_of


@dataclass
class WorkedCluster:
    """The cluster of one test, as the test's process sees it."""

    database: ClusterDatabase
    order: WorkerOrder
    workers: list[ForkServerProcess] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    """How workers ended that were started again."""

    def start(self, count: int = 1, **more: Any) -> list[ForkServerProcess]:
        """Start workers."""
        new = [processes.start(work, replace(self.order, **more)) for _ in range(count)]
        self.workers += new
        return new

    def kill(self, worker: ForkServerProcess) -> None:
        """End a worker as the machine's failure does."""
        self.workers.remove(worker)
        worker.kill()
        worker.join(PATIENCE_S)

    def freeze(self, worker: ForkServerProcess) -> None:
        _send(worker, signal.SIGSTOP)

    def thaw(self, worker: ForkServerProcess) -> None:
        _send(worker, signal.SIGCONT)

    async def stop(self, worker: ForkServerProcess) -> int:
        """Ask a worker to stop, and return its exit code."""
        self.workers.remove(worker)
        worker.terminate()
        await anyio.to_thread.run_sync(worker.join, PATIENCE_S)
        assert worker.exitcode is not None, "it hangs"
        return worker.exitcode

    def supervise(self) -> None:
        """Start again whom a supervisor would. A worker that ended otherwise has failed."""
        for worker in list(self.workers):
            if worker.exitcode is not None:
                self.workers.remove(worker)
                self.exits.append(worker.exitcode)
                assert worker.exitcode in SUPERVISED, f"a worker ended by itself: {worker.exitcode}"
                self.start()

    async def submit(self, squad: dict[str, Any] | Squad, run: str = "r", **options: Any) -> None:
        given = squad if isinstance(squad, Squad) else Squad.from_mapping(squad)
        await submit_run(given, RunOptions(run_id=run, **options), self.database.record_new)

    async def status(self, run: str = "r") -> str:
        return next((line.status for line in await self.database.journal.runs() if line.run == run), "")

    async def ended(self, run: str = "r", *, but: str = "running") -> RunFinished:
        """Return how the run ended, once it has and nobody works on it any more: its status is neither "running" nor
        `but`."""
        await self.until(lambda: self._is_over(run, but))
        last = (await self.events(run))[-1].data
        assert isinstance(last, RunFinished), "nothing of a run is recorded after its end"
        return last

    async def _is_over(self, run: str, but: str) -> bool:
        if await self.status(run) in ("running", but):
            return False
        return not await self.database.queue.live(run) and not await self.database.journal.is_driven(run)

    async def until(self, holds: Callable[[], Awaitable[Any]]) -> None:
        """Wait until something holds that is asked for, and start again whom a supervisor would."""
        with anyio.fail_after(4 * PATIENCE_S):
            while not await holds():
                self.supervise()
                await anyio.sleep(0.05)

    async def events(self, run: str = "r") -> list[Event]:
        return list(await self.database.journal.events(run))


def _send(worker: ForkServerProcess, number: signal.Signals) -> None:
    assert worker.pid is not None
    os.kill(worker.pid, number)


@asynccontextmanager
async def worked_cluster(url: str, port: int, **more: Any) -> AsyncIterator[WorkedCluster]:
    """Open a cluster without workers; those that were started are gone at the end."""
    async with open_cluster(url, timing=TIMING) as database:
        cluster = WorkedCluster(database, WorkerOrder(url, port, **more))
        try:
            yield cluster
        finally:
            for worker in list(cluster.workers):
                cluster.kill(worker)
