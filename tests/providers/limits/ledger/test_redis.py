"""Counts on a real Redis: its clock, its crash, and routers that share it against an upstream that counts."""

from __future__ import annotations

import time

import anyio
import pytest

from providers.events import LedgerEmptied, LedgerLost, LedgerRegained
from providers.limits.counter import LimitKey
from providers.limits.ledger import LedgerDown
from providers.limits.ledger.fallback import RETRY_S, FallbackLedger
from providers.limits.ledger.redis import PREFIX, RedisLedger
from providers.limits.reserve import NoRoom
from providers.windows import Calendar, Rolling
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]  # what its client runs on


def patient(url: str, *, prefix: str = PREFIX) -> RedisLedger:
    """Return a ledger to which a busy machine is no outage."""
    return RedisLedger(url, prefix=prefix, timeout_s=PATIENCE_S)


async def test_it_goes_by_the_servers_clock(shared_redis):
    meter = LimitKey("clock", 2, Rolling(3600))
    right, wrong = patient(shared_redis.url), patient(shared_redis.url)
    now = time.time()
    assert await right.reserve([(meter, 1)], "a", now, 60) is None
    assert await wrong.reserve([(meter, 1)], "b", now - 1e6, 60) is None
    await right.settle([(meter, 1)], "a", now)
    await wrong.settle([(meter, 1)], "b", now - 1e6)
    for ledger, its_now in ((right, now), (wrong, now - 1e6)):
        refused = await ledger.reserve([(meter, 1)], "c", its_now, 60)
        assert isinstance(refused, NoRoom)
        assert refused.until == pytest.approx(its_now + 3630, abs=31)  # on the clock of whoever asked
        await ledger.aclose()


@pytest.mark.parametrize("error_s", [0.0, 40 * 86400.0, -40 * 86400.0])
async def test_a_day_is_the_servers_day(shared_redis, error_s):
    meter = LimitKey(f"day {error_s}", 1, Calendar("day"))
    ledger, now = patient(shared_redis.url), time.time() + error_s
    assert await ledger.reserve([(meter, 1)], "a", now, 60) is None
    await ledger.settle([(meter, 1)], "a", now)
    (seen,) = await ledger.usage([meter], now)
    left = 86400 - time.time() % 86400
    assert (seen.used, seen.resets_at - now) == (1, pytest.approx(left, abs=5))
    await ledger.aclose()


async def test_a_crowd_that_asks_at_once_is_no_outage(shared_redis):
    meter, ledger = LimitKey("crowd", 1000, Rolling(3600)), patient(shared_redis.url)
    async with anyio.create_task_group() as tasks:
        for number in range(500):
            tasks.start_soon(ledger.reserve, [(meter, 1)], f"{number}", time.time(), 60)
    assert (await ledger.usage([meter], time.time()))[0].used == 500
    await ledger.aclose()


async def test_connections_that_the_server_has_let_go_of_are_no_outage_and_what_it_forgot_it_is_told(redis_server):
    events = []
    meter, ledger = (
        LimitKey("idle", 1000, Rolling(3600)),
        FallbackLedger(patient(redis_server.url), emit=events.append),
    )
    for _round in range(2):
        async with anyio.create_task_group() as tasks:
            for _ in range(40):  # on all of its connections
                tasks.start_soon(ledger.spend, [(meter, 1)], time.time())
        redis_server.kill()
        redis_server.start()
    assert (await ledger.usage([meter], time.time()))[0].used == 80
    assert events == [LedgerEmptied(), LedgerEmptied()]
    await ledger.aclose()


async def test_keys_are_gone_when_they_cannot_matter_any_more(shared_redis):
    from redis.asyncio import Redis

    meter, ledger = LimitKey("short lived", 1, Rolling(10)), patient(shared_redis.url, prefix="t:")
    await ledger.reserve([(meter, 1)], "a", time.time(), 60)
    await ledger.aclose()
    async with Redis.from_url(shared_redis.url) as client:
        for key in ("t:short lived", "t:short lived|leases"):
            assert 60 < await client.ttl(key) <= 150


async def test_a_lease_lasts_although_shorter_ones_come_after_it(shared_redis):
    from redis.asyncio import Redis

    meter, ledger = LimitKey("long lease", 5, Rolling(10)), patient(shared_redis.url, prefix="u:")
    await ledger.reserve([(meter, 1)], "a", time.time(), 3600)
    await ledger.reserve([(meter, 1)], "b", time.time(), 1)
    await ledger.settle([(meter, 1)], "b", time.time())
    await ledger.aclose()
    async with Redis.from_url(shared_redis.url) as client:
        for key in ("u:long lease", "u:long lease|leases"):
            assert await client.ttl(key) > 3600


async def test_a_thousand_calls_that_are_out_make_no_call_slow(shared_redis):
    """As many may be out in a cluster under one cap, and the server does one thing at a time."""
    from redis.asyncio import Redis

    meter, ledger = LimitKey("many out", 1e6, Rolling(3600)), patient(shared_redis.url, prefix="v:")
    for number in range(1000):
        await ledger.reserve([(meter, 1)], f"{number}", time.time(), 3600)
    async with Redis.from_url(shared_redis.url) as client:
        assert await client.strlen("v:many out") < 200
    (seen,) = await ledger.usage([meter], time.time())
    assert (seen.used, seen.held) == (1000, 1000)
    await ledger.aclose()


async def test_a_server_that_is_killed_and_comes_back(redis_server):
    events, clock = [], time.time()
    meter = LimitKey("k", 40, Rolling(3600))
    ledger = FallbackLedger(patient(redis_server.url), emit=events.append)
    assert not isinstance(await ledger.reserve([(meter, 1)], "a", clock, 60), NoRoom)
    redis_server.kill()
    granted = 0
    while not isinstance(await ledger.reserve([(meter, 1)], f"b{granted}", clock, 60), NoRoom):
        await ledger.settle([(meter, 1)], f"b{granted}", clock)
        granted += 1
    assert granted == 10
    assert [type(event) for event in events] == [LedgerLost]
    redis_server.start()
    await ledger.reserve([(meter, 1)], "c", clock + RETRY_S, 60)
    assert [type(event) for event in events] == [LedgerLost, LedgerEmptied, LedgerRegained]
    (seen,) = await ledger.usage([meter], clock + RETRY_S)
    assert (seen.used, seen.held) == (12, 2)
    await ledger.aclose()


async def test_a_server_that_does_not_answer_is_down_within_its_time_out(unused_silence):
    ledger = RedisLedger(f"redis://127.0.0.1:{unused_silence}/0")
    with anyio.fail_after(PATIENCE_S), pytest.raises(LedgerDown):
        await ledger.usage([LimitKey("k", 1, Rolling(1))], time.time())
    await ledger.aclose()


@pytest.fixture
def unused_silence():
    """A port that accepts and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
