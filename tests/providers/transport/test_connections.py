"""Which connections serve a second request, by a clock that is an argument."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketAttribute

from providers.transport import KEEP_ALIVE_S
from providers.transport.addresses import Destination
from providers.transport.connections import Pool

pytestmark = pytest.mark.anyio


@pytest.fixture
async def destination():
    async def hold(stream) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hold)
        yield Destination("127.0.0.1", listener.extra(SocketAttribute.local_port), tls=False, proxy=None)
        tasks.cancel_scope.cancel()


async def is_open(stream) -> bool:
    """Whether it can still wait for what nobody sends."""
    try:
        return bool(await stream.receive(0.01))
    except TimeoutError:
        return True
    except OSError:
        return False


async def test_the_one_that_was_used_last_serves_next(destination):
    pool = Pool()
    first, second = await pool.open(destination, 5.0), await pool.open(destination, 5.0)
    pool.keep(destination, first, 0.0)
    pool.keep(destination, second, 1.0)
    assert pool.take(destination, 2.0) is second
    assert pool.take(destination, 2.0) is first
    assert pool.take(destination, 2.0) is None
    await pool.aclose()


async def test_one_serves_its_own_route_only(destination):
    pool = Pool()
    pool.keep(destination, await pool.open(destination, 5.0), 0.0)
    assert pool.take(Destination("localhost", destination.port, tls=False, proxy=None), 0.0) is None
    assert pool.take(Destination(destination.host, destination.port, tls=True, proxy=None), 0.0) is None
    await pool.aclose()


async def test_one_that_has_been_idle_for_long_is_closed(destination):
    pool = Pool()
    old = await pool.open(destination, 5.0)
    pool.keep(destination, old, 0.0)
    assert pool.take(destination, KEEP_ALIVE_S + 0.1) is None
    assert not await is_open(old)


async def test_those_of_routes_that_nobody_asks_any_more_are_closed_too(destination):
    pool = Pool()
    old, new = await pool.open(destination, 5.0), await pool.open(destination, 5.0)
    pool.keep(destination, old, 1.0)
    other = Destination(destination.host, destination.port, tls=False, proxy=None)
    pool.keep(destination, new, KEEP_ALIVE_S + 2.0)
    assert not await is_open(old)
    assert pool.take(other, KEEP_ALIVE_S + 2.0) is new
    await pool.aclose()


async def test_all_are_closed_in_the_end_those_in_use_as_well(destination):
    pool = Pool()
    idle, busy = await pool.open(destination, 5.0), await pool.open(destination, 5.0)
    pool.keep(destination, idle, 0.0)
    await pool.aclose()
    assert not await is_open(idle)
    assert not await is_open(busy)
