"""One worker process, until SIGTERM: forked, or `python -m ... ORDER` where its clock is not the machine's. Its
handlers do what a unit's key says."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import time
from functools import partial
from typing import Any


def skew(seconds: float) -> None:
    """Let this process's clock be so many seconds ahead, before anything else is imported."""
    true_time, true_datetime = time.time, dt.datetime

    class Skewed(true_datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return true_datetime.now(tz) + dt.timedelta(seconds=seconds)

    time.time = lambda: true_time() + seconds
    dt.datetime = Skewed  # type: ignore[misc]


ORDER = json.loads(sys.argv[1]) if __name__ == "__main__" else {}
if ORDER.get("clock_s"):
    skew(ORDER["clock_s"])

import anyio  # noqa: E402
import structlog  # noqa: E402

from orchestrator.dispatch.cluster.job import Job  # noqa: E402
from orchestrator.dispatch.cluster.queue import JobQueue  # noqa: E402
from orchestrator.dispatch.cluster.settings import WorkerTimes  # noqa: E402
from orchestrator.journal.protocols import Fenced  # noqa: E402


def perform(order: dict[str, Any], errors: str) -> None:
    """Be a worker, in a process that was forked. What it says is added to a file."""
    said = os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number in (1, 2):
        os.dup2(said, number)
    ORDER.update(order)
    anyio.run(main)


def write(log: str, what: str, job: Job) -> None:
    """Append a line at once and whole, whatever becomes of this process."""
    line = json.dumps([time.monotonic(), os.getpid(), what, job.unit.task if job.unit else ""]) + "\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


async def handle(job: Job) -> None:
    how = (job.unit.key if job.unit else None) or "0"
    write(ORDER["log"], "begin", job)
    try:
        await act(how)
    except anyio.get_cancelled_exc_class():
        write(ORDER["log"], "cancelled", job)
        raise
    except Exception:
        write(ORDER["log"], "failed", job)
        raise
    write(ORDER["log"], "end", job)


async def act(how: str) -> None:
    match how:
        case "fenced":
            raise Fenced("another owner has it")
        case "fenced in a group":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(act, "fenced")
        case "fails":
            raise ValueError("it fails")
        case "blocks":
            time.sleep(10_000)  # noqa: ASYNC251  # what a tool must not do
        case _:
            await anyio.sleep(float(how))


async def freeze(jobs: JobQueue) -> None:
    """Stop this process where it holds the reapers' lock, once others know of it."""
    while True:
        if os.getpid() in {worker.pid for worker in (await jobs.status()).workers}:
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        await anyio.sleep(0.05)


async def main() -> None:
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[structlog.processors.JSONRenderer(default=repr)])
    stop = anyio.Event()

    async def heed() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                stop.set()

    async with JobQueue(ORDER["url"], log=log) as jobs, anyio.create_task_group() as tasks:
        tasks.start_soon(heed)
        await jobs.prepare()
        slots = dict.fromkeys(("runs", "tasks"), ORDER["slots"])
        handlers = {"runs": handle, "tasks": handle}
        await jobs.serve(
            handlers,
            slots,
            stop=stop,
            times=WorkerTimes(**ORDER["times"]),
            fatal=[Fenced],
            sweep=partial(freeze, jobs) if ORDER["freezes"] else None,
        )
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
