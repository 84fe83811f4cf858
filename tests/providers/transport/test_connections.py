"""Which connections serve a second request, by a clock that is an argument."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketAttribute

from providers.transport import KEEP_ALIVE_S
from providers.transport.addresses import Route
from providers.transport.connections import Pool

pytestmark = pytest.mark.anyio


@pytest.fixture
async def route():
    async def hold(stream) -> None:
        async with stream:
            await anyio.sleep_forever()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hold)
        yield Route("127.0.0.1", listener.extra(SocketAttribute.local_port), tls=False, proxy=None)
        tasks.cancel_scope.cancel()


def is_open(connection) -> bool:
    return connection.stream.extra(SocketAttribute.raw_socket).fileno() >= 0


async def test_the_one_that_was_used_last_serves_next(route):
    pool = Pool()
    first, second = await pool.open(route), await pool.open(route)
    await pool.keep(first, 0.0)
    await pool.keep(second, 1.0)
    assert await pool.take(route, 2.0) is second
    assert await pool.take(route, 2.0) is first
    assert await pool.take(route, 2.0) is None
    await pool.aclose()


async def test_one_serves_its_own_route_only(route):
    pool = Pool()
    await pool.keep(await pool.open(route), 0.0)
    assert await pool.take(Route("localhost", route.port, tls=False, proxy=None), 0.0) is None
    assert await pool.take(Route(route.host, route.port, tls=True, proxy=None), 0.0) is None
    await pool.aclose()


async def test_one_that_has_been_idle_for_long_is_closed(route):
    pool = Pool()
    old = await pool.open(route)
    await pool.keep(old, 0.0)
    assert await pool.take(route, KEEP_ALIVE_S + 0.1) is None
    assert not is_open(old)


async def test_those_of_routes_that_nobody_asks_any_more_are_closed_too(route):
    pool = Pool()
    old, new = await pool.open(route), await pool.open(route)
    await pool.keep(old, 1.0)
    other = Route(route.host, route.port, tls=False, proxy=None)
    await pool.keep(new, KEEP_ALIVE_S + 2.0)
    assert not is_open(old)
    assert await pool.take(other, KEEP_ALIVE_S + 2.0) is new
    await pool.aclose()


async def test_all_are_closed_in_the_end_those_in_use_as_well(route):
    pool = Pool()
    idle, busy = await pool.open(route), await pool.open(route)
    await pool.keep(idle, 0.0)
    await pool.aclose()
    assert not is_open(idle)
    assert not is_open(busy)
