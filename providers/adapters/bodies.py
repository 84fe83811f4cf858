"""The JSON objects of a reply whose framing nobody keeps to: server-sent events, bare objects, an array. No I/O.

Asked for a stream, some servers send the whole answer as one JSON object, or one object a line; asked for a whole
answer, some stream. What comes is told by its first bytes, not by what was asked or by its content type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from providers.adapters import StreamDecoder
from providers.adapters.error_report import excerpt
from providers.adapters.json_objects import ObjectParser
from providers.adapters.shapes import decode_json, object_in
from providers.adapters.sse import EventParser
from providers.errors import BadReply
from providers.messages import Response

Body = tuple[bytes, dict[str, Any] | None]
"""(the name of its event, empty where it has none; the object, None for the terminator `[DONE]`)"""

# UTF-8's byte order mark and white space, which may stand before a body.
LEADING = b"\xef\xbb\xbf \t\r\n"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_DONE = b"[DONE]"
# Signs of life that are no comments, as they should be: `data: : keepalive` (Google's partner models), `data: ""`.
_beats = re.compile(rb'(?::.*|[\W_]*(?:ping|pong|keep[-_]?alive|heart[-_]?beat)[\W_]*|"")', re.IGNORECASE).fullmatch


def is_event_stream(body: bytes) -> bool:
    """Whether a whole body is a stream of events."""
    return body[:1] != b"{" and body.lstrip(LEADING).startswith(_FIELDS)


def says_error(body: Mapping[str, Any]) -> bool:
    """Whether a body that is no answer has the words that errors have, though not under `error`."""
    said = (body.get(key) for key in ("message", "detail", "errors", "msg", "error_msg", "error_message"))
    return body.get("type") == "error" or any(isinstance(each, str | list) and each for each in said)


def heard_at_once(decoder: StreamDecoder, body: bytes) -> Response:
    """Return the answer of a whole stream of events, where a whole answer was asked for."""
    decoder.feed(body)
    return decoder.finish()


class BodyReader:
    """Turns bytes in any pieces into objects."""

    __slots__ = ("_parser", "torn")

    def __init__(self) -> None:
        self._parser: EventParser | ObjectParser | None = None
        self.torn = False
        """Whether the end came in the middle of an event or object."""

    @property
    def bare(self) -> bool:
        """Whether objects come without events around them."""
        return isinstance(self._parser, ObjectParser)

    @property
    def stray(self) -> bytes:
        """The head of what belongs to no event."""
        return self._parser.stray if isinstance(self._parser, EventParser) else b""

    def feed(self, data: bytes) -> Iterator[Body]:
        """Yield the objects that `data` completes. Raise `BadReply` at what is none."""
        parser = self._parser
        if parser is None:
            data = data.lstrip(LEADING)
            if not data:
                return
            parser = self._parser = ObjectParser() if data[:1] in b"[{" else EventParser()
        if isinstance(parser, ObjectParser):
            for body in parser.feed(data):
                yield b"", object_in(body)
            return
        for name, body in parser.feed(data):
            if body[:1] == b"{" and b"\n" not in body and name != b"error":
                yield name, object_in(body)
            else:
                yield from _odd(name, body)

    def finish(self) -> Iterator[Body]:
        """Yield what the end completes: an event that lacks its blank line. What it cuts in two is `torn`."""
        if isinstance(self._parser, EventParser):
            for name, body in self._parser.finish():
                try:
                    yield from [*_odd(name, body, ended=False)]
                except BadReply:
                    self.torn = True
        elif self._parser is not None:
            self.torn = self._parser.inside


def _odd(name: bytes, data: bytes, *, ended: bool = True) -> Iterator[Body]:
    """Yield the objects of an event that is not one object in one line. `ended`: its blank line came."""
    bare = data.strip()
    if not bare or bare == b"null" or _beats(bare):
        return
    if bare.strip(b'"').upper() == _DONE:
        yield name, None
        return
    try:
        yield from ((name, each) for each in _objects(bare))
    except BadReply:
        if name == b"error" and ended:
            yield name, {"error": {"message": excerpt(bare)}}
        elif b"\n" in bare:  # events without the blank line between them
            for line in bare.split(b"\n"):
                yield from _odd(name, line, ended=ended)
        else:
            raise


def _objects(data: bytes) -> list[dict[str, Any]]:
    if data[:1] == b"[":
        try:
            found = decode_json(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            found = None
        if found and all(isinstance(each, dict) for each in found):
            return list(found)
    return [object_in(data)]
