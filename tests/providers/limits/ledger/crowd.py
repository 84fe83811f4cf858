"""A crowd of router processes on one ledger, and the upstream that they ask: it keeps its limits itself, and counts.

Run as a program it is one of the processes: `python crowd.py ORDER`, where ORDER is JSON (`Order`). Once it is ready it
says so, and is told when all of them begin.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import anyio
import anyio.to_thread

from providers.catalog.file import load_catalog
from providers.catalog.model import Catalog
from providers.client.manager import open_manager
from providers.errors import RoutingError
from providers.messages import Needs, Request, user
from providers.policy.model import Policy
from providers.policy.parse import parse_policy

ROOT = Path(__file__).parents[4]
TICK_S = 0.01
SOON_S = 0.5


@dataclass(frozen=True)
class Order:
    """What a process is to do: ask `rate` times a second for `seconds`, each with `patience` seconds."""

    url: str
    ledger: str
    limits: Mapping[str, Mapping[str, object]]
    seconds: float
    rate: float
    patience: float


@dataclass
class Told:
    """What became of a process's calls, and what its ledger told."""

    answers: int = 0
    refused: int = 0
    limited: int = 0
    slowest: float = 0.0
    """Seconds of the call that took longest."""
    late: float = 0.0
    """Seconds by which the process was late altogether: a busy machine let them pass."""
    events: list[str] = field(default_factory=list)


# ---- a process


def policy_of(order: Order) -> tuple[Policy, Catalog]:
    """Return the policy of a process: one model of each provider, within its limit."""
    model = {"context": 8192, "max_output": 1024, "price": {"input": 0, "output": 0}}
    rows = {
        name: {
            "dialect": "openai-chat",
            "base_url": f"{order.url}/{name}/v1",
            "models": {"small": model},
            "limits": [limit, {"metric": "total", "amount": 1e9, "window": "1d"}],
        }
        for name, limit in order.limits.items()
    }
    return parse_policy({"tiers": {"worker": [f"{name}/small" for name in rows]}, "providers": rows}, load_catalog())


async def work(order: Order) -> Told:
    policy, catalog = policy_of(order)
    told = Told()

    async def call() -> None:
        request = Request((user("hi"),), max_output_tokens=10, needs=Needs(deadline_s=order.patience))
        began = time.monotonic()
        try:
            await manager.complete(request)
            told.answers += 1
        except RoutingError as error:
            told.refused += 1
            told.limited += "429" in str(error)
        told.slowest = max(told.slowest, time.monotonic() - began)

    def notify(event: object) -> None:
        told.events.append(type(event).__name__)

    async with open_manager(policy, catalog, {"ORCHESTRATOR_LEDGER": order.ledger}, notify=notify) as manager:
        print("ready", flush=True)
        begins = float(await anyio.to_thread.run_sync(sys.stdin.readline))
        async with anyio.create_task_group() as watching:
            watching.start_soon(watch, told)
            async with anyio.create_task_group() as calls:
                for number in range(round(order.rate * order.seconds)):
                    await anyio.sleep(max(0.0, begins + number / order.rate - time.time()))
                    calls.start_soon(call)
            watching.cancel_scope.cancel()
    return told


async def watch(late: Told | Upstream) -> None:
    """Count by how much this process is late, until it is cancelled."""
    while True:
        due = time.monotonic() + TICK_S
        await anyio.sleep(TICK_S)
        late.late += max(0.0, time.monotonic() - due - TICK_S)


@asynccontextmanager
async def crowd(order: Order, processes: int) -> AsyncIterator[tuple[float, list[asyncio.subprocess.Process]]]:
    """Start so many of them, the n-th at the address `/n` of the upstream; whatever happens, none is left.

    Yields the instant at which all of them begin, which is soon, and the processes.
    """
    started = [await _started(replace(order, url=f"{order.url}/{number}")) for number in range(processes)]
    try:
        for process in started:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        begins = time.time() + SOON_S
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"%r\n" % begins)
        yield begins, started
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _started(order: Order) -> asyncio.subprocess.Process:
    command = [sys.executable, str(Path(__file__)), json.dumps(asdict(order))]
    environ = {"PYTHONPATH": str(ROOT)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=environ)


async def end_of(process: asyncio.subprocess.Process) -> Told:
    out, _ = await process.communicate()
    assert process.returncode == 0
    return Told(**json.loads(out))


# ---- the upstream


@dataclass(frozen=True)
class Kept:
    """A limit as the upstream keeps it: `most` calls in any `window` seconds; `fixed`: in each, from the epoch on."""

    most: int
    window: float
    fixed: bool = False


class Upstream:
    """Answers in `seconds`. A call past its limit gets a 429 and is a violation; not `keeps`: it is only counted."""

    def __init__(self, limits: Mapping[str, Kept], *, seconds: float = 0.01, keeps: bool = True) -> None:
        self.limits, self.seconds, self.keeps = limits, seconds, keeps
        self.out: Counter[str] = Counter()
        """Calls that are not answered yet, by the number of their process."""
        self.served: dict[str, list[float]] = defaultdict(list)
        """The instant of each call that was within its limit, by name."""
        self.violations: Counter[str] = Counter()
        self.late = 0.0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        watching = asyncio.create_task(watch(self))
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            watching.cancel()
            server.close()

    def used(self, name: str) -> float:
        """Return the share of the limit that was used, in whole windows since the first call."""
        kept, served = self.limits[name], self.served[name]
        if kept.fixed:
            first, last = served[0] // kept.window + 1, served[-1] // kept.window
            whole = [at for at in served if first * kept.window <= at < last * kept.window]
            return len(whole) / (kept.most * (last - first))
        windows = (len(served) - 1) // kept.most
        return windows * kept.window / (served[windows * kept.most] - served[0])

    def most(self, name: str, begins: float, ends: float) -> int:
        """Return the most calls that any window between two instants has seen."""
        kept = self.limits[name]
        whole = [at for at in self.served[name] if begins <= at < ends]
        return max((bisect_left(whole, at + kept.window) - n for n, at in enumerate(whole)), default=0)

    def _admits(self, name: str) -> bool:
        now, kept, served = time.time(), self.limits[name], self.served[name]
        inside = bisect_left(served, now - now % kept.window) if kept.fixed else bisect_right(served, now - kept.window)
        full = len(served) - inside >= kept.most
        self.violations[name] += full
        if full and self.keeps:
            return False
        served.append(now)
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                process, name = head.decode().split("/", 3)[1:3]
                admitted = self._admits(name)
                self.out[process] += 1
                await asyncio.sleep(self.seconds)
                self.out[process] -= 1
                choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
                usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
                answer = {"choices": [choice], "usage": usage} if admitted else {"error": {"message": "429"}}
                body = json.dumps(answer).encode()
                status = b"200 OK" if admitted else b"429 Too Many Requests"
                writer.write(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n" % status)
                writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


if __name__ == "__main__":
    print(json.dumps(asdict(anyio.run(work, Order(**json.loads(sys.argv[1]))))))
