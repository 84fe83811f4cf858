"""Server-sent events: how an answer that comes in pieces is sent, and what happens when the client leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from orchestrator.server.json_text import as_json

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
    return head + b"data: " + as_json(data) + b"\n\n"


class EventStream(Response):
    """Sends the pieces of `body` as they come, and a comment where nothing does.

    A client that leaves, or reads nothing for `SEND_S`, ends it: the work behind `body` is cancelled, and its sockets
    are closed. Headers wait for the first piece up to `headers_s`. An error before they went is raised, so it has its
    status; one after them is what `broken` makes of it, in the stream, and is raised as well where it is none of those.
    `late` are headers that may be known by then. One whose task is cancelled, as the server stops, ends with what `cut`
    gives.
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
        cut: Callable[[], bytes] | None = None,
    ) -> None:
        unbuffered = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the second is nginx's word
        super().__init__(None, 200, {**headers, **unbuffered}, self.media_type)
        self._pieces, self._keep_alive_s, self._send_s = pieces, keep_alive_s, send_s
        self._headers_s, self._broken, self._late, self._cut = headers_s, broken, late, cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's
        line = ClientLine(send, self._opening)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(until_gone, receive, tasks.cancel_scope.cancel)
                tasks.start_soon(self._keep, line, tasks.cancel_scope.cancel)
                await self._tell(line)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None
        except anyio.get_cancelled_exc_class():
            if self._cut is None or not line.is_open or line.is_ended:
                raise
            await line.say(self._cut())
            await line.say(b"", more=False)

    def _opening(self) -> Message:
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in self._late.items()]
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}

    async def _tell(self, line: ClientLine) -> None:
        known, told = self._broken
        async with AsyncExitStack() as ends:
            if isinstance(self._pieces, AsyncGenerator):
                ends.push_async_callback(self._pieces.aclose)
            try:
                async for piece in self._pieces:
                    await line.say(piece)
            except known as error:
                if not line.is_open:
                    raise
                await line.say(told(error))
            except Exception as error:
                if known and line.is_open:  # a fault of ours: its client is told of it, its log what it is
                    await line.say(told(error))
                raise
        await line.say(b"", more=False)

    async def _keep(self, line: ClientLine, end: Callable[[], object]) -> None:
        """Open the line in time, say something where nothing is said, and end it where nothing is read."""
        if not self._headers_s:
            await line.say(b"")
        due = anyio.current_time() + (self._keep_alive_s if line.is_open else self._headers_s)
        while True:
            # Nobody tells it that a send began: it looks as often as one may take.
            await anyio.sleep(min(due - anyio.current_time(), self._send_s))
            now = anyio.current_time()
            if line.sends_since is not None:
                due = line.sends_since + self._send_s
            elif line.is_open:
                due = line.said_at + self._keep_alive_s
            if now < due:
                continue
            if line.sends_since is not None:
                end()
                return
            with anyio.move_on_after(self._send_s) as patience:
                await line.say(COMMENT)
            if patience.cancelled_caught:
                end()
                return
            due = now + self._keep_alive_s


class ClientLine:
    """What is said to a client. Two may say something: each piece goes out whole."""

    def __init__(self, send: Send, opening: Callable[[], Message]) -> None:
        self._send, self._opening, self._lock = send, opening, anyio.Lock(fast_acquire=True)
        self.is_open = self.is_ended = False
        self.said_at = 0.0
        self.sends_since: float | None = None
        """Since when a piece waits to be read; None: none does."""

    async def say(self, piece: bytes, *, more: bool = True) -> None:
        """Send a piece, after the headers."""
        async with self._lock:
            self.said_at = self.sends_since = anyio.current_time()
            if not self.is_open:
                self.is_open = True
                await self._send(self._opening())
            await self._send({"type": "http.response.body", "body": piece, "more_body": more})
            self.sends_since, self.is_ended = None, not more


async def until_gone(receive: Receive, cancel: Callable[[], object]) -> None:
    """Wait until the client has closed its connection, and cancel then."""
    while (await receive())["type"] != "http.disconnect":
        pass
    cancel()
