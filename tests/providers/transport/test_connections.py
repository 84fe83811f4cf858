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


def is_open(connection) -> bool:
    return connection.stream.extra(SocketAttribute.raw_socket).fileno() >= 0


async def test_the_one_that_was_used_last_serves_next(destination):
    pool = Pool()
    first, second = await pool.open(destination), await pool.open(destination)
    await pool.keep(first, 0.0)
    await pool.keep(second, 1.0)
    assert await pool.take(destination, 2.0) is second
    assert await pool.take(destination, 2.0) is first
    assert await pool.take(destination, 2.0) is None
    await pool.aclose()


async def test_one_serves_its_own_route_only(destination):
    pool = Pool()
    await pool.keep(await pool.open(destination), 0.0)
    assert await pool.take(Destination("localhost", destination.port, tls=False, proxy=None), 0.0) is None
    assert await pool.take(Destination(destination.host, destination.port, tls=True, proxy=None), 0.0) is None
    await pool.aclose()


async def test_one_that_has_been_idle_for_long_is_closed(destination):
    pool = Pool()
    old = await pool.open(destination)
    await pool.keep(old, 0.0)
    assert await pool.take(destination, KEEP_ALIVE_S + 0.1) is None
    assert not is_open(old)


async def test_those_of_routes_that_nobody_asks_any_more_are_closed_too(destination):
    pool = Pool()
    old, new = await pool.open(destination), await pool.open(destination)
    await pool.keep(old, 1.0)
    other = Destination(destination.host, destination.port, tls=False, proxy=None)
    await pool.keep(new, KEEP_ALIVE_S + 2.0)
    assert not is_open(old)
    assert await pool.take(other, KEEP_ALIVE_S + 2.0) is new
    await pool.aclose()


async def test_all_are_closed_in_the_end_those_in_use_as_well(destination):
    pool = Pool()
    idle, busy = await pool.open(destination), await pool.open(destination)
    await pool.keep(idle, 0.0)
    await pool.aclose()
    assert not is_open(idle)
    assert not is_open(busy)
