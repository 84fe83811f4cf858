"""OpenAI's chat completions as a server speaks them: a request read, an answer written, whole or in chunks. Pure.

Shapes: https://platform.openai.com/docs/api-reference/chat (read through the clients that send them).
"""

from __future__ import annotations

import json
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
from orchestrator.server.gateway.openai_errors import error_body
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
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolSpec,
    Usage,
)

IGNORED: Mapping[str, Sequence[Any]] = {
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "verbosity": (),
    "prediction": (),
    "parallel_tool_calls": (True,),
}
"""What only colours an answer and is not passed on, with the values that mean nothing anyway."""


class _Function(Lenient):
    name: str = ""
    arguments: str | dict[str, Any] | None = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _CallSaid(Lenient):
    id: str | None = None
    type: str | None = "function"
    function: _Function = Field(default_factory=_Function)


class _Message(Lenient):
    role: str
    content: str | Annotated[list[dict[str, Any] | str], Field(max_length=MOST_ITEMS)] | None = None
    name: str | None = None
    tool_calls: list[_CallSaid] | None = None
    tool_call_id: str | None = None
    function_call: _Function | None = None
    refusal: str | None = None


class _Tool(Lenient):
    type: str = "function"
    function: _Function | None = None


class _StreamOptions(Lenient):
    include_usage: bool | None = None


class ChatBody(Lenient):
    """The body of a request, as far as the gateway reads it."""

    model: str
    messages: list[_Message] = Field(min_length=1, max_length=MOST_ITEMS)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_choice: str | dict[str, Any] | None = None
    functions: list[_Function] | None = Field(default=None, max_length=MOST_TOOLS)
    function_call: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    reasoning_effort: str | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, Any] | None = None
    verbosity: str | None = None
    prediction: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


def read_chat(body: bytes) -> CompletionAsked:
    """Return what a client asks. Raise `GatewayFailure` where that cannot be."""
    asked = read_body(ChatBody, body)
    if asked.n not in (None, 1):
        raise invalid("one answer is given to a request: n must be 1", "n")
    if asked.logprobs:
        raise invalid("logprobs are not passed on", "logprobs", "unsupported_parameter")
    tools = _tools(asked)
    messages = tuple(_messages(asked.messages))
    request = Request(
        messages,
        tools=tools,
        tool_choice=checked_choice(_choice(asked), tools),
        output_schema=_format(asked.response_format),
        max_output_tokens=asked.max_completion_tokens or asked.max_tokens,
        temperature=asked.temperature,
        stop=_stop(asked.stop),
        seed=asked.seed,
        effort=None if asked.reasoning_effort is None else EFFORTS.get(asked.reasoning_effort),
        needs=needs_of(messages, tools),
    )
    ignored = tuple(
        name for name, idle in IGNORED.items() if (said := getattr(asked, name)) is not None and said not in idle
    )
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    by_functions = bool(asked.functions and not asked.tools)
    return CompletionAsked(asked.model, request, bool(asked.stream), usage, ignored, by_functions)


def _messages(said: Sequence[_Message]) -> Iterator[Message]:
    calls = CallsMade()
    for number, one in enumerate(said):
        at = f"messages[{number}]"
        match one.role:
            case "system" | "developer":
                yield Message("system", tuple(_parts(one.content, at)))
            case "user":
                yield Message("user", tuple(_parts(one.content, at)), one.name)
            case "assistant":
                yield _assistant(one, at, calls)
            case "tool" | "function":
                call = one.tool_call_id or (one.name if one.role == "function" else None)
                if call is None:
                    raise invalid(f"missing required parameter: '{at}.tool_call_id'", f"{at}.tool_call_id")
                name = calls.name_of(call, at, "tool_call_id")
                text = "".join(part.text for part in _parts(one.content, at) if isinstance(part, Text))
                yield Message("tool", (ToolResult(call, name, text),))
            case _:
                raise invalid(
                    f"'{at}.role' is one of system, developer, user, assistant, tool; not '{one.role[:40]}'",
                    f"{at}.role",
                )


def _assistant(one: _Message, at: str, made: CallsMade) -> Message:
    parts: list[Part] = list(_parts(one.content, at)) if one.content else []
    if one.refusal:
        parts.append(Text(one.refusal))
    calls = list(one.tool_calls or ())
    if one.function_call is not None:
        calls.append(_CallSaid(id=one.function_call.name, function=one.function_call))
    for number, call in enumerate(calls):
        if not call.function.name:
            raise invalid(f"'{at}.tool_calls[{number}]' calls no function by name", f"{at}.tool_calls[{number}]")
        ident = made.made(call.id, call.function.name)
        arguments = call.function.arguments
        written = json.dumps(arguments) if isinstance(arguments, dict) else arguments or "{}"
        parts.append(ToolCall(ident, call.function.name, written))
    return Message("assistant", tuple(parts) or (Text(""),), one.name)


