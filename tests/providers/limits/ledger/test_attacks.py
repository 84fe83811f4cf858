"""Four router processes on one ledger that is attacked, against an upstream that counts: the limit while the ledger is
there, the documented bound while it is away, and no call that takes longer than it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.to_thread
import pytest

from providers.limits.ledger.fallback import RETRY_S, SHARE
from providers.limits.ledger.redis import TIMEOUT_S
from tests.freezing import frozen
from tests.postgres import PostgresServer
from tests.providers.limits.ledger.crowd import Kept, Order, Told, Upstream, crowd, end_of
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.long, pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
PROCESSES = 4
MOST, WINDOW_S = 40, 2.0
BEFORE_S, AFTER_S = 4.0, 8.0
PATIENCE = 3.0
Attack = Callable[[], Awaitable[None]]


async def attacked(url: str, attack: Attack) -> tuple[Upstream, list[Told], float, float]:
    """Let all ask three times as much as the limit allows, and attack their ledger in the middle. Return what the
    upstream saw, what each process told, and when the attack began and was over."""
    limits = {"lost": {"metric": "requests", "amount": MOST, "window": WINDOW_S}}
    upstream = Upstream({"lost": Kept(MOST, WINDOW_S)}, keeps=False)
    async with upstream.serving() as address:
        rate = 3.0 * MOST / WINDOW_S / PROCESSES
        order = Order(address, url, limits, BEFORE_S + AFTER_S, rate, PATIENCE)
        async with crowd(order, PROCESSES) as (begins, processes):
            await anyio.sleep(max(0.0, begins + BEFORE_S - time.time()))
            began = time.time()
            await attack()
            over = time.time()
            told = [await end_of(process) for process in processes]
    for each in told:
        assert each.answers > 0
        assert each.slowest <= PATIENCE + 2 * TIMEOUT_S + each.late, "a call took longer than it may"
    return upstream, told, began, over


def check_bounds(upstream: Upstream, began: float, over: float) -> None:
    """Hold that the limit was kept before the ledger went away and after it was back, and the bound meanwhile."""
    ends = over + AFTER_S + 60
    again = over + RETRY_S + TIMEOUT_S + WINDOW_S
    assert upstream.most("lost", 0, began) <= MOST
    assert upstream.most("lost", 0, ends) <= MOST + PROCESSES * SHARE * MOST
    assert 0.5 * MOST <= upstream.most("lost", again, ends) <= MOST


async def test_redis_is_killed_and_comes_back_with_nothing(redis_server: RedisServer):
    async def attack() -> None:
        redis_server.kill()
        await anyio.sleep(2.5)
        await anyio.to_thread.run_sync(redis_server.start)

    upstream, told, began, over = await attacked(redis_server.url, attack)
    check_bounds(upstream, began, over)
    assert [each.events for each in told] == [["LedgerLost", "LedgerEmptied", "LedgerRegained"]] * PROCESSES


async def test_redis_is_killed_and_comes_back_with_what_it_kept(redis_server: RedisServer):
    redis_server.kill()
    redis_server.settings |= {"appendonly": "yes", "appendfsync": "always"}
    redis_server.start()

    async def attack() -> None:
        redis_server.kill()
        await anyio.sleep(2.5)
        await anyio.to_thread.run_sync(redis_server.start)

    upstream, told, began, over = await attacked(redis_server.url, attack)
    check_bounds(upstream, began, over)
    assert [each.events for each in told] == [["LedgerLost", "LedgerRegained"]] * PROCESSES


async def test_redis_stands_still(redis_server: RedisServer):
    async def attack() -> None:
        assert redis_server.process is not None
        with frozen(redis_server.process.pid):
            await anyio.sleep(3.0)

    upstream, told, began, over = await attacked(redis_server.url, attack)
    check_bounds(upstream, began, over)
    assert [each.events for each in told] == [["LedgerLost", "LedgerRegained"]] * PROCESSES


@pytest.mark.parametrize(
    ("harm", "mend"),
    [
        (("CONFIG SET maxmemory 1", "CONFIG SET maxmemory-policy noeviction"), ("CONFIG SET maxmemory 0",)),
        (("REPLICAOF 127.0.0.1 1",), ("REPLICAOF NO ONE",)),
        (("CONFIG SET min-replicas-to-write 1",), ("CONFIG SET min-replicas-to-write 0",)),
    ],
    ids=["out of memory", "readonly", "too few replicas"],
)
async def test_redis_refuses_to_write(redis_server: RedisServer, harm, mend):
    from redis.asyncio import Redis

    async def attack() -> None:
        async with Redis.from_url(redis_server.url) as client:
            for command in harm:
                await client.execute_command(*command.split())
            await anyio.sleep(2.5)
            for command in mend:
                await client.execute_command(*command.split())

    upstream, told, began, over = await attacked(redis_server.url, attack)
    check_bounds(upstream, began, over)
    assert [each.events for each in told] == [["LedgerLost", "LedgerRegained"]] * PROCESSES


async def test_redis_is_emptied_under_way(redis_server: RedisServer):
    """As by a failover to an empty one: nobody is cut off."""
    from redis.asyncio import Redis

    async def attack() -> None:
        async with Redis.from_url(redis_server.url) as client:
            await client.flushall()

    upstream, told, began, over = await attacked(redis_server.url, attack)
    assert [each.events for each in told] == [["LedgerEmptied"]] * PROCESSES
    assert upstream.most("lost", 0, began) <= MOST
    # What each has used it tells with its first call: only what others have used and not told yet is missing there.
    assert upstream.most("lost", 0, over + 60) <= MOST * 1.5
    assert upstream.most("lost", over + WINDOW_S, over + 60) <= MOST


async def test_a_network_between_them_swallows_everything_and_then_breaks(redis_server: RedisServer):
    hole = Hole(redis_server.port)
    async with await asyncio.start_server(hole.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def attack() -> None:
            hole.swallows = True
            await anyio.sleep(3.0)
            hole.cut()
            hole.swallows = False

        upstream, told, began, over = await attacked(f"redis://127.0.0.1:{port}/0", attack)
        hole.cut()
    check_bounds(upstream, began, over)
    assert [each.events for each in told] == [["LedgerLost", "LedgerRegained"]] * PROCESSES


class Hole:
    """A network to a port that may swallow what is sent through it, and cut its connections."""

    def __init__(self, port: int) -> None:
        self._port, self.swallows = port, False
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, to_there}
        await asyncio.gather(self._pass(reader, to_there), self._pass(there, writer))
        self._open -= {writer, to_there}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.swallows:
                    writer.write(data)
        writer.close()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()


@pytest.mark.parametrize("how", ["killed", "stopped", "frozen"])
async def test_postgres_goes_away_and_comes_back(postgres_url: str, postgres_server: PostgresServer, how: str):
    async def attack() -> None:
        assert postgres_server.process is not None
        if how == "frozen":
            with frozen(postgres_server.process.pid):
                await anyio.sleep(3.0)
            return
        await anyio.to_thread.run_sync(postgres_server.kill if how == "killed" else postgres_server.stop)
        await anyio.sleep(2.5)
        await anyio.to_thread.run_sync(postgres_server.start)

    upstream, told, began, over = await attacked(postgres_url, attack)
    check_bounds(upstream, began, over)
    assert [each.events for each in told] == [["LedgerLost", "LedgerRegained"]] * PROCESSES
