"""Server-sent events from bytes in any pieces. No I/O.

Source: WHATWG HTML, 9.2.6 "Interpreting an event stream" (2026-11). Lines end in LF, CRLF or CR; `id` and `retry` are
of no use here. One leniency: an event that the end of the stream cuts off from its blank line still counts, since
some servers close right after the last line.
"""

from __future__ import annotations

from codecs import BOM_UTF8

from providers.errors import BadReply

SseEvent = tuple[bytes, bytes]
"""(the event's name, empty where it has none; its data, lines joined by LF)"""

MAX_EVENT_BYTES = 16 * 1024 * 1024
MAX_STRAY_BYTES = 64 * 1024
# What the end of a stream may leave of a line.
_BEGINNINGS = frozenset(name[:end] for name in (b"data", b"event", b"id", b"retry") for end in range(1, len(name) + 1))


class EventParser:
    """Turns bytes into events. `stray` keeps the head of what is no event stream: a plain JSON error, an HTML page."""

    __slots__ = ("_after_cr", "_data", "_name", "_pieces", "_size", "stray")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of a line that has not ended yet
        self._size = 0
        self._after_cr = False
        self._name = b""
        self._data: list[bytes] = []
        self.stray = b""

    def feed(self, data: bytes) -> list[SseEvent]:
        """Return the events that `data` completes. Raise `BadReply` where one outgrows all reason."""
        if self._after_cr or b"\r" in data:
            data = self._unified(data)
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._hold(tail)
            return []
        if self._pieces:
            self._pieces.append(head)
            head = b"".join(self._pieces)
            self._pieces, self._size = [], 0
        if tail:
            self._hold(tail)
        return self._events(head.split(b"\n"))

    def finish(self) -> list[SseEvent]:
        """Return the event that the end of the stream completes."""
        rest, self._pieces = b"".join(self._pieces), []
        return self._events([rest, b""])

    def _unified(self, data: bytes) -> bytes:
        if not data:
            return data
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > MAX_EVENT_BYTES:
            raise BadReply("a line of the stream is longer than 16 MiB")

    def _events(self, lines: list[bytes]) -> list[SseEvent]:
        events: list[SseEvent] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    events.append((self._name, b"\n".join(self._data)))
                    self._data = []
                self._name = b""
            elif line.startswith(b"event:"):
                self._name = line[6:].strip()
            elif line.startswith(BOM_UTF8):
                events += self._events([line.lstrip(BOM_UTF8)])
            elif not (line.startswith((b":", b"id:", b"retry:")) or line in _BEGINNINGS):
                self.stray = (self.stray + line + b"\n")[:MAX_STRAY_BYTES]
        return events
