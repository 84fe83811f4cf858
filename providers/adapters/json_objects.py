"""Whole JSON objects out of bytes in any pieces: the members of an array as it grows, or one object a line. No I/O."""

from __future__ import annotations

import re

from providers.errors import BadReply

MAX_OBJECT_BYTES = 16 * 1024 * 1024
_marks = re.compile(rb'["\\{}]').finditer
_QUOTE, _ESCAPE, _OPEN = b'"\\{'


class ObjectParser:
    """Cuts out the outermost objects. What stands between them is skipped; whether they are sound JSON is not asked."""

    __slots__ = ("_depth", "_held", "_in_string", "_skip")

    def __init__(self) -> None:
        self._held = bytearray()
        self._depth = 0
        self._in_string = False
        self._skip = -1  # where, counted from the next bytes, a character stands that is escaped

    @property
    def inside(self) -> bool:
        """Whether an object has begun and not ended."""
        return self._depth > 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the objects that `data` completes. Raise `BadReply` where one outgrows all reason."""
        done: list[bytes] = []
        start = 0
        for mark in _marks(data):
            at, byte = mark.start(), data[mark.start()]
            if at == self._skip:
                continue
            if self._in_string:
                self._in_string = byte != _QUOTE
                if byte == _ESCAPE:
                    self._skip = at + 1
            elif byte == _OPEN:
                start = start if self._depth else at
                self._depth += 1
            elif byte == _QUOTE:
                self._in_string = True
            elif self._depth and byte != _ESCAPE:
                self._depth -= 1
                if not self._depth:
                    done.append(bytes(self._held + data[start : at + 1]))
                    self._held.clear()
        self._skip -= len(data)
        if self._depth:
            self._held += data[start:]
            if len(self._held) > MAX_OBJECT_BYTES:
                raise BadReply("an object of the stream is longer than 16 MiB")
        return done
