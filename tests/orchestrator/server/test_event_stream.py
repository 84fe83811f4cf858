"""A stream of events to a client: what breaks before its headers and after, who is silent, who does not read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from orchestrator.server.event_stream import COMMENT, EventStream, event
from tests.event_loops import VIRTUAL

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", [VIRTUAL], indirect=True)]
BROKEN = ((ValueError,), lambda error: event({"error": str(error)}))


class Client:
    """Takes what is sent; `reads` False: it takes the headers, and nothing more."""

    def __init__(self, *, reads: bool = True) -> None:
        self.told: list[dict[str, Any]] = []
        self._reads = reads

    async def ask(self, stream: EventStream) -> bytes:
        await stream({"type": "http"}, anyio.sleep_forever, self._take)
        return b"".join(one.get("body", b"") for one in self.told)

    async def _take(self, message: Any) -> None:
        if not self._reads and message["type"] == "http.response.body":
            await anyio.sleep_forever()
        self.told.append(message)


async def after(seconds: float, *said: bytes, closed: list[str] | None = None) -> AsyncIterator[bytes]:
    try:
        await anyio.sleep(seconds)
        for one in said:
            yield one
        raise ValueError("it broke")
    finally:
        (closed if closed is not None else []).append("closed")


async def test_what_breaks_before_the_headers_is_raised() -> None:
    client = Client()
    with pytest.raises(ValueError, match="it broke"):
        await client.ask(EventStream(after(5), headers_s=10, broken=BROKEN))
    assert client.told == []


async def test_who_waits_long_hears_comments_and_then_the_error_in_the_stream() -> None:
    told = await Client().ask(EventStream(after(50), headers_s=10, broken=BROKEN))
    assert told == COMMENT * 3 + b'data: {"error":"it broke"}\n\n'


async def test_what_breaks_after_a_piece_ends_the_stream_with_an_error() -> None:
    assert await Client().ask(EventStream(after(5, b"a", b"b"), headers_s=10, broken=BROKEN)) == (
        b'abdata: {"error":"it broke"}\n\n'
    )


async def test_a_fault_of_the_servers_own_is_told_in_the_stream_and_raised() -> None:
    async def faulty() -> AsyncIterator[bytes]:
        yield b"a"
        raise RuntimeError("it is no good")

    client = Client()
    with pytest.raises(RuntimeError):
        await client.ask(EventStream(faulty(), headers_s=10, broken=BROKEN))
    assert b"".join(one.get("body", b"") for one in client.told) == b'adata: {"error":"it is no good"}\n\n'


async def test_a_client_that_does_not_read_holds_nothing() -> None:
    closed: list[str] = []
    client = Client(reads=False)
    await client.ask(EventStream(after(0, *[b"x"] * 99, closed=closed), headers_s=10, broken=BROKEN))
    assert (len(client.told), closed) == (1, ["closed"])
