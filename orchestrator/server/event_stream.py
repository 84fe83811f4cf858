"""Server-sent events: how an answer that comes in pieces is sent, and what happens when the client leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

KEEP_ALIVE_S = 15.0
"""Of silence, after which a comment is sent: proxies close what is silent."""
COMMENT = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"


def event(data: Any, name: str | None = None) -> bytes:
    """Return one event. `data` is told as JSON in one line."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return head + b"data: " + text.encode("utf-8", "replace") + b"\n\n"


class EventStream(Response):
    """Sends the pieces of `body` as they come, and a comment where nothing does.

    A client that leaves ends it: the work behind `body` is cancelled, and its sockets are closed.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        headers: Mapping[str, str] = MappingProxyType({}),
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        unbuffered = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the second is nginx's word
        super().__init__(None, 200, {**headers, **unbuffered}, self.media_type)
        self._pieces, self._keep_alive_s = pieces, keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's
        write, read = anyio.create_memory_object_stream[bytes](16)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_gone, receive, tasks.cancel_scope.cancel)
            tasks.start_soon(self._produce, write)
            await self._send(read, send)
            tasks.cancel_scope.cancel()

    async def _produce(self, write: MemoryObjectSendStream[bytes]) -> None:
        async with write:
            async for piece in self._pieces:
                await write.send(piece)

    async def _send(self, read: MemoryObjectReceiveStream[bytes], send: Send) -> None:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        async with read:
            while True:
                piece = COMMENT
                with anyio.move_on_after(self._keep_alive_s):
                    try:
                        piece = await read.receive()
                    except anyio.EndOfStream:
                        break
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_gone(receive: Receive, cancel: Callable[[], object]) -> None:
    """Wait until the client has closed its connection, and cancel then."""
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel()
