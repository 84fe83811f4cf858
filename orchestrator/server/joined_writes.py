"""What is written to a connection in one turn of the event loop goes out at once: an answer's head with its body, and
the pieces of a stream that come together. Each write of a socket costs both sides more than what most answers hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

MOST_HELD = 32 * 1024
"""Bytes: with so many, it is written at once."""


class JoinedWrites(asyncio.Transport):
    """A connection that writes what it was given when the event loop's turn ends, `flush` is called, or it is much."""

    def __init__(self, transport: asyncio.Transport, soon: Callable[[Callable[[], None]], object]) -> None:
        super().__init__()
        self._transport, self._soon = transport, soon
        self._held: list[bytes | bytearray | memoryview] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._held:
            self._soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._transport.write(b"".join(held))

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._held.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()


def joining(protocol: Any) -> Any:
    """Return a protocol of uvicorn's that joins its writes."""

    class Joining(protocol):  # type: ignore[misc]
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            writes = JoinedWrites(cast(asyncio.Transport, transport), asyncio.get_running_loop().call_soon)
            super().connection_made(writes)

        def on_response_complete(self) -> None:
            self.transport.flush()  # nothing follows: it need not wait for the turn's end
            super().on_response_complete()

    return Joining
