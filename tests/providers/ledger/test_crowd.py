"""Several router processes on one Redis, against an upstream that keeps its limit itself and counts who gets past."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
MOST, WINDOW_S = 60, 2.0
FULL = 3
"""Windows that are measured; the run goes on into the next one."""
RUN_S = (FULL + 0.5) * WINDOW_S
TRAVEL_S = 0.3
"""How much longer one call may be on its way than another on a busy machine. A limit is kept where it is counted: a
crowd that got in twice would show by whole calls a window, not by their jitter."""

WORKER = """
import sys, time, anyio
from providers.catalog import load_catalog
from providers.errors import RoutingError
from providers.ledger.redis import RedisLedger
from providers.messages import Needs, Request, user
from providers.policy import parse_policy
from providers.router import open_manager

url, redis, ends = sys.argv[1], sys.argv[2], float(sys.argv[3])
model = {"context": 8192, "max_output": 1024, "price": {"input": 0, "output": 0}}
limits = [{"metric": "requests", "amount": %d, "window": %r}, {"metric": "total", "amount": 1e6, "window": "1d"}]
lab = {"dialect": "openai-chat", "base_url": url, "models": {"small": model}, "limits": limits}
policy, catalog = parse_policy({"tiers": {"worker": ["lab/small"]}, "providers": {"lab": lab}}, load_catalog())

async def caller(manager, told):
    while time.time() < ends:
        request = Request((user("hi"),), max_output_tokens=10, needs=Needs(deadline_s=max(0.1, ends - time.time())))
        try:
            await manager.complete(request)
            told["answers"] += 1
        except RoutingError as error:
            told["429"] += "429" in str(error)

async def main():
    ledger, told = RedisLedger(redis), {"answers": 0, "429": 0}
    async with open_manager(policy, catalog, {}, ledger=ledger) as manager, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(caller, manager, told)
    await ledger.aclose()
    print(told["answers"], told["429"])

anyio.run(main)
""" % (MOST, WINDOW_S)  # noqa: UP031  # braces are everywhere in it


class Upstream:
    """Answers in 10 ms, at most `MOST` times in any window, less `TRAVEL_S`; a call past that gets a 429."""

    def __init__(self) -> None:
        self.times: deque[float] = deque()
        self.served: list[float] = []
        self.violations = 0

    def _admits(self) -> bool:
        now = time.monotonic()
        while self.times and self.times[0] <= now - (WINDOW_S - TRAVEL_S):
            self.times.popleft()
        if len(self.times) >= MOST:
            self.violations += 1
            return False
        self.times.append(now)
        self.served.append(now)
        return True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                admitted = self._admits()
                await asyncio.sleep(0.01)
                message = {"role": "assistant", "content": "ok"}
                answer = {
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
                }
                body = json.dumps(answer if admitted else {"error": {"message": "429"}}).encode()
                status = b"200 OK" if admitted else b"429 Too Many Requests"
                writer.write(b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n" % status)
                writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def test_processes_that_share_a_limit_use_it_and_never_pass_it(shared_redis):
    upstream, ends = Upstream(), time.time() + RUN_S + 1.5  # some time to start in
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    command = [sys.executable, "-c", WORKER, url, shared_redis.url, str(ends)]
    workers = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(3)]
    await asyncio.sleep(RUN_S * 0.7)
    workers[0].kill()  # what it held stays held: nobody is let in on its account
    told = [(await worker.communicate())[0].split() for worker in workers]
    server.close()
    assert [worker.returncode for worker in workers[1:]] == [0, 0]
    assert upstream.violations == 0
    assert [int(refusals) for _, refusals in told[1:]] == [0, 0]
    # As many calls as this take FULL windows where every window is used up. That 95 % of each is used is shown on the
    # virtual clock (test_metering.py); here a busy machine may be late.
    took = upstream.served[FULL * MOST] - upstream.served[0]
    assert FULL * WINDOW_S - TRAVEL_S <= took <= FULL * WINDOW_S / 0.7
