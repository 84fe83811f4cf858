"""A Messages stream, bytes in any pieces to deltas and one `Response`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters.anthropic.decode import MessagesAnswer, StreamedBlock, blocks_in
from providers.adapters.anthropic.errors import error_in
from providers.adapters.bodies import Body, BodyReader, says_error
from providers.adapters.error_report import excerpt
from providers.adapters.shapes import mapping, object_in, string
from providers.catalog.model import Candidate
from providers.errors import BadReply, ProviderError, StreamBroken
from providers.messages import Delta, Response, ToolCallDelta

_PIECES = {
    ("text", "text_delta"): "text",
    ("thinking", "thinking_delta"): "thinking",
    ("tool_use", "input_json_delta"): "partial_json",
}
_OPENS = {"text_delta": "text", "thinking_delta": "thinking"}
_OWN = frozenset(kind for kind, _ in _PIECES)
"""Blocks of all other kinds are read over, with whatever comes in them."""


class MessageStream:
    """A `StreamDecoder`. An error behind deltas of the same bytes is raised by the next call, so none is lost."""

    def __init__(self, candidate: Candidate, now: float) -> None:
        self._candidate = candidate
        self._now = now
        self._bodies = BodyReader()
        self._answer = MessagesAnswer()
        self._open: dict[int, StreamedBlock] = {}
        self._split: set[int] = set()
        """Indices of thoughts that another block broke into: a signature signs the whole of one, which is not kept."""
        self._id: Any = None
        self._seen = self._said = self._done = False
        self._error: ProviderError | None = None

    @property
    def ended(self) -> bool:
        return self._done or self._error is not None

    @property
    def whole(self) -> bool:
        return bool(self._answer.stop) and not self._open

    def feed(self, data: bytes) -> list[Delta]:
        deltas: list[Delta] = []
        self._raise_pending()
        if self._done:  # what comes behind the end is nobody's
            return deltas
        try:
            for body in self._bodies.feed(data):
                if self._take(body, deltas):
                    break
        except ProviderError as error:
            self._error = error
            if not deltas:
                raise
        return deltas

    def finish(self) -> Response:
        self._raise_pending()
        if not self._done:
            for body in self._bodies.finish():
                self._take(body, [])
        if not self._seen:
            raise self._not_a_stream()
        # Some gateways leave message_stop out, or send pings in its place.
        if not self._answer.stop or not (self._done or self.whole):
            raise StreamBroken("the stream ended without a stop reason, or inside a content block")
        return self._answer.response(self._candidate)

    def _raise_pending(self) -> None:
        if self._error is not None:
            raise self._error

    def _not_a_stream(self) -> ProviderError:
        """Return what a reply amounts to that was no event stream: mostly a plain JSON error under status 200."""
        stray = self._bodies.stray
        if not stray and self._bodies.bare and not self._bodies.torn:
            return BadReply("the reply is JSON, but no message")
        if not stray:
            return StreamBroken("the stream ended before its first event")
        try:
            body = object_in(stray)
        except BadReply as error:
            return error
        if "error" not in body:
            return BadReply(f"no event stream: {excerpt(stray)}")
        return error_in(body, {}, self._now, self._candidate.provider.refusals)

    def _take(self, body: Body, deltas: list[Delta]) -> bool:
        """Take the next event; return whether it was the last."""
        name, chunk = body
        if chunk is None:  # `[DONE]` is not Anthropic's, but gateways add it
            return False
        kind = chunk.get("type")
        if name == b"error" or kind == "error" or (kind is None and ("error" in chunk or says_error(chunk))):
            raise error_in(chunk, {}, self._now, self._candidate.provider.refusals)
        match kind:
            case "content_block_delta":
                self._piece(chunk, deltas)
            case "content_block_start":
                self._split.discard(index := _index(chunk))
                self._start(index, mapping(chunk.get("content_block"), "content_block"), deltas)
            case "content_block_stop":
                for index in (_index(chunk), _stray(_index(chunk))):
                    if block := self._open.pop(index, None):
                        self._close(block, deltas)
            case "message_start":
                self._begin(mapping(chunk.get("message"), "message"))
            case "message_delta":
                self._answer.stopped(mapping(chunk.get("delta") or {}, "delta"))
                self._answer.bill(chunk)
            case "message_stop":
                for block in self._open.values():
                    self._close(block, deltas)
                self._done = True
            case _ if "content" in chunk:
                self._whole(chunk, deltas)
            case _:  # ping, and what may come
                return False
        self._seen = True
        return self._done

    def _begin(self, message: Mapping[str, Any]) -> None:
        """Take the start of a message. Some gateways send it twice; one that asked again sends another's."""
        if self._said and (self._id is None or message.get("id") != self._id):
            raise StreamBroken("a second message begins in the middle of the first")
        self._id = message.get("id")
        self._answer.bill(message)

    def _whole(self, body: Mapping[str, Any], deltas: list[Delta]) -> None:
        """Take a whole message, which came where a stream was asked for."""
        if self._said:
            raise StreamBroken("a whole message comes in the middle of a stream")
        for index, start in enumerate(blocks_in(body)):
            self._close(self._start(index, start, deltas), deltas)
        self._open.clear()
        self._answer.stopped({"stop_reason": "end_turn", **body})
        self._answer.bill(body)
        self._done = True

    def _start(self, index: int, start: Mapping[str, Any], deltas: list[Delta]) -> StreamedBlock:
        if before := self._open.pop(index, None):
            if before.kind == "tool_use" and before.id and before.id == start.get("id"):
                raise StreamBroken("a tool call begins twice")
            self._close(before, deltas)
        block = self._answer.open(start)
        self._said = True
        if block.speaks:
            self._interrupt(deltas)
        self._open[index] = block
        if block.kind == "tool_use":
            if not block.is_doubtful:
                deltas.append(ToolCallDelta(block.index, block.id, block.name))
        elif block.text:
            deltas.append(block.delta(block.text))
        return block

    def _interrupt(self, deltas: list[Delta]) -> None:
        """Close the text or thought that is open, so that the answer says things in the order in which they came.

        What comes for it later makes a block of its own.
        """
        for index, block in [*self._open.items()]:
            if block.speaks:
                self._close(self._open.pop(index), deltas)
                if block.kind == "thinking":
                    self._split.add(index)

    def _close(self, block: StreamedBlock, deltas: list[Delta]) -> None:
        rest = block.close()
        if block.is_doubtful:
            if block.says_something:
                deltas.append(ToolCallDelta(block.index, block.id, block.name, block.text))
        elif rest:
            deltas.append(block.delta(rest))

    def _piece(self, chunk: Mapping[str, Any], deltas: list[Delta]) -> None:
        index, delta = _index(chunk), mapping(chunk.get("delta") or {}, "delta")
        kind = string(delta.get("type"), "delta type")
        block = self._open.get(index)
        if block is not None and block.kind in _OWN and _OPENS.get(kind, block.kind) != block.kind:
            # Gateways go on in the block that is open: a text within a call, a thought within a text.
            index = _stray(index)
            block = self._open.get(index)
        if block is None:
            if kind == "input_json_delta" and delta.get("partial_json"):
                raise StreamBroken("arguments came for no open tool call")
            if kind not in _OPENS:
                return
            block = self._start(index, {"type": _OPENS[kind]}, deltas)
        if field := _PIECES.get((block.kind, kind)):
            if (piece := block.add(string(delta.get(field), field))) and not block.is_doubtful:
                deltas.append(block.delta(piece))
        elif block.kind == "thinking" and kind == "signature_delta" and index not in self._split:
            block.opaque += string(delta.get("signature"), "signature")


def _stray(index: int) -> int:
    """Return the place of what comes in a block of another kind: no block's own index is negative."""
    return -1 - index


def _index(chunk: Mapping[str, Any]) -> int:
    index = chunk.get("index", 0)
    if index.__class__ is not int:
        raise BadReply("a content block's index is not a number")
    return int(index)
