"""A worker process: it takes jobs from the cluster's queue until it is told to stop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import anyio

from orchestrator.cluster.claiming import disown
from orchestrator.cluster.opening import ClusterDatabase
from orchestrator.cluster.unit_host import SquadOf
from orchestrator.cluster.worker import RunWorker
from orchestrator.dispatch.cluster.job import RUNS, TASKS, Job
from orchestrator.dispatch.cluster.queue import StopSignal
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.journal.protocols import Fenced
from orchestrator.options import RunOptions


async def serve_worker(
    database: ClusterDatabase,
    squad_of: SquadOf,
    options: RunOptions,
    slots: Mapping[str, int],
    *,
    stop: StopSignal,
    times: WorkerTimes | None = None,
    out: Path | None = None,
) -> None:
    """Do jobs, at once so many of each queue as `slots` says, until `stop`; then hand all work over.

    The process ends at once where it finds that its work was given to another one. `out` is a folder that all workers
    share, for the files of the runs; without one, files are in the record alone. Raises `JobQueueUnusable` before a job
    is taken where the database's user may not write what a worker writes.
    """
    await database.queue.check_rights("orchestrator")
    async with anyio.create_task_group() as tasks:
        owner = f"{socket.gethostname()}:{os.getpid()}"
        seams = database.journal, database.hand_over, database.cut_off, database
        worker = RunWorker(tasks, *seams, squad_of, options, owner, out)

        async def stop_worker() -> None:
            await stop.wait()
            worker.stop()

        tasks.start_soon(stop_worker)
        handlers = {RUNS: worker.do, TASKS: worker.do}

        async def lost(job: Job) -> None:
            if job.unit is not None:
                await disown(database.journal, job.run, job.unit, options.clock or time.time)

        await database.queue.serve(
            handlers, slots, stop=stop, times=times, sweep=database.sweep, lost=lost, fatal=(Fenced,)
        )
        tasks.cancel_scope.cancel()