def _parts(content: str | Sequence[Mapping[str, Any] | str] | None, at: str) -> Iterator[Part]:
    if content is None or isinstance(content, str):
        yield Text(content or "")
        return
    for number, part in enumerate(content):
        place = f"{at}.content[{number}]"
        if isinstance(part, str):
            yield Text(part)
            continue
        match part:
            case {"type": "text" | "input_text" | "output_text", "text": str(text)}:
                yield Text(text)
            case {"type": "refusal", "refusal": str(text)}:
                yield Text(text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                yield image_of(url, place)
            case _:
                kind = str(part.get("type"))[:40]
                raise invalid(f"'{place}' is of the type '{kind}'; known are text and image_url", place)


def _tools(asked: ChatBody) -> tuple[ToolSpec, ...]:
    made: list[ToolSpec] = []
    given = [(f"tools[{i}]", tool.type, tool.function) for i, tool in enumerate(asked.tools or ())]
    given += [(f"functions[{i}]", "function", function) for i, function in enumerate(asked.functions or ())]
    for at, kind, function in given:
        if kind != "function" or function is None or not function.name:
            raise invalid(f"'{at}' is not a function with a name; nothing else is known here", at)
        parameters = function.parameters or NO_PARAMETERS
        made.append(ToolSpec(function.name, function.description or "", parameters))
    return tuple(made)


def _choice(asked: ChatBody) -> str:
    match asked.tool_choice if asked.tool_choice is not None else asked.function_call:
        case None:
            return "auto"
        case "auto" | "none" | "required" as word:
            return word
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return name
    raise invalid("'tool_choice' is one of auto, none, required, or names a function", "tool_choice")


def _format(said: Mapping[str, Any] | None) -> OutputSchema | None:
    match said:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return ANY_OBJECT
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **more}}:
            return OutputSchema(schema, str(more.get("name") or "output"))
    raise invalid("'response_format' is text, json_object, or json_schema with its schema", "response_format")


def _stop(said: str | Sequence[str] | None) -> tuple[str, ...]:
    words = (said,) if isinstance(said, str) else tuple(said or ())
    return tuple(word for word in words if word)


# -- what is answered

_FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
}


@dataclass(slots=True)
class ChatReply:
    """Writes the answer to one request. `created` is in epoch seconds.

    `by_functions`: the client knows functions alone, so it hears of the first call only, as one of them.
    """

    id: str
    model: str
    created: int
    include_usage: bool = False
    by_functions: bool = False
    ending: bytes = b"data: [DONE]\n\n"
    _begun: set[int] = field(default_factory=set)

    def whole(self, response: Response) -> dict[str, Any]:
        """Return the body of a whole answer."""
        reasoning = "".join(part.text for part in response.message.parts if isinstance(part, Reasoning))
        calls = [{"id": call.id, "type": "function", "function": _called(call)} for call in response.tool_calls]
        message: dict[str, Any] = {"role": "assistant", "content": response.text or None, "refusal": None}
        message |= {"reasoning_content": reasoning} if reasoning else {}
        if calls:
            message |= {"function_call": calls[0]["function"]} if self.by_functions else {"tool_calls": calls}
        elif message["content"] is None:
            message["content"] = ""
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish(response)}
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": usage_in_words(response.counted),
        }

    def opening(self) -> Iterator[DialectEvent]:
        """Yield the first chunk: whose words follow."""
        yield self._chunk({"role": "assistant", "content": "", "refusal": None})

    def piece(self, delta: Delta) -> Iterator[DialectEvent]:
        """Yield the chunk of a piece of the answer."""
        match delta:
            case TextDelta(text):
                yield self._chunk({"content": text})
            case ReasoningDelta(text):
                yield self._chunk({"reasoning_content": text})
            case ToolCallDelta(index, ident, name, arguments):
                is_first = index not in self._begun
                self._begun.add(index)
                function = {"name": name, "arguments": arguments} if is_first else {"arguments": arguments}
                call = {"index": index, **({"id": ident, "type": "function"} if is_first else {}), "function": function}
                if not self.by_functions:
                    yield self._chunk({"tool_calls": [call]})
                elif index == min(self._begun):
                    yield self._chunk({"function_call": function})

    def closing(self, response: Response) -> Iterator[DialectEvent]:
        """Yield the chunk that says why the answer ends, and that of figures for clients that ask for it."""
        yield self._chunk({}, self._finish(response))
        if self.include_usage:
            _, chunk = self._chunk({})
            yield None, {**chunk, "choices": [], "usage": usage_in_words(response.counted)}

    def broken(self, failure: GatewayFailure) -> Iterator[DialectEvent]:
        """Yield the error that ends a stream."""
        yield None, error_body(failure)

    def _finish(self, response: Response) -> str:
        finish = _FINISH[response.finish]
        return "function_call" if finish == "tool_calls" and self.by_functions else finish

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> DialectEvent:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return None, {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        }


def _called(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "arguments": call.arguments}


def usage_in_words(usage: Usage) -> dict[str, Any]:
    """Return the figures as OpenAI has them: the cached and the reasoned are parts of the whole."""
    read = usage.input + usage.cache_read + usage.cache_write
    written = usage.output + usage.reasoning
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
