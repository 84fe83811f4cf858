"""What a Messages endpoint answers, whole or as a stream, made into one `Response`.

An answer is a list of content blocks; a whole and a streamed one fill the same `StreamedBlock`s. Blocks of unknown
types (server tools, their results, what comes next year) are read over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.adapters import HttpReply
from providers.adapters.anthropic.errors import error_in
from providers.adapters.bodies import LEADING, says_error
from providers.adapters.encoding import to_json
from providers.adapters.error_report import excerpt, is_error
from providers.adapters.finish import FAULT, meaning, word_of
from providers.adapters.shapes import (
    NoCount,
    count,
    credible,
    figures,
    mapping,
    no_members,
    object_in,
    part_of,
    sequence,
    string,
    told_apart,
    tool_call,
)
from providers.catalog.model import Candidate, Price
from providers.documents.unicode import CleanStream, clean, clean_json, cut
from providers.errors import BadReply, Declined, ProviderError, ServerFault
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

REDACTED = "redacted:"
"""Begins the `opaque` of a redacted_thinking block. A signature is base64: it holds no colon."""


def read_reply(reply: HttpReply, candidate: Candidate, now: float) -> Response:
    """Return the answer in a 2xx reply, or raise the `ProviderError` that it amounts to."""
    body = object_in(reply.body.lstrip(LEADING))
    if body.get("type") == "error" or is_error(body.get("error")) or ("content" not in body and says_error(body)):
        raise error_in(body, reply.headers, now, candidate.provider.refusals)
    if "content" not in body:
        raise BadReply(f"the reply is not a message: {excerpt(reply.body)}")
    answer = MessagesAnswer()
    for item in blocks_in(body):
        answer.open(item).close()
    answer.stopped(body)
    answer.bill(body)
    return answer.response(candidate)


def blocks_in(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the blocks of a whole message; some proxies send its text alone."""
    content = body["content"]
    blocks = [content] if isinstance(content, str | dict) else sequence(content, "content")
    blocks = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    return [mapping(block, "content block") for block in blocks if block is not None]


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
    def is_doubtful(self) -> bool:
        """Whether it is a call without a name: whether that is a call at all, its end says."""
        return self.kind == "tool_use" and not self.name

    @property
    def says_something(self) -> bool:
        """Whether a call is one: a proxy's empty call is none."""
        return bool(self.name) or self.text not in ("", "{}")

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def part(self, maker: str) -> Part | None:
        """Return the part that it is; None where it says nothing, as a proxy's empty call does."""
        match self.kind:
            case "text":
                return Text(self.text) if self._pieces else None
            case "thinking" | "redacted_thinking":
                made = Reasoning(self.text, clean(self.opaque) or None, maker)
                return made if made.text or made.opaque else None
            case "tool_use" if self.says_something:
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
        self.stop = word_of(body.get("stop_reason")) or self.stop
        self._why = mapping(body.get("stop_details") or self._why, "stop_details")

    def bill(self, body: Mapping[str, Any]) -> None:
        """Read the usage in `body`. In a stream the later figures are running totals, and may be only some of them.

        A 0 behind a figure is one that a proxy does not know.
        """
        usage = body.get("usage") or {}
        if not isinstance(usage, dict):
            usage = {"input_tokens": usage}  # no count: all of it is unknown
        self._billed.update({name: value for name, value in usage.items() if value or name not in self._billed})

    def response(self, candidate: Candidate) -> Response:
        """Return the answer, or raise what it amounts to: declined, empty."""
        maker = candidate.maker
        parts = _joined([part for block in self._blocks if (part := block.part(maker)) is not None])
        calls = told_apart([part for part in parts if isinstance(part, ToolCall)])
        parts = [next(calls) if isinstance(part, ToolCall) else part for part in parts]
        finish = meaning(self.stop) if self.stop else FinishReason.STOP
        if finish is FinishReason.CONTENT_FILTER:  # a call that was interrupted by a refusal must not be carried out
            parts = [part for part in parts if not isinstance(part, ToolCall)]
        called = any(isinstance(part, ToolCall) for part in parts)
        usage = credible(self._usage(), said=bool(parts))
        cost = _cost(candidate.model.price, usage)
        if finish == FAULT:
            fault = ServerFault(f"the answer ended with stop_reason {cut(clean(self.stop), 40)}")
            raise fault.billed(usage or Usage(), cost)
        if not called and not any(isinstance(part, Text) and part.text.strip() for part in parts):
            raise self._nothing(finish, thought=bool(parts)).billed(usage or Usage(), cost)
        if finish in (FinishReason.STOP, FinishReason.TOOL_CALLS):  # the calls themselves say it
            finish = FinishReason.TOOL_CALLS if called else FinishReason.STOP
        return Response(
            message=Message("assistant", tuple(parts)),
            finish=FinishReason(finish),
            usage=usage or Usage(),
            provider=candidate.provider.name,
            model=candidate.model.name,
            cost=cost,
        )

    def _nothing(self, finish: str, *, thought: bool) -> ProviderError:
        if finish == FinishReason.CONTENT_FILTER:
            category = string(self._why.get("category"), "category") or "refusal"
            reason = string(self._why.get("explanation"), "explanation") or "the model refuses"
            return Declined(cut(clean(reason), 200), category=cut(clean(category), 40))
        only = ", only reasoning" if thought else ""
        return BadReply(f"the answer is empty (stop_reason {cut(clean(self.stop), 40) or 'missing'}{only})")

    def _usage(self) -> Usage | None:
        """Return the ledger, None where what was told cannot be one."""
        try:
            return _ledger(self._billed)
        except NoCount:
            return None


def _ledger(raw: Mapping[str, Any]) -> Usage:
    """Return the ledger. Input tokens exclude the cached ones here; output tokens include the thinking."""
    output = count(raw.get("output_tokens"))
    thinking = part_of(count(figures(raw.get("output_tokens_details")).get("thinking_tokens")), output)
    return Usage(
        input=count(raw.get("input_tokens")),
        cache_read=count(raw.get("cache_read_input_tokens")),
        cache_write=count(raw.get("cache_creation_input_tokens")),
        output=output - thinking,
        reasoning=thinking,
    )


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
        return to_json(clean_json(mapping({} if value is None or no_members(value) else value, "input"))).decode()
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
