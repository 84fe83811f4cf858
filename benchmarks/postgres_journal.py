"""Operations a second of the PostgreSQL journal: begin and finish of steps by many units, over one process and several.

`python -m benchmarks.postgres_journal [--url URL] [--seconds N]`. Without a URL it starts Debian's PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from uuid import uuid4

import anyio

from agents.events import TurnEnded, TurnStarted
from agents.run_context import StepKey
from orchestrator.events import Event
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import Go, Journal
from orchestrator.units import Unit
from providers.messages import FinishReason, Usage
from tests.postgres import PostgresServer, binaries

TEXT = "It was a bright cold day in April, and the clocks were striking thirteen. " * 7
"""Some 500 characters: an answer, which differs in its first word."""
KEY = ("try-1",)
CASES = (
    *((1, 1, 1), (1, 50, 1), (1, 150, 1), (3, 17, 1), (3, 50, 1)),
    *((1, 50, 50), (1, 150, 150), (3, 17, 17), (3, 50, 50)),
)
"""Processes, units of each, runs of each (1: one run of all)."""


async def unit_at_work(journal: Journal, run: str, unit: Unit, until: float, took: list[float]) -> None:
    """Take turns until then: a step and its event begun, then finished with an answer and an event."""
    fence = await journal.claim(run, unit, "bench") or 0
    number = 0
    while time.monotonic() < until:
        number += 1
        key, began = StepKey(KEY, number, "model"), time.perf_counter()
        events = [Event(run, unit, KEY, number, 1, time.time(), TurnStarted("ann", number))]
        told = await journal.begin(run, unit, key, b"h" * 32, fence, events)
        assert told == Go(1)
        between = time.perf_counter()
        ended = TurnEnded("ann", number, "p", "m", Usage(100, output=50), 7, FinishReason.STOP)
        events = [Event(run, unit, KEY, number, 2, time.time(), ended)]
        await journal.finish(run, unit, key, fence, f"{unit.path} {number} {TEXT}", events)
        took += [between - began, time.perf_counter() - between]


async def work(url: str, name: str, units: int, runs: int, start: float, seconds: float) -> tuple[list[float], float]:
    took: list[float] = []
    async with open_journal(url) as journal:
        await journal.append(f"{name}-warm", [])
        await anyio.sleep(max(0.0, start - time.time()))
        until, used = time.monotonic() + seconds, resource.getrusage(resource.RUSAGE_SELF)
        async with anyio.create_task_group() as tasks:
            for number in range(units):
                run = "shared" if runs == 1 else f"{name}-{number % runs}"
                tasks.start_soon(unit_at_work, journal, run, Unit(name, str(number)), until, took)
        now = resource.getrusage(resource.RUSAGE_SELF)
    return took, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def process(told: Queue[tuple[list[float], float]], *given: object) -> None:
    told.put(asyncio.run(work(*given)))  # type: ignore[arg-type]  # as `work` has it


def measure(url: str, processes: int, units: int, runs: int, seconds: float) -> None:
    told: Queue[tuple[list[float], float]] = multiprocessing.get_context("spawn").Queue()
    start = time.time() + 3.0 + processes
    started = [
        multiprocessing.get_context("spawn").Process(
            target=process, args=(told, url, uuid4().hex[:8], units, runs, start, seconds)
        )
        for _ in range(processes)
    ]
    for one in started:
        one.start()
    found = [told.get() for _ in started]
    for one in started:
        one.join()
    took = sorted(second for each, _ in found for second in each)
    cpu = sum(used for _, used in found) / len(took) * 1e6
    what = f"{processes} x {units} units, {'one run' if runs == 1 else 'a run each'}"
    quantiles = statistics.quantiles(took, n=100)
    print(
        f"{what:32} {len(took) / seconds:7,.0f} op/s   p50 {quantiles[49] * 1e3:6.1f} ms   "
        f"p99 {quantiles[98] * 1e3:6.1f} ms   {cpu:5.0f} us of CPU an operation"
    )


@contextmanager
def database(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    folder = binaries()
    assert folder is not None, "apt-get install postgresql"
    server = PostgresServer(folder, fsync=True)
    try:
        server.start()
        with server.database() as made:
            yield made
    finally:
        server.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    with database(given.url) as url:
        for case in CASES:
            measure(url, *case, given.seconds)


if __name__ == "__main__":
    main()
