"""OpenAI's Chat Completions, the dialect that most vendors speak. What differs between them stands in `Quirks`.

Encoding: a message's bytes are made once and kept by the message, so a turn pays for joining its transcript, not for
encoding it again. Sources of the vendors' oddities: docs/sources.md, checked 2026-11.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from providers.adapters import HttpReply, HttpRequest, StreamDecoder
from providers.adapters.encoding import NO_RESULT, Kept, key_of, schema_in_words, to_json
from providers.adapters.openai_errors import error_of
from providers.adapters.openai_reply import ChatStream, read_reply
from providers.catalog import Candidate, Quirks
from providers.errors import ProviderError, Unsupported
from providers.messages import (
    Image,
    Message,
    OutputSchema,
    Part,
    Reasoning,
    Request,
    Response,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from providers.unicode import clean, clean_json, clean_json_text

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_alnum9 = re.compile(r"[A-Za-z0-9]{9}").fullmatch
_not_in_a_name = re.compile(r"[^A-Za-z0-9_-]+").sub

# Content must not be empty: several vendors answer 400 to "" (Anthropic and Bedrock behind aggregators, Mistral, Z.ai).
BLANK = " "


@dataclass(frozen=True, slots=True)
class Fragment:
    """A message on the wire: its JSON objects joined by commas, and the ids of its tool calls, or results."""

    body: bytes
    calls: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


class OpenAIChat:
    """An `Adapter`. Stateless but for what it remembers of tools and schemas, which are taken to be frozen."""

    def __init__(self) -> None:
        self._kept = Kept()

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        """Return the HTTP request. Raise `Unsupported` for an image outside a user's message."""
        head = self._head(request, candidate, stream=stream)
        body = b"".join((head[:-1], b',"messages":[', self._messages(request, candidate), b"]}"))
        url = candidate.provider.base_url.rstrip("/") + "/chat/completions"
        return HttpRequest("POST", url, _headers(candidate, stream=stream), body)

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:  # noqa: ARG002
        """Return the answer of a 2xx reply. Raise a `ProviderError` for anything that is not a sound answer."""
        return read_reply(reply, candidate, now)

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:  # noqa: ARG002
        """Return the error that a reply other than 2xx means. Never raises, whatever the body."""
        return error_of(reply.status, reply.headers, reply.body, now)

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> StreamDecoder:  # noqa: ARG002
        """Return a fresh decoder for one streamed reply."""
        return ChatStream(candidate, now)

    def _head(self, request: Request, candidate: Candidate, *, stream: bool) -> bytes:
        """Return a JSON object of everything but the messages."""
        quirks, model = candidate.provider.quirks, candidate.model
        head: dict[str, Any] = {"model": model.name}
        cap = request.max_output_tokens or quirks.default_max_tokens
        if cap is not None:
            head[quirks.max_tokens_field] = min(cap, model.max_output) if model.max_output else cap
        if request.temperature is not None and quirks.sampling:
            head["temperature"] = request.temperature
        if request.stop:
            head["stop"] = [clean(word) for word in request.stop]
        if request.seed is not None:
            head[quirks.seed_field] = request.seed
        if stream:
            head["stream"] = True
            if quirks.stream_options:
                head["stream_options"] = {"include_usage": True}
        if request.tools and request.tool_choice != "auto":
            head["tool_choice"] = _tool_choice(request)
        if request.output_schema is not None and quirks.json_mode == "object":
            head["response_format"] = {"type": "json_object"}
        return _spliced(to_json(head), self._cached(request, quirks))

    def _cached(self, request: Request, quirks: Quirks) -> Iterator[bytes]:
        """Yield members whose bytes outlive a turn: the tools and the output schema."""
        if request.tools:
            yield b'"tools":[' + b",".join([self._kept.keep("tool", tool, _tool) for tool in request.tools]) + b"]"
        if request.output_schema is not None and quirks.json_mode == "schema":
            yield self._kept.keep("format", request.output_schema, _response_format)

    def _messages(self, request: Request, candidate: Candidate) -> bytes:
        quirks = candidate.provider.quirks
        key = f"openai-chat {quirks.system_role} {quirks.tool_ids} {quirks.null_content}"
        if quirks.reasoning_field or quirks.tool_call_extra:
            key = f"{key} {candidate.provider.name} {quirks.reasoning_field} {quirks.tool_call_extra}"
        make = partial(_fragment, quirks=quirks, maker=candidate.provider.name)
        fragments = [message.memo(key, make) for message in request.messages]
        bodies = _paired(fragments)
        if request.output_schema is not None and quirks.json_mode != "schema":
            leading = next((i for i, m in enumerate(request.messages) if m.role != "system"), len(request.messages))
            words = partial(_schema_in_words, role=quirks.system_role)
            bodies.insert(leading, self._kept.keep(quirks.system_role, request.output_schema, words))
        return b",".join(bodies)


def _headers(candidate: Candidate, *, stream: bool) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        **candidate.provider.quirks.extra_headers,
    }
    if (key := key_of(candidate)) is not None:
        headers["authorization"] = f"Bearer {key}"
    return headers


def _spliced(head: bytes, members: Iterator[bytes]) -> bytes:
    return head[:-1] + b"".join([b"," + member for member in members]) + b"}"


