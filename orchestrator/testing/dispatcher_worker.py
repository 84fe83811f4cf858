"""A worker process of the test-suite for dispatchers: `python -m orchestrator.testing.dispatcher_worker ORDER`."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from typing import Any

import anyio

from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.dispatch.jobs import JobDispatcher

FAILS, FENCED = "fails", "fenced"
"""Keys of units whose handlers fail, and find their work taken over."""
FENCED_CODE = 70


class TakenOver(Exception):
    """Stands for the error of a journal that fenced the handler off."""


def opened(factory: str, place: str) -> AbstractAsyncContextManager[JobDispatcher]:
    """Return what `module:name` makes of a place."""
    module, _, name = factory.partition(":")
    make: Callable[[str], AbstractAsyncContextManager[JobDispatcher]] = getattr(import_module(module), name)
    return make(place)


def _write(log: str, what: str, task: str = "") -> None:
    """Append a line at once and whole, whatever becomes of this process."""
    line = json.dumps([time.monotonic(), os.getpid(), what, task]) + "\n"
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def _name(job: Job) -> str:
    """Return a unit's task; with what else tells it apart where its key is no order."""
    if job.unit is None:
        return ""
    if _seconds(job.unit.key) is not None or job.unit.key in (FAILS, FENCED):
        return job.unit.task
    return f"{job.unit.task} {job.unit.key!r} {job.unit.attempt} {job.generation}"


def _seconds(key: str | None) -> float | None:
    try:
        return float(key or "x")
    except ValueError:
        return None


async def _handle(log: str, job: Job) -> None:
    key, name = job.unit.key if job.unit else None, _name(job)
    _write(log, "begin", name)
    try:
        if key == FENCED:
            raise TakenOver
        if key == FAILS:
            raise ValueError("it fails")
        await anyio.sleep(_seconds(key) or 0)
    except anyio.get_cancelled_exc_class():
        _write(log, "cancelled", name)
        raise
    except ValueError:
        _write(log, "failed", name)
        raise
    _write(log, "end", name)


async def _work(order: dict[str, Any]) -> None:
    stop = anyio.Event()

    async def heed() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                stop.set()

    async def sweep() -> None:
        _write(order["log"], "sweep")

    handle = partial(_handle, order["log"])
    async with opened(order["factory"], order["place"]) as dispatcher, anyio.create_task_group() as tasks:
        tasks.start_soon(heed)
        await dispatcher.prepare()
        await dispatcher.serve(
            {"runs": handle, "tasks": handle},
            {"runs": order["slots"], "tasks": order["slots"]},
            stop=stop,
            times=WorkerTimes(**order["times"]),
            sweep=sweep,
            fatal=[TakenOver],
            exit=os._exit,
        )
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(_work, json.loads(sys.argv[1]))
