"""One connection's bytes, on each event loop: what has come is handed on in time, and no more is read than is taken."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute

from providers.transport.streams import HELD_BYTES, Stream, connect

pytestmark = pytest.mark.anyio
GRACE = 30.0


@asynccontextmanager
async def connected(serve):
    """Yield a stream to a server that does as `serve` says, and is left alone once the stream is closed."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        stream: Stream = await connect("127.0.0.1", listener.extra(SocketAttribute.local_port))
        try:
            yield stream
        finally:
            stream.close()
            tasks.cancel_scope.cancel()


async def echo(stream) -> None:
    async with stream:
        while True:
            try:
                await stream.send(await stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return


async def test_what_was_sent_comes_back_and_then_it_is_quiet():
    async with connected(echo) as stream:
        assert stream.is_quiet()
        for said in (b"one", b"two"):
            await stream.send(said, GRACE)
            assert await stream.receive(GRACE) == said
        assert stream.is_quiet()


async def test_each_wait_has_its_own_limit_a_shorter_one_after_a_longer_one_as_well():
    async with connected(echo) as stream:
        await stream.send(b"x", GRACE)
        assert await stream.receive(GRACE) == b"x"
        for seconds in (0.02, 0.01, 0.03):
            with pytest.raises(TimeoutError):
                await stream.receive(seconds)
        await stream.send(b"y", GRACE)
        assert await stream.receive(GRACE) == b"y"


async def test_a_longer_limit_holds_though_a_shorter_one_was_set_before():
    async def late(stream) -> None:
        async with stream:
            await stream.send(b"1")
            await asked.wait()
            await stream.send(b"2")
            await anyio.sleep_forever()

    asked = anyio.Event()
    async with connected(late) as stream:
        assert await stream.receive(0.04 + GRACE) == b"1"
        with pytest.raises(TimeoutError):
            await stream.receive(0.01)
        asked.set()
        assert await stream.receive(GRACE) == b"2"


async def test_the_end_is_no_bytes_now_and_ever_after():
    async def bye(stream) -> None:
        async with stream:
            await stream.send(b"bye")

    async with connected(bye) as stream:
        got = b""
        while data := await stream.receive(GRACE):
            got += data
        assert got == b"bye"
        assert await stream.receive(GRACE) == b""
        assert not stream.is_quiet()


async def test_a_reader_that_takes_nothing_lets_the_sender_wait():
    async def flood(stream) -> None:
        nonlocal sent
        async with stream:
            while sent < 64 * HELD_BYTES:
                await stream.send(b"x" * HELD_BYTES)
                sent += HELD_BYTES

    sent = 0
    async with connected(flood) as stream:
        await anyio.wait_all_tasks_blocked()
        assert sent < 48 * HELD_BYTES
        got = 0
        while data := await stream.receive(GRACE):
            assert len(data) <= 3 * HELD_BYTES
            got += len(data)
        assert got == 64 * HELD_BYTES


async def test_closing_wakes_whoever_waits():
    async def wait(stream: Stream) -> None:
        nonlocal woke
        try:
            woke = await stream.receive(GRACE) == b""
        except OSError:
            woke = True

    woke = False
    async with connected(echo) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(wait, stream)
        await anyio.wait_all_tasks_blocked()
        stream.close()
    assert woke


async def test_closing_twice_is_harmless():
    async with connected(echo) as stream:
        stream.close()
        stream.close()
