"""What a check of limits takes on a shared ledger over loopback: its latency, its round trips, and how many fit in a
second.

`python -m benchmarks.shared_limits LEDGER... [--calls N] [--processes N]`, where LEDGER is the address of a server that
is there for this alone: `redis://127.0.0.1:6379/0`, `postgresql://postgres@127.0.0.1/bench`. A check reserves of a
limit of requests a minute and of a hold, as a turn does, and then also of a cap on a day's money, which PostgreSQL has
on disk when it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from statistics import median
from urllib.parse import urlsplit
from uuid import uuid4

import anyio

from providers.budgets import BudgetRef
from providers.limits.counter import LimitKey
from providers.limits.ledger import Ledger
from providers.limits.ledger.postgres.ledger import PostgresLedger
from providers.limits.ledger.redis import RedisLedger
from providers.limits.reserve import Amounts
from providers.windows import Calendar, Fixed, Rolling

PATIENCE_S = 60.0
AT_ONCE = 16
START_S = 8.0


def opened(address: str) -> Ledger:
    return (RedisLedger if address.startswith("redis") else PostgresLedger)(address, timeout_s=PATIENCE_S)


def meters(*, money: bool) -> Amounts:
    """Return what a turn reserves at a provider with one limit of its own, and where `money` is said of a cap."""
    limit = LimitKey("bench/requests", 1e9, Rolling(60))
    cap = LimitKey("bench/day", 1e12, Calendar("day"), "", BudgetRef("day"))
    hold = LimitKey("bench/hold", 0.0, Fixed(86400))
    return [(limit, 1.0), *([(cap, 100.0)] if money else []), (hold, 0.0)]


async def latencies(address: str, calls: int, *, money: bool) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each reservation and of each settlement, one after the other."""
    ledger, amounts, reserved, settled = opened(address), meters(money=money), list[float](), list[float]()
    await ledger.forget([meter for meter, _ in amounts])
    for number in range(-50, calls):
        lease, began = uuid4().hex, time.perf_counter()
        await ledger.reserve(amounts, lease, time.time(), 60)
        between = time.perf_counter()
        await ledger.settle(amounts, lease, time.time())
        if number >= 0:
            reserved.append((between - began) * 1000)
            settled.append((time.perf_counter() - between) * 1000)
    await ledger.aclose()
    return sorted(reserved), sorted(settled)


class Wire:
    """Passes bytes on to a server, and counts what it is asked: writes that an answer follows."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self.trips, self.open, self._asked = (host, port), 0, 0, False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(*self._to)
        self.open += 1
        await asyncio.gather(self._pass(reader, to_there, asks=True), self._pass(there, writer, asks=False))
        self.open -= 1

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool) -> None:
        while data := await reader.read(1 << 20):
            self.trips += asks and not self._asked
            self._asked = asks
            writer.write(data)
        writer.close()


async def trips(address: str, calls: int) -> float:
    """Return the round trips of a check, over a connection that is open."""
    parts = urlsplit(address)
    wire = Wire(parts.hostname or "127.0.0.1", parts.port or (6379 if parts.scheme == "redis" else 5432))
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    user, at, _ = parts.netloc.rpartition("@")
    ledger = opened(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl())
    amounts = meters(money=True)
    for number in range(20 + calls):  # psycopg prepares a statement in the first ones
        if number == 20:
            wire.trips = 0
        await ledger.reserve(amounts, uuid4().hex, time.time(), 1)
    await ledger.aclose()
    while wire.open:  # noqa: ASYNC110  # no event tells of it
        await asyncio.sleep(0.01)
    server.close()
    return wire.trips / calls


async def flood(address: str, calls: int, *, money: bool, at: float) -> float:
    """Reserve and settle so many times, some at once, from the instant `at` on. Return the seconds that it takes."""
    ledger, amounts = opened(address), meters(money=money)

    async def some() -> None:
        for _ in range(calls // AT_ONCE):
            lease = uuid4().hex
            await ledger.reserve(amounts, lease, time.time(), 60)
            await ledger.settle(amounts, lease, time.time())

    await ledger.usage([meter for meter, _ in amounts], time.time())
    await anyio.sleep(max(0.0, at - time.time()))
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(some)
    seconds = time.perf_counter() - began
    await ledger.aclose()
    return seconds


def rate(address: str, calls: int, processes: int, *, money: bool) -> float:
    """Return how many calls a second (a reservation and its settlement) all processes together get through."""
    told = [sys.executable, "-m", "benchmarks.shared_limits", address, "--calls", str(calls)]
    told += ["--flood", str(time.time() + START_S), *(["--money"] if money else [])]
    children = [subprocess.Popen(told, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return processes * calls / max(float(child.communicate()[0]) for child in children)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("ledgers", nargs="+")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--flood", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--money", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.flood:
        print(anyio.run(lambda: flood(said.ledgers[0], said.calls, money=said.money, at=said.flood)))
        return
    for address in said.ledgers:
        print(f"{urlsplit(address).scheme}: {anyio.run(trips, address, 200):.2f} round trips a check")
        for money in (False, True):
            reserved, settled = anyio.run(lambda a=address, m=money: latencies(a, said.calls, money=m))
            counts = "limit, cap and hold" if money else "limit and hold"
            slow = reserved[len(reserved) * 99 // 100]
            print(f"  {counts}: reserve p50 {median(reserved):.3f} ms, p99 {slow:.3f} ms;", end=" ")
            print(f"settle p50 {median(settled):.3f} ms")
            many = rate(address, said.calls, said.processes, money=money)
            print(f"    {many:.0f} calls/s of {said.processes} processes")


if __name__ == "__main__":
    main()