def _tool_choice(request: Request) -> Any:
    if request.tool_choice in ("none", "required"):
        return request.tool_choice
    if all(tool.name != request.tool_choice for tool in request.tools):
        raise Unsupported(f"tool_choice {request.tool_choice!r} names no tool of the request")
    return {"type": "function", "function": {"name": clean(request.tool_choice)}}


def _tool(spec: ToolSpec) -> bytes:
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return to_json({"type": "function", "function": clean_json(function)})


def _response_format(output: OutputSchema) -> bytes:
    schema = clean_json(output.schema)
    name = _not_in_a_name("_", output.name)[:64] or "output"
    spec = {"name": name, "schema": schema, "strict": _is_strict(schema)}
    return b'"response_format":' + to_json({"type": "json_schema", "json_schema": spec})


def _is_strict(schema: Any) -> bool:
    """Say whether OpenAI's strict mode takes `schema`: every object closed, all of its properties required."""
    if isinstance(schema, list):
        return all(_is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(names):
            return False
    return all(_is_strict(item) for item in schema.values())


def _schema_in_words(output: OutputSchema, role: str) -> bytes:
    return to_json({"role": role, "content": schema_in_words(output)})


def _paired(fragments: list[Fragment]) -> list[bytes]:
    """Return the bodies in order, with every tool call answered: an unanswered id is a 400 everywhere.

    A turn that was cut short leaves such calls behind. Results without a call are the context's to avoid.
    """
    bodies: list[bytes] = []
    open_calls: dict[str, None] = {}
    for fragment in fragments:
        if open_calls and not fragment.results:
            bodies += [_result(call, NO_RESULT) for call in open_calls]
            open_calls = {}
        for call in fragment.results:
            open_calls.pop(call, None)
        if fragment.calls:
            open_calls = dict.fromkeys(fragment.calls)
        bodies.append(fragment.body)
    return bodies + [_result(call, NO_RESULT) for call in open_calls]


def _fragment(message: Message, quirks: Quirks, maker: str) -> Fragment:
    """Return `message` on the wire. Tool results come first: they must follow their calls at once."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    ids = tuple(_call_id(result.call_id, quirks) for result in results)
    bodies = [_result(call, _outcome(result)) for call, result in zip(ids, results, strict=True)]
    rest = tuple(part for part in message.parts if not isinstance(part, ToolResult))
    if message.role == "assistant":
        bodies.append(to_json(_assistant(rest, quirks, maker)))
    elif rest or not results:
        bodies.append(to_json(_said(message, rest, quirks)))
    calls = tuple(_call_id(call.id, quirks) for call in message.tool_calls)
    return Fragment(b",".join(bodies), calls, ids)


def _assistant(parts: tuple[Part, ...], quirks: Quirks, maker: str) -> dict[str, Any]:
    calls = [_call(part, quirks) for part in parts if isinstance(part, ToolCall)]
    text = clean(_text(parts))
    said: dict[str, Any] = {"role": "assistant", "content": text or _nothing(calls, quirks)}
    if quirks.reasoning_field is not None:
        thought = "".join(part.text for part in parts if isinstance(part, Reasoning) and part.made_by == maker)
        if thought:
            said[quirks.reasoning_field] = clean(thought)
    if calls:
        said["tool_calls"] = calls
    return said


def _nothing(calls: list[Mapping[str, Any]], quirks: Quirks) -> str | None:
    if not calls:
        return BLANK
    return None if quirks.null_content else ""


def _said(message: Message, parts: tuple[Part, ...], quirks: Quirks) -> dict[str, Any]:
    role = quirks.system_role if message.role == "system" else "user"
    images = [part for part in parts if isinstance(part, Image)]
    if images and role != "user":
        raise Unsupported("this dialect takes images in a user's message only")
    text = clean(_text(parts))
    if message.name is not None and role == "user":
        # The dialect has a `name` field, but Groq, Mistral and others answer 400 to it; models read a prefix well.
        text = f"{clean(message.name)}: {text}"
    if not images:
        return {"role": role, "content": text or BLANK}
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return {"role": role, "content": content + [_image(image) for image in images]}


def _image(image: Image) -> dict[str, Any]:
    data = base64.b64encode(image.data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{clean(image.media_type)};base64,{data}"}}


def _text(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


def _call(call: ToolCall, quirks: Quirks) -> Mapping[str, Any]:
    function = {"name": clean(call.name), "arguments": clean_json_text(call.arguments) or "{}"}
    return {"id": _call_id(call.id, quirks), "type": "function", "function": function, **quirks.tool_call_extra}


def _outcome(result: ToolResult) -> str:
    # The dialect has no flag for a failed call.
    text = clean(result.content)
    return f"error: {text}" if result.is_error else text


def _result(call_id: str, content: str) -> bytes:
    return to_json({"role": "tool", "tool_call_id": call_id, "content": content or BLANK})


def _call_id(call_id: str, quirks: Quirks) -> str:
    """Return the id as the vendor takes it. Mistral's are nine letters or digits; foreign ones map, always the same."""
    call_id = clean(call_id)
    if quirks.tool_ids == "opaque" or _alnum9(call_id):
        return call_id
    number = int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:8])
    return "".join(ALPHABET[number // 62**place % 62] for place in range(9))
