"""Worker processes of a cluster over a real PostgreSQL, and the provider of theirs that counts what it answered."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
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
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.events import Event, RunFinished
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.timing import ClusterTiming
from orchestrator.options import RunOptions
from tests import processes
from tests.orchestrator.crashes import OverSocket, agent
from tests.patience import PATIENCE_S

TIMES = WorkerTimes(heartbeat_s=1, timeout_s=4, grace_s=10, sweep_s=2, tick_s=0.5)
TIMING = ClusterTiming(retry_s=None, heartbeat_s=1, lease_s=4)
STEPS = 5


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


def work(order: WorkerOrder) -> None:
    """Be a worker, until SIGTERM. In a process of its own."""
    anyio.run(_work, order)


async def _work(order: WorkerOrder) -> None:
    options = RunOptions(manager=OverSocket(order.port))
    stop = anyio.Event()

    async def heed() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                stop.set()

    async with open_cluster(order.url, timing=order.timing) as database, anyio.create_task_group() as tasks:
        tasks.start_soon(heed)
        slots = {TASKS: order.tasks, RUNS: order.runs}
        await serve_worker(database, squad_of, options, slots, stop=stop, times=order.times)
        tasks.cancel_scope.cancel()


def squad_of(manifest: RunManifest) -> Squad:
    return Squad.from_text(manifest.text, manifest.file, where_gone=manifest.sources)


@dataclass
class WorkedCluster:
    """The cluster of one test, as the test's process sees it."""

    database: ClusterDatabase
    order: WorkerOrder
    workers: list[ForkServerProcess] = field(default_factory=list)

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

    async def submit(self, squad: dict[str, Any], run: str = "r") -> None:
        given = Squad.from_mapping(squad)
        await submit_run(given, RunOptions(run_id=run), self.database.record_new)

    async def ended(self, run: str = "r") -> RunFinished:
        """Return how the run ended, once it has."""
        with anyio.fail_after(4 * PATIENCE_S):
            while True:
                lines = [line for line in await self.database.journal.runs() if line.run == run]
                if lines and lines[0].status != "running":
                    last = (await self.events(run))[-1].data
                    assert isinstance(last, RunFinished)
                    return last
                await anyio.sleep(0.05)

    async def events(self, run: str = "r") -> list[Event]:
        return list(await self.database.journal.events(run))


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
