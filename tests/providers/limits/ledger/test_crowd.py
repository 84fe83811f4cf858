"""Several router processes on one Redis, against an upstream that keeps its limits itself and counts who gets past."""

from __future__ import annotations

import time

import anyio
import anyio.to_thread
import pytest

from providers.limits.counter import Used
from providers.limits.ledger.fallback import RETRY_S, SHARE
from providers.limits.ledger.redis import TIMEOUT_S, RedisLedger
from providers.limits.rules import allowance
from providers.routing.admission import LATE_S
from tests.patience import PATIENCE_S
from tests.providers.limits.ledger.crowd import Kept, Order, Upstream, crowd, end_of, policy_of

pytestmark = [pytest.mark.long, pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]
PROCESSES = 3
OVERLOAD = 3.0


async def until(instant: float) -> None:
    await anyio.sleep(max(0.0, instant - time.time()))


async def test_three_times_the_load_meets_no_429_and_uses_each_limit(shared_redis):
    most, window, spacing, run = 48, 4.0, 0.5, 14.0
    # Calls are late on their way, each by another time, so a spacing is kept where they leave: of those that leave five
    # in 2.5 seconds seven may arrive in as many. Counts are not touched by that: they are kept to the call.
    kept = {"rolling": Kept(most, window), "fixed": Kept(most, window, fixed=True), "spaced": Kept(7, 5 * spacing)}
    limits = {
        "rolling": {"metric": "requests", "amount": most, "window": window},
        "fixed": {"metric": "requests", "amount": most, "window": window, "fixed": True},
        "spaced": {"metric": "requests", "spacing": spacing},
    }
    offered = OVERLOAD * (2 * most / window + 1 / spacing)
    upstream = Upstream(kept)
    async with upstream.serving() as url:
        order = Order(url, shared_redis.url, limits, run, offered / PROCESSES, patience=4.0)
        async with crowd(order, PROCESSES) as (_, processes):
            told = [await end_of(process) for process in processes]
    assert upstream.violations.total() == 0
    assert [each.limited for each in told] == [0] * PROCESSES
    assert [each.events for each in told] == [[]] * PROCESSES
    spaced = upstream.served["spaced"]
    used = {name: upstream.used(name) for name in ("rolling", "fixed")}
    used["spaced"] = (len(spaced) - 1) * spacing / (spaced[-1] - spaced[0])
    # What a process was late a busy machine took: it is not the routers' to mend.
    late = max(upstream.late, *(each.late for each in told))
    assert min(used.values()) >= 0.95 * (1 - late / run), (used, late)


async def test_of_a_process_that_is_killed_nobody_gets_more_room_until_its_leases_expire(shared_redis):
    most, window, run = 36, 3.0, 10.0
    limits = {"killed": {"metric": "requests", "amount": most, "window": window}}
    upstream = Upstream({"killed": Kept(most, window)}, seconds=0.2)
    async with upstream.serving() as url:
        rate = OVERLOAD * most / window / PROCESSES
        order = Order(url, shared_redis.url, limits, run, rate, patience=4.0)
        async with crowd(order, PROCESSES) as (begins, processes):
            await until(begins + run * 0.3)
            with anyio.fail_after(PATIENCE_S):
                while not upstream.out["0"]:  # noqa: ASYNC110  # no event tells of it
                    await anyio.sleep(0.01)
            processes[0].kill()
            told = [await end_of(process) for process in processes[1:]]
    assert upstream.violations.total() == 0
    assert [(each.limited, each.events) for each in told] == [(0, [])] * (PROCESSES - 1)
    now = time.time()
    used = await usage(order, now)
    assert used.held > 0, "what the killed process had out is taken to be out"
    assert now < used.resets_at <= now + order.patience + LATE_S
    later = await usage(order, used.resets_at + 2 * window)
    assert (later.held, later.used) == (0, 0)


async def usage(order: Order, now: float) -> Used:
    """Return what stands under the first limit, by the clock `now`."""
    _, catalog = policy_of(order)
    (candidate,) = catalog.candidates({})
    bound = allowance(candidate)
    assert bound is not None
    ledger = RedisLedger(order.ledger, own_clock=True)
    try:
        return (await ledger.usage(bound.meters[:1], now))[0]
    finally:
        await ledger.aclose()


async def test_while_redis_is_down_processes_go_on_with_a_bounded_share_and_then_regain(redis_server):
    most, window, run = 40, 2.0, 16.0
    limits = {"lost": {"metric": "requests", "amount": most, "window": window}}
    upstream = Upstream({"lost": Kept(most, window)}, keeps=False)
    async with upstream.serving() as url:
        rate = OVERLOAD * most / window / PROCESSES
        order = Order(url, redis_server.url, limits, run, rate, patience=3.0)
        async with crowd(order, PROCESSES) as (begins, processes):
            ends = begins + run
            await until(begins + 4.0)
            redis_server.kill()
            lost = time.time()
            await until(lost + 5.0)
            back = time.time()
            await anyio.to_thread.run_sync(redis_server.start)
            told = [await end_of(process) for process in processes]
    alone = PROCESSES * SHARE * most
    assert [each.events for each in told] == [["LedgerLost", "LedgerEmptied", "LedgerRegained"]] * PROCESSES
    # Before: the limit. While it is down: their shares, beside what was used before. Anybody who regains it finds what
    # he used alone there, and not yet what the others did. After: the limit.
    assert upstream.most("lost", 0, lost) <= most
    assert upstream.most("lost", 0, ends + window) <= most + alone
    assert 0.5 * alone <= upstream.most("lost", lost + window + TIMEOUT_S, back) <= alone
    again = back + RETRY_S + TIMEOUT_S + window
    assert 0.5 * most <= upstream.most("lost", again, ends + window) <= most
