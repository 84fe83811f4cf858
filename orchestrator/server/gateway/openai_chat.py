"""OpenAI's chat completions as a server speaks them: a request read, an answer written, whole or in chunks. Pure.

Shapes: https://platform.openai.com/docs/api-reference/chat (read through the clients that send them).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.server.gateway.failures import GatewayFailure, invalid
from providers.messages import (
    Capability,
    Delta,
    FinishReason,
    Image,
    Message,
    Needs,
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

EFFORTS: Mapping[str, Literal["low", "medium", "high"]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
IGNORED: Mapping[str, Sequence[Any]] = {
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "verbosity": (),
    "prediction": (),
}
"""What only colours an answer and is not passed on, with the values that mean nothing anyway."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Function(_Lenient):
    name: str = ""
    arguments: str | dict[str, Any] | None = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _CallSaid(_Lenient):
    id: str | None = None
    type: str | None = "function"
    function: _Function = Field(default_factory=_Function)


class _Message(_Lenient):
    role: str
    content: str | list[dict[str, Any] | str] | None = None
    name: str | None = None
    tool_calls: list[_CallSaid] | None = None
    tool_call_id: str | None = None
    function_call: _Function | None = None
    refusal: str | None = None


class _Tool(_Lenient):
    type: str = "function"
    function: _Function | None = None


class _StreamOptions(_Lenient):
    include_usage: bool | None = None


