"""What a Messages endpoint answers, whole or as a stream, made into one `Response`.

An answer is a list of content blocks; a whole and a streamed one fill the same `StreamedBlock`s. Blocks of unknown
types (server tools, their results, what comes next year) are read over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters import HttpReply
from providers.adapters.anthropic.errors import error_in
from providers.adapters.encoding import to_json
from providers.adapters.error_report import excerpt
from providers.adapters.shapes import count, mapping, object_in, sequence, string, told_apart, tool_call
from providers.adapters.sse import EventParser, SseEvent
from providers.catalog.model import Candidate, Price
from providers.documents.unicode import CleanStream, clean, clean_json, cut
from providers.errors import BadReply, Declined, ProviderError, StreamBroken
from providers.messages import (
    Delta,
    FinishReason,
    Message,
    Part,
    Reasoning,
    ReasoningDelta,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

# `pause_turn`: the server stopped a long turn of its own tools, to be sent back as it is. We offer none of them; should
# it come, what was said is a beginning, which LENGTH says. `tool_use` is for the calls themselves to say.
STOPS = {
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "pause_turn": FinishReason.LENGTH,
    "refusal": FinishReason.CONTENT_FILTER,
}
REDACTED = "redacted:"
"""Begins the `opaque` of a redacted_thinking block. A signature is base64: it holds no colon."""

_PIECES = {
    ("text", "text_delta"): "text",
    ("thinking", "thinking_delta"): "thinking",
    ("tool_use", "input_json_delta"): "partial_json",
}
_OPENS = {"text_delta": "text", "thinking_delta": "thinking"}


def read_reply(reply: HttpReply, candidate: Candidate, now: float) -> Response:
    """Return the answer in a 2xx reply, or raise the `ProviderError` that it amounts to."""
    body = object_in(reply.body)
    if body.get("type") == "error" or body.get("error"):
        raise error_in(body, reply.headers, now, candidate.provider.refusals)
    if "content" not in body:
        raise BadReply(f"the reply is no message: {excerpt(reply.body)}")
    answer = MessagesAnswer()
    for item in sequence(body["content"], "content"):
        answer.open(mapping(item, "content block")).close()
    answer.stopped(body)
    answer.bill(body)
    return answer.response(candidate)


class StreamedBlock:
    """A content block on its way: `text`, `thinking`, `redacted_thinking`, `tool_use`, or a type to be read over."""

    __slots__ = ("_clean", "_input", "_pieces", "id", "index", "kind", "name", "opaque")

    def __init__(self, start: Mapping[str, Any], index: int) -> None:
        self.kind = string(start.get("type"), "block type")
        self.index = index
        """Which tool call it is, counted from 0, where it is one."""
        self.id = self.name = self.opaque = ""
        self._input = ""
        self._clean = CleanStream()
        self._pieces: list[str] = []
        match self.kind:
            case "text" | "thinking":
                self.add(string(start.get(self.kind), self.kind))
                self.opaque = string(start.get("signature"), "signature")
            case "redacted_thinking":
                self.opaque = REDACTED + string(start.get("data"), "data")
            case "tool_use":
                self.id = clean(string(start.get("id"), "id"))
                self.name = clean(string(start.get("name"), "name"))
                self._input = _json_text(start.get("input"))

    def add(self, piece: str) -> str:
        """Take the next piece; return what of it is certain by now."""
        if piece := self._clean.feed(piece):
            self._pieces.append(piece)
        return piece

    def close(self) -> str:
        """Return what is left: half a character, or the input of a call that came whole with its start."""
        if rest := self._clean.finish():
            self._pieces.append(rest)
        if self.kind == "tool_use" and not self._pieces:
            rest = self._input
            self._pieces.append(rest)
        return rest

    def delta(self, piece: str) -> Delta:
        """Return `piece` of this block as its caller sees it."""
        if self.kind == "text":
            return TextDelta(piece)
        return ReasoningDelta(piece) if self.kind == "thinking" else ToolCallDelta(self.index, arguments=piece)

    @property
    def speaks(self) -> bool:
        """Whether its pieces are joined with those of other blocks by the listener of the stream."""
        return self.kind in ("text", "thinking")

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def part(self, maker: str) -> Part | None:
        """Return the part that it is; None where it says nothing."""
        match self.kind:
            case "text":
                return Text(self.text) if self._pieces else None
            case "thinking" | "redacted_thinking":
                made = Reasoning(self.text, clean(self.opaque) or None, maker)
                return made if made.text or made.opaque else None
            case "tool_use":
                return tool_call(self.index, self.id, self.name, self.text)
        return None


class MessagesAnswer:
    """What was said so far."""

    __slots__ = ("_billed", "_blocks", "_calls", "_why", "stop")

    def __init__(self) -> None:
        self.stop = ""
        self._why: Mapping[str, Any] = {}
        self._blocks: list[StreamedBlock] = []
        self._calls = 0
        self._billed: dict[str, Any] = {}

    def open(self, start: Mapping[str, Any]) -> StreamedBlock:
        block = StreamedBlock(start, self._calls)
        self._calls += block.kind == "tool_use"
        self._blocks.append(block)
        return block

    def stopped(self, body: Mapping[str, Any]) -> None:
        """Read why it ended, and for a refusal of what kind."""
        self.stop = string(body.get("stop_reason"), "stop_reason") or self.stop
        self._why = mapping(body.get("stop_details") or self._why, "stop_details")

    def bill(self, body: Mapping[str, Any]) -> None:
        """Read the usage in `body`. In a stream the later figures are running totals, and may be only some of them."""
        usage = mapping(body.get("usage") or {}, "usage")
        self._billed.update({name: value for name, value in usage.items() if value is not None})

    def response(self, candidate: Candidate) -> Response:
        """Return the answer, or raise what it amounts to: declined, empty."""
        maker = candidate.maker
        parts = _joined([part for block in self._blocks if (part := block.part(maker)) is not None])
        calls = told_apart([part for part in parts if isinstance(part, ToolCall)])
        parts = [next(calls) if isinstance(part, ToolCall) else part for part in parts]
        finish = STOPS.get(self.stop, FinishReason.STOP)
        if finish is FinishReason.CONTENT_FILTER:  # a call that was interrupted by a refusal must not be carried out
            parts = [part for part in parts if not isinstance(part, ToolCall)]
        called = any(isinstance(part, ToolCall) for part in parts)
        if not called and not any(isinstance(part, Text) and part.text.strip() for part in parts):
            billed = self._usage()
            raise self._nothing(finish, thought=bool(parts)).billed(billed, _cost(candidate.model.price, billed))
        if called and finish is FinishReason.STOP:
            finish = FinishReason.TOOL_CALLS
        usage = self._usage()
        return Response(
            message=Message("assistant", tuple(parts)),
            finish=finish,
            usage=usage or Usage(),
            provider=candidate.provider.name,
            model=candidate.model.name,
            cost=_cost(candidate.model.price, usage),
        )

    def _nothing(self, finish: FinishReason, *, thought: bool) -> ProviderError:
        if finish is FinishReason.CONTENT_FILTER:
            category = string(self._why.get("category"), "category") or "refusal"
            reason = string(self._why.get("explanation"), "explanation") or "the model refuses"
            return Declined(cut(clean(reason), 200), category=cut(clean(category), 40))
        only = ", only reasoning" if thought else ""
        return BadReply(f"the answer is empty (stop_reason {cut(clean(self.stop), 40) or 'missing'}{only})")

    def _usage(self) -> Usage | None:
        """Return the ledger. Input tokens exclude the cached ones here; output tokens include the thinking."""
        raw = self._billed
        if not raw:
            return None
        details = mapping(raw.get("output_tokens_details") or {}, "output_tokens_details")
        output = count(raw.get("output_tokens"))
        thinking = min(count(details.get("thinking_tokens")), output)
        return Usage(
            input=count(raw.get("input_tokens")),
            cache_read=count(raw.get("cache_read_input_tokens")),
            cache_write=count(raw.get("cache_creation_input_tokens")),
            output=output - thinking,
            reasoning=thinking,
        )


class MessageStream:
    """A `StreamDecoder`. An error behind deltas of the same bytes is raised by the next call, so none is lost."""

    def __init__(self, candidate: Candidate, now: float) -> None:
        self._candidate = candidate
        self._now = now
        self._events = EventParser()
        self._answer = MessagesAnswer()
        self._open: dict[int, StreamedBlock] = {}
        self._split: set[int] = set()
        """Indices of thoughts that another block broke into: a signature signs the whole of one, which is not kept."""
        self._seen = self._done = False
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
        try:
            for event in self._events.feed(data):
                self._take(event, deltas)
        except ProviderError as error:
            self._error = error
            if not deltas:
                raise
        return deltas

    def finish(self) -> Response:
        self._raise_pending()
        try:
            for event in self._events.finish():
                self._take(event, [])
        except BadReply:
            if not self.whole:
                raise StreamBroken("the stream ended in the middle of an event") from None
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
        stray = self._events.stray
        if not stray:
            return StreamBroken("the stream ended before its first event")
        try:
            body = object_in(stray)
        except BadReply as error:
            return error
        if "error" not in body:
            return BadReply(f"no event stream: {excerpt(stray)}")
        return error_in(body, {}, self._now, self._candidate.provider.refusals)

    def _take(self, event: SseEvent, deltas: list[Delta]) -> None:
        if self._done:
            return
        name, data = event
        chunk = object_in(data)
        kind = chunk.get("type")
        if name == b"error" or kind == "error" or (kind is None and "error" in chunk):
            raise error_in(chunk, {}, self._now, self._candidate.provider.refusals)
        match kind:
            case "content_block_delta":
                self._piece(chunk, deltas)
            case "content_block_start":
                self._split.discard(index := _index(chunk))
                self._start(index, mapping(chunk.get("content_block"), "content_block"), deltas)
            case "content_block_stop":
                if block := self._open.pop(_index(chunk), None):
                    self._close(block, deltas)
            case "message_start":
                self._answer.bill(mapping(chunk.get("message"), "message"))
            case "message_delta":
                self._answer.stopped(mapping(chunk.get("delta") or {}, "delta"))
                self._answer.bill(chunk)
            case "message_stop":
                for block in self._open.values():
                    self._close(block, deltas)
                self._done = True
            case _:  # ping, and what may come
                return
        self._seen = True

    def _start(self, index: int, start: Mapping[str, Any], deltas: list[Delta]) -> StreamedBlock:
        if before := self._open.pop(index, None):
            if before.kind == "tool_use" and before.id and before.id == start.get("id"):
                raise StreamBroken("a tool call begins twice")
            self._close(before, deltas)
        block = self._answer.open(start)
        if block.speaks:
            self._interrupt(deltas)
        self._open[index] = block
        if block.kind == "tool_use":
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
        if rest := block.close():
            deltas.append(block.delta(rest))

    def _piece(self, chunk: Mapping[str, Any], deltas: list[Delta]) -> None:
        index, delta = _index(chunk), mapping(chunk.get("delta"), "delta")
        kind = string(delta.get("type"), "delta type")
        block = self._open.get(index)
        if block is None:
            if kind == "input_json_delta" and delta.get("partial_json"):
                raise StreamBroken("arguments came for no open tool call")
            if kind not in _OPENS:
                return
            block = self._start(index, {"type": _OPENS[kind]}, deltas)
        if field := _PIECES.get((block.kind, kind)):
            if piece := block.add(string(delta.get(field), field)):
                deltas.append(block.delta(piece))
        elif block.kind == "thinking" and kind == "signature_delta" and index not in self._split:
            block.opaque += string(delta.get("signature"), "signature")


def _index(chunk: Mapping[str, Any]) -> int:
    index = chunk.get("index", 0)
    if index.__class__ is not int:
        raise BadReply("a content block's index is no number")
    return int(index)


def _cost(price: Price | None, usage: Usage | None) -> int | None:
    """Return the catalog's price. Without usage only a free model's cost is known."""
    if price is None or usage is None:
        return 0 if price is not None and price.input == price.output == 0 else None
    return price.cost(usage)


def _json_text(value: Any) -> str:
    """Return a call's input as JSON text. It is an object; some proxies send the text of one."""
    if isinstance(value, str):
        return value
    try:
        return to_json(clean_json(mapping({} if value is None else value, "input"))).decode()
    except (ValueError, RecursionError):
        raise BadReply("a tool call's input is nested too deep, or holds no JSON number") from None


def _joined(parts: list[Part]) -> list[Part]:
    """Return `parts` with neighbouring texts made one: citations cut an answer into many blocks."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + part.text)
        else:
            joined.append(part)
    return joined
