"""OpenAI's responses as a server speaks them, which keeps none of them: a request read, an answer written. Pure.

Shapes: https://platform.openai.com/docs/api-reference/responses (read through the clients that send them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from orchestrator.server.gateway.asked import (
    ANY_OBJECT,
    EFFORTS,
    MOST_ITEMS,
    MOST_TOOLS,
    NO_PARAMETERS,
    CallsMade,
    CompletionAsked,
    DialectEvent,
    Lenient,
    checked_choice,
    image_of,
    needs_of,
    read_body,
)
from orchestrator.server.gateway.failures import GatewayFailure, invalid
from providers.messages import (
    Delta,
    FinishReason,
    Message,
    OutputSchema,
    Part,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Role,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolSpec,
    Usage,
    system,
)

Item = dict[str, Any]
IGNORED: Mapping[str, Sequence[Any]] = {
    "top_p": (1,),
    "parallel_tool_calls": (True,),
    "truncation": ("disabled",),
    "max_tool_calls": (),
}
"""What is not passed on, with the values that mean nothing anyway."""
NOT_KEPT = "answers are not kept here: send the whole conversation as 'input'"
ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class _Reasons(Lenient):
    effort: str | None = None


class _TextWanted(Lenient):
    format: Item | None = None


class ResponsesBody(Lenient):
    """The body of a request, as far as the gateway reads it."""

    model: str
    input: Annotated[str, Field(min_length=1)] | Annotated[list[Item], Field(min_length=1, max_length=MOST_ITEMS)]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[Item] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_choice: str | Item | None = None
    text: _TextWanted | None = None
    reasoning: _Reasons | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    top_p: float | None = None
    parallel_tool_calls: bool | None = None
    truncation: str | None = None
    max_tool_calls: int | None = None


def read_responses(body: bytes) -> CompletionAsked:
    """Return what a client asks. Raise `GatewayFailure` where that cannot be."""
    asked = read_body(ResponsesBody, body)
    for name in ("previous_response_id", "conversation", "background"):
        if getattr(asked, name):
            raise invalid(NOT_KEPT, name, "unsupported_parameter")
    tools, wanted = tuple(_tools(asked.tools or ())), asked.text.format if asked.text else None
    opening = [system(asked.instructions)] if asked.instructions else []
    said: list[Item] = [{"role": "user", "content": asked.input}] if isinstance(asked.input, str) else asked.input
    messages = (*opening, *_messages(said))
    request = Request(
        messages,
        tools=tools,
        tool_choice=checked_choice(_choice(asked.tool_choice), tools),
        output_schema=_format(wanted),
        max_output_tokens=asked.max_output_tokens,
        temperature=asked.temperature,
        effort=EFFORTS.get(asked.reasoning.effort or "") if asked.reasoning else None,
        needs=needs_of(messages, tools),
    )
    ignored = tuple(
        name for name, idle in IGNORED.items() if (value := getattr(asked, name)) is not None and value not in idle
    )
    return CompletionAsked(asked.model, request, bool(asked.stream), ignored=ignored)


def _messages(items: Sequence[Item]) -> Iterator[Message]:
    """Yield what the items say. What an assistant says and calls in one go is one message, as are answers of tools."""
    calls, role = CallsMade(), "user"
    parts: list[Part] = []
    for number, item in enumerate(items):
        whose, said = _item(item, f"input[{number}]", calls)
        if whose is None:
            continue
        if parts and (whose != role or whose in ("user", "system")):
            yield Message(role, tuple(parts))  # type: ignore[arg-type]  # it is one of the roles
            parts = []
        role = whose
        parts += said
    if parts:
        yield Message(role, tuple(parts))  # type: ignore[arg-type]  # the same


def _item(item: Item, at: str, calls: CallsMade) -> tuple[Role | None, list[Part]]:
    match item:
        case {"type": "function_call", "call_id": str(ident), "name": str(name)}:
            return "assistant", [ToolCall(calls.made(ident, name), name, str(item.get("arguments") or "{}"))]
        case {"type": "function_call_output", "call_id": str(ident)}:
            output = item.get("output")
            said = [part.text for part in _parts(output, f"{at}.output") if isinstance(part, Text)]
            return "tool", [ToolResult(ident, calls.name_of(ident, at, "call_id"), "".join(said))]
        case {"type": "reasoning"}:
            return None, []  # which model thought it is not known, and it is of no use to another
        case {"role": str(role)} if role in ROLES and item.get("type") in (None, "message"):
            return ROLES[role], list(_parts(item.get("content"), f"{at}.content"))
    kind = str(item.get("type") or item.get("role"))[:40]
    known = "messages of system, developer, user and assistant, function_call, function_call_output, reasoning"
    raise invalid(f"'{at}' is of the type '{kind}', or not whole; known are here: {known}", at)


def _parts(content: Any, at: str) -> Iterator[Part]:
    for number, part in enumerate(content if isinstance(content, list) else [content or ""]):
        place = f"{at}[{number}]"
        match part:
            case str(text) | {"type": "input_text" | "output_text" | "text", "text": str(text)}:
                yield Text(text)
            case {"type": "refusal", "refusal": str(text)}:
                yield Text(text)
            case {"type": "input_image", "image_url": str(url)}:
                yield image_of(url, place)
            case _:
                kind = str(part.get("type") if isinstance(part, dict) else part)[:40]
                raise invalid(f"'{place}' is of the type '{kind}'; known are input_text and input_image", place)


def _tools(offered: Sequence[Item]) -> Iterator[ToolSpec]:
    for number, one in enumerate(offered):
        match one:
            case {"type": "function", "name": str(name)} if name and isinstance(one.get("parameters") or {}, dict):
                yield ToolSpec(name, str(one.get("description") or ""), one.get("parameters") or NO_PARAMETERS)
            case _:
                at = f"tools[{number}]"
                raise invalid(f"'{at}' is not a function with a name; nothing else is known here", at)


def _choice(said: str | Item | None) -> str:
    match said:
        case None:
            return "auto"
        case "auto" | "none" | "required" as word:
            return word
        case {"type": "function", "name": str(name)}:
            return name
    raise invalid("'tool_choice' is one of auto, none, required, or names a function", "tool_choice")


def _format(said: Item | None) -> OutputSchema | None:
    match said:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema", "schema": dict(schema)}:
            return OutputSchema(schema, str(said.get("name") or "output"))
    raise invalid("'text.format' is text, json_object, or json_schema with its schema", "text.format")


# -- what is answered


@dataclass(slots=True)
class ResponsesReply:
    """Writes the answer to one request. `created` is in epoch seconds."""

    id: str
    model: str
    created: int
    ending: bytes = b""
    _items: list[Item] = field(default_factory=list)
    _calls: dict[int, int] = field(default_factory=dict)
    _done: set[int] = field(default_factory=set)
    _number: int = -1

    def whole(self, response: Response) -> Item:
        """Return the body of a whole answer."""
        items: list[Item] = []
        for part in response.message.parts:
            match part:
                case Text(text) if text:
                    items.append({**self._message(len(items)), "content": [_text(text)], "status": "completed"})
                case Reasoning(text) if text:
                    items.append({**self._thought(len(items)), "summary": [{"type": "summary_text", "text": text}]})
                case ToolCall(ident, name, arguments):
                    items.append({**self._call(len(items), ident, name), "arguments": arguments, "status": "completed"})
        return self._ended(response, items)

    def opening(self) -> Iterator[DialectEvent]:
        """Yield that an answer begins."""
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, response=self._body("in_progress", []))

    def piece(self, delta: Delta) -> Iterator[DialectEvent]:
        """Yield the events of a piece of the answer."""
        last = len(self._items) - 1
        match delta:
            case TextDelta(text):
                if last < 0 or self._items[last]["type"] != "message":
                    yield from self._begin(self._message(last + 1))
                    last += 1
                    part = _text("")
                    self._items[last]["content"] = [part]
                    yield self._at("response.content_part.added", last, content_index=0, part=dict(part))
                self._items[last]["content"][0]["text"] += text
                yield self._at("response.output_text.delta", last, content_index=0, delta=text, logprobs=[])
            case ReasoningDelta(text):
                if last < 0 or self._items[last]["type"] != "reasoning":
                    yield from self._begin(self._thought(last + 1))
                    last += 1
                    part = {"type": "summary_text", "text": ""}
                    self._items[last]["summary"] = [part]
                    yield self._at("response.reasoning_summary_part.added", last, summary_index=0, part=dict(part))
                self._items[last]["summary"][0]["text"] += text
                yield self._at("response.reasoning_summary_text.delta", last, summary_index=0, delta=text)
            case ToolCallDelta(index, ident, name, arguments):
                if index not in self._calls:
                    self._calls[index] = last + 1
                    yield from self._begin(self._call(last + 1, ident, name))
                at = self._calls[index]
                self._items[at]["arguments"] += arguments
                if arguments:
                    yield self._at("response.function_call_arguments.delta", at, delta=arguments)

    def closing(self, response: Response) -> Iterator[DialectEvent]:
        """Yield the ends of what was begun, and the whole answer."""
        yield from self._end(range(len(self._items)))
        ended = self._ended(response, self._items)
        yield self._event(f"response.{ended['status']}", response=ended)

    def broken(self, failure: GatewayFailure) -> Iterator[DialectEvent]:
        """Yield the error that ends a stream, and the answer as a failed one: some clients look for the one alone."""
        yield self._event("error", code=failure.code, message=failure.message, param=failure.param)
        error = {"code": "server_error", "message": failure.message}
        yield self._event("response.failed", response={**self._body("failed", self._items), "error": error})

    def _begin(self, item: Item) -> Iterator[DialectEvent]:
        """Begin an item. Those before are ended, but for calls: their pieces may come by turns."""
        if item["type"] != "function_call":
            yield from self._end(range(len(self._items)))
        else:
            yield from self._end([at for at, one in enumerate(self._items) if one["type"] != "function_call"])
        self._items.append(item)
        yield self._event("response.output_item.added", output_index=len(self._items) - 1, item=dict(item))

    def _end(self, places: Sequence[int]) -> Iterator[DialectEvent]:
        for at in places:
            if at in self._done:
                continue
            self._done.add(at)
            item = self._items[at]
            item["status"] = "completed"
            match item:
                case {"type": "message", "content": [part]}:
                    more = {"content_index": 0, "text": part["text"], "logprobs": []}
                    yield self._at("response.output_text.done", at, **more)
                    yield self._at("response.content_part.done", at, content_index=0, part=dict(part))
                case {"type": "reasoning", "summary": [part]}:
                    yield self._at("response.reasoning_summary_text.done", at, summary_index=0, text=part["text"])
                    yield self._at("response.reasoning_summary_part.done", at, summary_index=0, part=dict(part))
                case {"type": "function_call"}:
                    given = {"name": item["name"], "arguments": item["arguments"]}
                    yield self._at("response.function_call_arguments.done", at, **given)
            yield self._event("response.output_item.done", output_index=at, item=dict(item))

    def _at(self, kind: str, at: int, /, **more: Any) -> DialectEvent:
        return self._event(kind, item_id=self._items[at]["id"], output_index=at, **more)

    def _event(self, kind: str, /, **more: Any) -> DialectEvent:
        self._number += 1
        return kind, {"type": kind, "sequence_number": self._number, **more}

    def _message(self, at: int) -> Item:
        ident = self._ident("msg", at)
        return {"id": ident, "type": "message", "role": "assistant", "status": "in_progress", "content": []}

    def _thought(self, at: int) -> Item:
        return {"id": self._ident("rs", at), "type": "reasoning", "summary": []}

    def _call(self, at: int, ident: str, name: str) -> Item:
        call = {"id": self._ident("fc", at), "type": "function_call", "call_id": ident, "name": name}
        return {**call, "arguments": "", "status": "in_progress"}

    def _ident(self, kind: str, at: int) -> str:
        return f"{kind}_{self.id.removeprefix('resp_')}_{at}"

    def _ended(self, response: Response, items: Sequence[Item]) -> Item:
        is_cut = response.finish in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
        why = "max_output_tokens" if response.finish is FinishReason.LENGTH else "content_filter"
        return {
            **self._body("incomplete" if is_cut else "completed", items),
            "incomplete_details": {"reason": why} if is_cut else None,
            "usage": _usage(response.counted),
        }

    def _body(self, status: str, items: Sequence[Item]) -> Item:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "model": self.model,
            "output": items,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "parallel_tool_calls": True,
            "store": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        }


def _text(text: str) -> Item:
    return {"type": "output_text", "text": text, "annotations": []}


def _usage(usage: Usage) -> Item:
    read, written = usage.input + usage.cache_read + usage.cache_write, usage.output + usage.reasoning
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": read + written,
    }
