"""Anthropic's messages as a server speaks them: a request read, an answer written, whole or in events. Pure.

Shapes: https://docs.anthropic.com/en/api/messages (read through the clients that send them).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator.server.gateway.asked import (
    EFFORTS,
    MOST_ITEMS,
    MOST_TOOLS,
    NO_PARAMETERS,
    CallsMade,
    CompletionAsked,
    DialectEvent,
    Lenient,
    checked_choice,
    image_in,
    image_of,
    needs_of,
    read_body,
)
from orchestrator.server.gateway.failures import GatewayFailure, invalid
from providers.messages import (
    Capability,
    Delta,
    FinishReason,
    Message,
    OutputSchema,
    Part,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolSpec,
    Usage,
)

Block = Mapping[str, Any]
IGNORED = ("top_p", "top_k", "service_tier", "container", "mcp_servers", "context_management")
EFFORT_OF_BUDGET: Sequence[tuple[int, Literal["low", "medium", "high"]]] = ((4_096, "low"), (16_384, "medium"))
"""Tokens to think with, up to which an effort is meant; more is high."""


class _Said(Lenient):
    role: Literal["user", "assistant", "system"]
    content: str | Annotated[list[dict[str, Any]], Field(max_length=MOST_ITEMS)]


class _ToolOffered(Lenient):
    name: str = Field(min_length=1)
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class MessagesBody(Lenient):
    """The body of a request, as far as the gateway reads it. That of a count has no `max_tokens`."""

    model: str
    messages: list[_Said] = Field(min_length=1, max_length=MOST_ITEMS)
    system: str | list[dict[str, Any]] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    stream: bool | None = None
    tools: list[_ToolOffered] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_choice: dict[str, Any] | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = Field(default=None, ge=0, le=1)
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    top_p: float | None = None
    top_k: int | None = None
    service_tier: str | None = None
    container: Any = None
    mcp_servers: list[Any] | None = None
    context_management: Any = None


def read_messages(body: bytes, *, is_count: bool = False) -> CompletionAsked:
    """Return what a client asks. Raise `GatewayFailure` where that cannot be."""
    asked = read_body(MessagesBody, body)
    if asked.max_tokens is None and not is_count:
        raise invalid("missing required parameter: 'max_tokens'", "max_tokens", "missing_required_parameter")
    tools, calls = tuple(_tools(asked.tools or ())), CallsMade()
    messages = list(_system(asked.system))
    for number, one in enumerate(asked.messages):
        messages += _message(one, f"messages[{number}]", calls)
    needs, config = needs_of(messages, tools), asked.output_config or {}
    if asked.messages[-1].role == "assistant":  # the answer goes on with it
        needs = replace(needs, capabilities=needs.capabilities | {Capability.PREFILL})
    request = Request(
        tuple(messages),
        tools=tools,
        tool_choice=checked_choice(_choice(asked.tool_choice), tools),
        output_schema=_format(config.get("format")),
        max_output_tokens=asked.max_tokens,
        temperature=asked.temperature,
        stop=tuple(word for word in asked.stop_sequences or () if word),
        effort=EFFORTS.get(str(config.get("effort"))) or _effort(asked.thinking or {}),
        needs=needs,
    )
    ignored = tuple(name for name in IGNORED if getattr(asked, name) not in (None, [], "auto"))
    return CompletionAsked(asked.model, request, bool(asked.stream), ignored=ignored)


def _system(said: str | Sequence[Block] | None) -> Iterator[Message]:
    if said:
        yield Message("system", tuple(_texts(said, "system")))


def _texts(said: str | Sequence[Block], at: str) -> Iterator[Text]:
    for number, block in enumerate([{"type": "text", "text": said}] if isinstance(said, str) else said):
        match block:
            case {"type": "text", "text": str(text)}:
                yield Text(text)
            case _:
                raise _strange(block, f"{at}[{number}]", "text")


def _message(one: _Said, at: str, calls: CallsMade) -> Iterator[Message]:
    """Yield the messages that one of this dialect stands for: what tools answered is one of its own."""
    if one.role == "system":
        yield Message("system", tuple(_texts(one.content, f"{at}.content")))
        return
    blocks: Sequence[Block] = [{"type": "text", "text": one.content}] if isinstance(one.content, str) else one.content
    results: list[ToolResult] = []
    parts: list[Part] = []
    for number, block in enumerate(blocks):
        place = f"{at}.content[{number}]"
        if one.role == "user" and block.get("type") == "tool_result":
            result, shown = _result(block, place, calls)
            results.append(result)
            parts += shown
        else:
            parts += _part(block, place, one.role, calls)
    if results:
        yield Message("tool", tuple(results))
    if parts or not results:
        yield Message(one.role, tuple(parts) or (Text(""),))


def _part(block: Block, at: str, role: str, calls: CallsMade) -> Iterator[Part]:
    match block:
        case {"type": "text", "text": str(text)}:
            yield Text(text)
        case {"type": "image", "source": dict(source)} if role == "user":
            yield _image(source, at)
        case {"type": "thinking" | "redacted_thinking"} if role == "assistant":
            pass  # it is of no use to any other model, and which one thought it is not known
        case {"type": "tool_use", "id": str(ident), "name": str(name), "input": dict(given)} if role == "assistant":
            yield ToolCall(calls.made(ident, name), name, json.dumps(given, ensure_ascii=False))
        case {"type": "document", "source": {"type": "text", "data": str(text)}} if role == "user":
            yield Text(text)
        case _:
            raise _strange(block, at, "text, image, document (of text), tool_use, tool_result, thinking")


def _result(block: Block, at: str, calls: CallsMade) -> tuple[ToolResult, list[Part]]:
    """Return what a tool answered, and the images among it, which no answer of a tool holds here."""
    ident = str(block.get("tool_use_id") or "")
    name, content = calls.name_of(ident, at, "tool_use_id"), block.get("content") or ""
    texts: list[str] = []
    shown: list[Part] = []
    for number, one in enumerate([{"type": "text", "text": content}] if isinstance(content, str) else content):
        place = f"{at}.content[{number}]"
        match one:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image", "source": dict(source)}:
                shown.append(_image(source, place))
            case _:
                raise _strange(one, place, "text and image")
    return ToolResult(ident, name, "\n".join(texts), bool(block.get("is_error"))), shown


def _image(source: Block, at: str) -> Part:
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(data)} if kind.startswith("image/"):
            return image_in(kind, data, at)
        case {"type": "url", "url": str(url)}:
            return image_of(url, at)
    raise invalid(f"'{at}.source' is an image in base64 with its media_type", at)


def _strange(block: Any, at: str, known: str) -> GatewayFailure:
    kind = str(block.get("type") if isinstance(block, Mapping) else block)[:40]
    return invalid(f"'{at}' is of the type '{kind}', or not whole; known are here: {known}", at)


def _tools(offered: Sequence[_ToolOffered]) -> Iterator[ToolSpec]:
    for number, one in enumerate(offered):
        if one.type not in (None, "custom"):
            at = f"tools[{number}]"
            raise invalid(f"'{at}' is of the type '{one.type[:40]}', which a provider runs; none is offered here", at)
        yield ToolSpec(one.name, one.description or "", one.input_schema or NO_PARAMETERS)


def _choice(said: Block | None) -> str:
    match said:
        case None | {"type": "auto"}:
            return "auto"
        case {"type": "any"}:
            return "required"
        case {"type": "none"}:
            return "none"
        case {"type": "tool", "name": str(name)}:
            return name
    raise invalid("'tool_choice' is of the type auto, any, none, or tool with a name", "tool_choice")


def _format(said: Any) -> OutputSchema | None:
    match said:
        case None:
            return None
        case {"type": "json_schema", "schema": dict(schema)}:
            return OutputSchema(schema)
    raise invalid("'output_config.format' is json_schema with its schema", "output_config.format")


def _effort(thinking: Block) -> Literal["low", "medium", "high"] | None:
    match thinking:
        case {"type": "enabled", "budget_tokens": int(tokens)}:
            return next((effort for most, effort in EFFORT_OF_BUDGET if tokens <= most), "high")
        case {"type": "enabled" | "adaptive"}:
            return "medium"
    return None


# -- what is answered

_STOPPED = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}


@dataclass(slots=True)
class MessagesReply:
    """Writes the answer to one request. `read` are the tokens that it is thought to be, for the first event."""

    id: str
    model: str
    read: int
    ending: bytes = b""
    _open: list[int] = field(default_factory=list)
    """The blocks that were begun and not ended: one of text or thought, or those of all calls."""
    _kind: str = ""
    _blocks: int = 0
    _calls: dict[int, int] = field(default_factory=dict)

    def whole(self, response: Response) -> dict[str, Any]:
        """Return the body of a whole answer. Raise `GatewayFailure` for a call whose arguments are no object."""
        content = [block for part in response.message.parts for block in _block_of(part)]
        return {**self._message(content, usage_counted(response.counted)), "stop_reason": _STOPPED[response.finish]}

    def opening(self) -> Iterator[DialectEvent]:
        """Yield the first event: a message without content."""
        yield "message_start", {"type": "message_start", "message": self._message([], usage_counted(Usage(self.read)))}
        yield "ping", {"type": "ping"}

    def piece(self, delta: Delta) -> Iterator[DialectEvent]:
        """Yield the events of a piece of the answer."""
        match delta:
            case TextDelta(text):
                yield from self._begin("text", {"type": "text", "text": ""})
                yield self._more({"type": "text_delta", "text": text})
            case ReasoningDelta(text):
                yield from self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                yield self._more({"type": "thinking_delta", "thinking": text})
            case ToolCallDelta(index, ident, name, arguments):
                if index not in self._calls:
                    block = {"type": "tool_use", "id": ident, "name": name, "input": {}}
                    yield from self._begin(f"call {index}", block)
                    self._calls[index] = self._blocks - 1
                if arguments:
                    told = {"type": "input_json_delta", "partial_json": arguments}
                    yield self._more(told, self._calls[index])

    def closing(self, response: Response) -> Iterator[DialectEvent]:
        """Yield what ends the answer: why it ends, and what it took."""
        yield from self._end()
        stopped = {"stop_reason": _STOPPED[response.finish], "stop_sequence": None}
        usage = usage_counted(response.counted)
        yield "message_delta", {"type": "message_delta", "delta": stopped, "usage": usage}
        yield "message_stop", {"type": "message_stop"}

    def broken(self, failure: GatewayFailure) -> Iterator[DialectEvent]:
        """Yield the error that ends a stream."""
        yield "error", messages_error(failure)

    def _message(self, content: Sequence[Block], usage: Mapping[str, int]) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _begin(self, kind: str, block: Block) -> Iterator[DialectEvent]:
        """Begin a block unless the last one is of this kind. Calls stay open: their pieces may come by turns."""
        if kind == self._kind:
            return
        if not (kind.startswith("call") and self._kind.startswith("call")):
            yield from self._end()
        self._kind, index = kind, self._blocks
        self._blocks += 1
        self._open.append(index)
        yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": block}

    def _more(self, delta: Block, index: int | None = None) -> DialectEvent:
        at = self._blocks - 1 if index is None else index
        return "content_block_delta", {"type": "content_block_delta", "index": at, "delta": delta}

    def _end(self) -> Iterator[DialectEvent]:
        for index in self._open:
            yield "content_block_stop", {"type": "content_block_stop", "index": index}
        self._open.clear()
        self._kind = ""


def _block_of(part: Part) -> Iterator[Block]:
    match part:
        case Text(text) if text:
            yield {"type": "text", "text": text}
        case Reasoning(text) if text:
            yield {"type": "thinking", "thinking": text, "signature": ""}
        case ToolCall(ident, name):
            try:
                given = part.parse()
            except ValueError:
                text = f"the model called the tool '{name}' with arguments that are not a JSON object"
                raise GatewayFailure(502, "upstream", text, "bad_reply", may_retry=True) from None
            yield {"type": "tool_use", "id": ident, "name": name, "input": given}


def usage_counted(usage: Usage) -> dict[str, int]:
    """Return the figures as Anthropic has them: what was cached is no part of the input."""
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output + usage.reasoning,
    }


_KINDS = {
    "invalid_request": "invalid_request_error",
    "not_found": "not_found_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "rate_limit": "rate_limit_error",
    "quota": "billing_error",
    "upstream": "api_error",
    "ours": "api_error",
}
_BY_STATUS = {413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}


def messages_error(failure: GatewayFailure) -> dict[str, Any]:
    """Return a failure as Anthropic's clients read it."""
    kind = _BY_STATUS.get(failure.status) or _KINDS[failure.kind]
    return {"type": "error", "error": {"type": kind, "message": failure.message}}


def model_card(name: str, created: str) -> dict[str, Any]:
    """Return a model as Anthropic shows it; `created` is an instant of RFC 3339."""
    return {"type": "model", "id": name, "display_name": name, "created_at": created}
