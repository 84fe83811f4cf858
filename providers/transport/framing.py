"""Where a reply ends, by its own framing: whether what came since a request is one whole reply, and nothing more. Pure.

It decides only whether a connection may serve another request, so where it cannot be sure it says no: that costs one
new connection. The reply itself is read by the HTTP client.
"""

from __future__ import annotations

import re

MAX_HEAD_BYTES = 128 * 1024
LAST_CHUNK = b"\r\n0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*(?:\r\n|$)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*(?:\r\n|$)")


class Framing:
    """The bytes of one reply as they come. `is_whole`: they end exactly where the reply's head says that it ends."""

    __slots__ = ("_before", "_body", "_chunked", "_end", "_head", "begun")

    def __init__(self) -> None:
        self.begun = False
        self._head: bytes | None = b""  # None: it has come, or will never be found
        self._chunked = False
        self._body = 0
        self._end: int | None = None
        self._before = b"\r\n"  # an empty body has its last chunk at once

    @property
    def is_whole(self) -> bool:
        return self._end is not None and self._body == self._end

    def feed(self, data: bytes) -> None:
        """Take the next bytes that came."""
        self.begun = self.begun or bool(data)
        if self._head is not None:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head if len(head) <= MAX_HEAD_BYTES else None
                return
            self._head = None
            self._read(head.lower())
        self._body += len(data)
        if self._chunked and self._end is None:
            self._find_last_chunk(data)

    def _read(self, head: bytes) -> None:
        status = head[9:12]
        if status in (b"204", b"304"):
            self._end = 0
        elif status.startswith(b"1"):
            return  # the real reply follows, which a server that announces it rarely needs: not kept
        elif _CHUNKED.search(head):
            self._chunked = True
        elif length := _LENGTH.search(head):
            self._end = int(length[1])

    def _find_last_chunk(self, data: bytes) -> None:
        # A body may hold these bytes before its end. Then more follows them, and the connection is closed for nothing.
        seen = self._before + data
        at = seen.find(LAST_CHUNK)
        if at >= 0:
            self._end = self._body - len(seen) + at + len(LAST_CHUNK)
        self._before = seen[1 - len(LAST_CHUNK) :]
