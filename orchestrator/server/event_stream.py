"""Server-sent events: how an answer that comes in pieces is sent, and what happens when the client leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

KEEP_ALIVE_S = 15.0
"""Of silence, after which a comment is sent: proxies close what is silent."""
SEND_S = 60.0
"""How long a client may take to read a piece. What is behind the pieces is not held for one that never does."""
COMMENT = b": keep-alive\n\n"
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Server-sent events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
"""What the OpenAPI document says of a route that answers with a stream."""

BreakTold = tuple[tuple[type[Exception], ...], Callable[[Exception], bytes]]
"""Which errors may be told in a stream, and what it ends with then."""


def event(data: Any, name: str | None = None) -> bytes:
    """Return one event. `data` is told as JSON in one line."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return head + b"data: " + text.encode("utf-8", "replace") + b"\n\n"


class EventStream(Response):
    """Sends the pieces of `body` as they come, and a comment where nothing does.

    A client that leaves, or reads nothing for `SEND_S`, ends it: the work behind `body` is cancelled, and its sockets
    are closed. Headers wait for the first piece up to `headers_s`. An error before they went is raised, so it has its
    status; one after them is what `broken` makes of it, in the stream. `late` are headers that may be known by then.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        headers: Mapping[str, str] = MappingProxyType({}),
        keep_alive_s: float = KEEP_ALIVE_S,
        *,
        headers_s: float = 0.0,
        broken: BreakTold = ((), lambda _: b""),
        send_s: float = SEND_S,
        late: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        unbuffered = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the second is nginx's word
        super().__init__(None, 200, {**headers, **unbuffered}, self.media_type)
        self._pieces, self._keep_alive_s, self._send_s = pieces, keep_alive_s, send_s
        self._headers_s, self._broken, self._is_begun = headers_s, broken, False
        self._late = late

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's
        write, read = anyio.create_memory_object_stream[bytes](16)
        try:
            async with write, read, anyio.create_task_group() as tasks:
                tasks.start_soon(until_gone, receive, tasks.cancel_scope.cancel)
                tasks.start_soon(self._produce, write)
                await self._send(read, send)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None

    async def _produce(self, write: MemoryObjectSendStream[bytes]) -> None:
        known, told = self._broken
        async with AsyncExitStack() as ends:
            if isinstance(self._pieces, AsyncGenerator):
                ends.push_async_callback(self._pieces.aclose)
            try:
                async for piece in self._pieces:
                    self._is_begun = True  # even where its headers are still on their way
                    await write.send(piece)
            except known as error:
                if not self._is_begun:
                    raise
                await write.send(told(error))
        write.close()  # not where an error was raised: whoever sends would take its end for that of the answer

    async def _send(self, read: MemoryObjectReceiveStream[bytes], send: Send) -> None:
        piece: bytes | None = COMMENT if self._headers_s else b""
        with anyio.move_on_after(self._headers_s):
            piece = await _next(read)
        self._is_begun = True
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in self._late.items()]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        while piece is not None:
            with anyio.move_on_after(self._send_s) as patience:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if patience.cancelled_caught:
                return
            piece = COMMENT
            with anyio.move_on_after(self._keep_alive_s):
                piece = await _next(read)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _next(read: MemoryObjectReceiveStream[bytes]) -> bytes | None:
    """Return the next piece; None after the last."""
    try:
        return await read.receive()
    except anyio.EndOfStream:
        return None


async def until_gone(receive: Receive, cancel: Callable[[], object]) -> None:
    """Wait until the client has closed its connection, and cancel then."""
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel()
