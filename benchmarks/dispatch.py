"""The cluster's queue: how soon a job reaches a handler, and how many a second. `python -m benchmarks.dispatch`.

A PostgreSQL of its own with fsync; workers are processes. Times are the machine's monotonic clock, which processes
share: from before `submit` is called until the handler begins.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio

from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.queue import JobQueue
from orchestrator.units import Unit
from tests.postgres import PostgresServer, binaries


def work(url: str, slots: int, file: str) -> None:
    """Be a worker until SIGTERM; then write when each job began, and the CPU that it took."""
    began: dict[str, float] = {}

    async def handle(job: Job) -> None:
        assert job.unit is not None
        began[job.unit.task] = time.monotonic()

    async def serve() -> None:
        stop = anyio.Event()

        async def heed() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    stop.set()

        async with JobQueue(url) as jobs, anyio.create_task_group() as tasks:
            tasks.start_soon(heed)
            await jobs.serve({"tasks": handle}, {"tasks": slots}, stop=stop)
            tasks.cancel_scope.cancel()

    anyio.run(serve)
    used = resource.getrusage(resource.RUSAGE_SELF)
    Path(file).write_text(json.dumps({"began": began, "cpu": used.ru_utime + used.ru_stime}))


class Cluster:
    def __init__(self, url: str, folder: Path, count: int, slots: int) -> None:
        self.files = [folder / f"worker-{number}" for number in range(count)]
        self.processes = [
            multiprocessing.get_context("spawn").Process(target=work, args=(url, slots, str(file)))
            for file in self.files
        ]
        for process in self.processes:
            process.start()

    async def ready(self, jobs: JobQueue) -> None:
        while True:
            if len((await jobs.status()).workers) == len(self.processes):
                return
            await anyio.sleep(0.1)

    def stop(self) -> tuple[dict[str, float], float]:
        """Return when each job began, and the CPU seconds of all workers."""
        for process in self.processes:
            process.terminate()
            process.join()
        said = [json.loads(file.read_text()) for file in self.files]
        return {name: at for one in said for name, at in one["began"].items()}, sum(one["cpu"] for one in said)


async def drained(jobs: JobQueue) -> None:
    while True:
        depth = (await jobs.status()).queues["tasks"]
        if not depth.waiting + depth.running:
            return
        await anyio.sleep(0.5)  # it is counted by itself, and must not be in the way


async def latency(url: str, folder: Path, workers: int, count: int, every_s: float) -> str:
    async with JobQueue(url) as jobs:
        await jobs.prepare()
        cluster = Cluster(url, folder, workers, 50)
        await cluster.ready(jobs)
        sent = {}
        for number in range(count):
            sent[f"t{number}"] = time.monotonic()
            await jobs.submit([Job("r", Unit(f"t{number}"))])
            await anyio.sleep(every_s)
        await drained(jobs)
    began, _ = cluster.stop()
    waits = sorted((began[name] - at) * 1000 for name, at in sent.items())
    cuts = statistics.quantiles(waits, n=100)
    return f"{workers} workers, a job every {every_s * 1000:.0f} ms: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms"


async def throughput(url: str, folder: Path, workers: int, count: int) -> str:
    async with JobQueue(url) as jobs:
        await jobs.prepare()
        batch = [Job("r", Unit(f"t{number}")) for number in range(count)]
        at = time.monotonic()
        await jobs.submit(batch)
        submitted = time.monotonic() - at
        cluster = Cluster(url, folder, workers, 50)
        await drained(jobs)
    began, cpu = cluster.stop()
    times = sorted(began.values())
    rate = count / (times[-1] - times[0])
    return (
        f"{workers} workers, {count} jobs: {rate:.0f} jobs/s, {cpu / count * 1000:.2f} ms of CPU a job in the workers"
        f" (with their start); submitted in {submitted:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--latencies", type=int, default=500)
    given = parser.parse_args()
    folder = binaries()
    if folder is None:
        sys.exit("it needs PostgreSQL: apt-get install postgresql")
    server = PostgresServer(folder, fsync=True)
    server.start()
    try:
        for workers in (1, 3):
            for measure in (
                lambda url, to, n=workers: latency(url, to, n, given.latencies, 0.02),
                lambda url, to, n=workers: throughput(url, to, n, given.jobs),
            ):
                with server.database() as url, tempfile.TemporaryDirectory() as to:
                    print(anyio.run(measure, url, Path(to)), flush=True)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
