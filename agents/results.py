"""What a tool returned, as text for a model: written piece by piece, and no further than the model will be told.

A value of any size costs what is told of it, not what it holds: a list of a million rows is not made JSON first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any

from providers.documents.unicode import clean
from providers.messages import ToolCall, ToolResult

MAX_ITEMS = 10_000
"""So many of what an iterator yields are told."""
MAX_DEPTH = 100
"""Lists and mappings inside each other."""
MAX_DIGITS = 4300
"""Of a whole number: Python writes no longer one."""
KEY_CHARS = 200
CYCLE = "[a cycle: the value that this stands in]"
TOO_DEEP = f"[more, nested deeper than {MAX_DEPTH}]"

_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF file"),
    (b"PK\x03\x04", "a ZIP file"),
    (b"\x1f\x8b", "gzip data"),
    (b"SQLite format 3\0", "an SQLite database"),
)
_encode = json.JSONEncoder(ensure_ascii=False).encode


def told(value: Any, max_chars: int) -> str:
    """Return a tool's result as clean text of about `max_chars` code points; a cut is told, and splits no grapheme.

    A text stays as it is; all else is JSON, in which bytes, cycles and numbers of a million digits are told in words.
    Raises what the value's own code raises, and `TypeError` for what is no data.
    """
    if isinstance(value, str):
        return shown(value, max_chars)
    if isinstance(value, (bytes, bytearray, memoryview)):
        text, is_whole = _bytes(value, max_chars)
        return shown(text, max_chars) if is_whole else _cut(text, max_chars, "; there is more")
    if value is None or type(value) in (bool, int, float):
        return _number(value)
    writer = _Writer(max_chars + 1)
    writer.write(value, 0)
    text = "".join(writer.pieces)
    return shown(text, max_chars) if writer.room > 0 else _cut(text, max_chars, "; there is more")


def shown(text: str, max_chars: int) -> str:
    """Return `text` clean and at most about `max_chars` code points long; a cut splits no grapheme."""
    return clean(text) if len(text) <= max_chars else _cut(text, max_chars, f" of {len(text)}")


def failed(call: ToolCall, why: str) -> ToolResult:
    """Return the result of a call that failed, as a model reads it."""
    return ToolResult(call.id, call.name, shown(f"{call.name} failed: {why}", 4000), is_error=True)


def _cut(text: str, max_chars: int, rest: str) -> str:
    import regex

    # The last cluster of the piece may be cut through, so it goes too.
    kept = "".join(regex.findall(r"\X", text[:max_chars])[:-1])
    return f"{clean(kept)}\n[cut: the first {len(kept)} characters{rest}]"


class _Writer:
    """Writes a value as JSON until `room` is used up. `inside` are the ids of what is being written."""

    __slots__ = ("inside", "pieces", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self.pieces: list[str] = []
        self.inside: set[int] = set()

    def put(self, text: str) -> None:
        self.pieces.append(text)
        self.room -= len(text)

    def write(self, value: Any, depth: int) -> None:
        if isinstance(value, str):
            self.put(_encode(value[: self.room + 1]))
        elif value is None or isinstance(value, (bool, int, float)):
            self.put(_number(value))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.put(_encode(_bytes(value, self.room + 1)[0]))
        elif (parts := _parts(value)) is None:
            self.write(_jsonable(value), depth + 1)
        elif id(value) in self.inside:
            self.put(_encode(CYCLE))
        elif depth >= MAX_DEPTH:
            self.put(_encode(TOO_DEEP))
        else:
            self.inside.add(id(value))
            self._container(parts, isinstance(parts, _Pairs), depth)
            self.inside.remove(id(value))

    def _container(self, parts: Iterator[Any], is_mapping: bool, depth: int) -> None:
        opening, closing = "{}" if is_mapping else "[]"
        self.put(opening)
        for number, part in enumerate(parts):
            if self.room <= 0:
                return
            if number:
                self.put(", ")
            if is_mapping:
                self.put(f"{_encode(_key(part[0]))}: ")
            self.write(part[1] if is_mapping else part, depth + 1)
        self.put(closing)


class _Pairs:
    """The keys and values of a mapping: told apart from what holds pairs for items."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterator[tuple[Any, Any]]) -> None:
        self.pairs = pairs

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self.pairs

    def __next__(self) -> tuple[Any, Any]:
        return next(self.pairs)


def _parts(value: Any) -> Iterator[Any] | None:
    """Return what a value holds, None for one that is no container of plain data."""
    if hasattr(type(value), "__pydantic_serializer__"):
        return None  # its own fields say how they are written
    if isinstance(value, Mapping):
        return _Pairs(iter(value.items()))
    if isinstance(value, (list, tuple, AbstractSet)):
        return iter(value)
    if isinstance(value, Iterator):
        return islice(value, MAX_ITEMS)
    if is_dataclass(value) and not isinstance(value, type):
        return _Pairs((field.name, getattr(value, field.name)) for field in fields(value))
    return None


def _jsonable(value: Any) -> Any:
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, serialize_unknown=False)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key[:KEY_CHARS]
    if key is None or isinstance(key, (bool, int, float)):
        return _number(key)
    return str(key)[:KEY_CHARS]


def _number(value: Any) -> str:
    """Return a number, or None, as JSON has it."""
    if isinstance(value, int) and value.bit_length() > MAX_DIGITS * 3:  # 3.3 bits a digit
        return _encode(f"[a whole number of about {value.bit_length() * 30103 // 100_000:,} digits]")
    return _encode(value)


def _bytes(value: bytes | bytearray | memoryview, most: int) -> tuple[str, bool]:
    """Return bytes as the text that they are, as far as it is told, or in words what they are; whether that is all."""
    size = memoryview(value).nbytes
    head = bytes(value[: 4 * most + 4])  # a character takes four bytes at most
    kind = next((name for mark, name in _KINDS if head.startswith(mark)), "")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "a WebP image"
    if not kind and b"\0" not in head:
        try:
            return head.decode("utf-8"), len(head) == size
        except UnicodeDecodeError as error:
            if error.start >= len(head) - 3 and len(head) < size:  # its last character was cut through
                return head[: error.start].decode("utf-8"), False
    return f"[{kind or 'bytes that are no text'}: {size:,} bytes, which cannot be shown]", True