class ChatBody(_Lenient):
    """The body of a request, as far as the gateway reads it."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    functions: list[_Function] | None = None
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


@dataclass(frozen=True, slots=True)
class CompletionAsked:
    """A request that was read. `ignored` are the fields that it sets and that change nothing here."""

    model: str
    request: Request
    stream: bool = False
    include_usage: bool = False
    as_json: bool = False
    """Whether the answer must be a JSON object of any shape."""
    ignored: tuple[str, ...] = ()


def read_chat(body: bytes) -> CompletionAsked:
    """Return what a client asks. Raise `GatewayFailure` where that cannot be."""
    try:
        asked = ChatBody.model_validate_json(body)
    except ValidationError as error:
        raise _unreadable(error) from None
    if asked.n not in (None, 1):
        raise invalid("one answer is given to a request: n must be 1", "n")
    if asked.logprobs:
        raise invalid("logprobs are not passed on", "logprobs", "unsupported_parameter")
    tools, choice = _tools(asked), _choice(asked)
    schema, as_json = _format(asked.response_format)
    messages = tuple(_messages(asked.messages))
    request = Request(
        messages,
        tools=tools,
        tool_choice=choice if tools else "auto",
        output_schema=schema,
        max_output_tokens=asked.max_completion_tokens or asked.max_tokens,
        temperature=asked.temperature,
        stop=_stop(asked.stop),
        seed=asked.seed,
        effort=None if asked.reasoning_effort is None else EFFORTS.get(asked.reasoning_effort),
        needs=Needs(capabilities=frozenset(_capabilities(messages, tools))),
    )
    ignored = tuple(
        name for name, idle in IGNORED.items() if (said := getattr(asked, name)) is not None and said not in idle
    )
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return CompletionAsked(asked.model, request, bool(asked.stream), usage, as_json, ignored)


def _unreadable(error: ValidationError) -> GatewayFailure:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return invalid(f"the body is no JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    path = ""
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():  # the names of a union's members are none
            path += f".{part}" if path else part
    if first["type"] == "missing":
        return invalid(f"missing required parameter: '{path}'", path, "missing_required_parameter")
    said = first["msg"].removeprefix("Input ")
    return invalid(f"invalid value for '{path}': it {said[:1].lower()}{said[1:]}" if path else said, path or None)


def _messages(said: Sequence[_Message]) -> Iterator[Message]:
    names: dict[str, str] = {}
    for number, one in enumerate(said):
        at = f"messages[{number}]"
        match one.role:
            case "system" | "developer":
                yield Message("system", tuple(_parts(one.content, at)))
            case "user":
                yield Message("user", tuple(_parts(one.content, at)), one.name)
            case "assistant":
                yield _assistant(one, at, names)
            case "tool" | "function":
                call = one.tool_call_id or (one.name if one.role == "function" else None)
                if call is None:
                    raise invalid(f"missing required parameter: '{at}.tool_call_id'", f"{at}.tool_call_id")
                if call not in names:
                    raise invalid(
                        f"{at} answers the call '{call[:80]}', which no message before it makes", f"{at}.tool_call_id"
                    )
                text = "".join(part.text for part in _parts(one.content, at) if isinstance(part, Text))
                yield Message("tool", (ToolResult(call, names[call], text),))
            case _:
                raise invalid(
                    f"'{at}.role' is one of system, developer, user, assistant, tool; not '{one.role[:40]}'",
                    f"{at}.role",
                )


def _assistant(one: _Message, at: str, names: dict[str, str]) -> Message:
    parts: list[Part] = list(_parts(one.content, at)) if one.content else []
    if one.refusal:
        parts.append(Text(one.refusal))
    calls = list(one.tool_calls or ())
    if one.function_call is not None:
        calls.append(_CallSaid(id=one.function_call.name, function=one.function_call))
    for number, call in enumerate(calls):
        if not call.function.name:
            raise invalid(f"'{at}.tool_calls[{number}]' calls no function by name", f"{at}.tool_calls[{number}]")
        ident = call.id or f"call-{len(names) + 1}"
        names[ident] = call.function.name
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


def image_of(url: str, at: str) -> Image:
    """Return the image of a `data:` URL. Others are not fetched: a client could have the server ask anything."""
    head, comma, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise invalid(f"'{at}' names an image by its address; send it as data:image/png;base64,...", at)
    try:
        return Image(head[len("data:") : -len(";base64")], base64.b64decode(data, validate=True))
    except ValueError:
        raise invalid(f"'{at}' holds no base64", at) from None


def _tools(asked: ChatBody) -> tuple[ToolSpec, ...]:
    made: list[ToolSpec] = []
    given = [(f"tools[{i}]", tool.type, tool.function) for i, tool in enumerate(asked.tools or ())]
    given += [(f"functions[{i}]", "function", function) for i, function in enumerate(asked.functions or ())]
    for at, kind, function in given:
        if kind != "function" or function is None or not function.name:
            raise invalid(f"'{at}' is no function with a name; others are not known here", at)
        parameters = function.parameters or {"type": "object", "properties": {}}
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


def _format(said: Mapping[str, Any] | None) -> tuple[OutputSchema | None, bool]:
    match said:
        case None | {"type": "text"}:
            return None, False
        case {"type": "json_object"}:
            return None, True
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **more}}:
            return OutputSchema(schema, str(more.get("name") or "output")), False
    raise invalid("'response_format' is text, json_object, or json_schema with its schema", "response_format")


def _stop(said: str | Sequence[str] | None) -> tuple[str, ...]:
    words = (said,) if isinstance(said, str) else tuple(said or ())
    return tuple(word for word in words if word)


def _capabilities(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Iterator[Capability]:
    if tools:
        yield Capability.TOOLS
    if any(isinstance(part, Image) for message in messages for part in message.parts):
        yield Capability.VISION


# -- what is answered

_FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
}


@dataclass(slots=True)
class ChatReply:
    """Writes the answer to one request. `created` is in epoch seconds."""

    id: str
    model: str
    created: int
    _begun: set[int] = field(default_factory=set)

    def whole(self, response: Response) -> dict[str, Any]:
        """Return the body of a whole answer."""
        reasoning = "".join(part.text for part in response.message.parts if isinstance(part, Reasoning))
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in response.tool_calls
        ]
        message: dict[str, Any] = {"role": "assistant", "content": response.text or None, "refusal": None}
        message |= {"reasoning_content": reasoning} if reasoning else {}
        message |= {"tool_calls": calls} if calls else {}
        if not calls and message["content"] is None:
            message["content"] = ""
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[response.finish]}
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": usage_in_words(response.counted),
        }

    def opening(self) -> dict[str, Any]:
        """Return the first chunk: whose words follow."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def piece(self, delta: Delta) -> dict[str, Any] | None:
        """Return the chunk of a piece of the answer; None where there is nothing to tell."""
        match delta:
            case TextDelta(text):
                return self._chunk({"content": text})
            case ReasoningDelta(text):
                return self._chunk({"reasoning_content": text})
            case ToolCallDelta(index, ident, name, arguments):
                call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
                if index not in self._begun:
                    self._begun.add(index)
                    call |= {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}
                return self._chunk({"tool_calls": [call]})
        return None

    def closing(self, response: Response) -> dict[str, Any]:
        """Return the chunk that says why the answer ends."""
        return self._chunk({}, _FINISH[response.finish])

    def usage(self, response: Response) -> dict[str, Any]:
        """Return the chunk of figures, for clients that ask for it."""
        return {**self._chunk({}), "choices": [], "usage": usage_in_words(response.counted)}

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
        }


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


_KINDS = {
    "invalid_request": "invalid_request_error",
    "not_found": "invalid_request_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "rate_limit": "rate_limit_error",
    "quota": "insufficient_quota",
    "upstream": "upstream_error",
    "ours": "server_error",
}


def error_body(failure: GatewayFailure) -> dict[str, Any]:
    """Return a failure as OpenAI's clients read it."""
    said = {"message": failure.message, "type": _KINDS[failure.kind], "param": failure.param, "code": failure.code}
    return {"error": said}
