"""Anthropic's Messages, a dialect that llama.cpp and some vendors' second endpoints speak too.

Sources: docs/sources.md, checked 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from providers.adapters import HttpReply, HttpRequest, StreamDecoder
from providers.adapters.anthropic.decode import read_reply
from providers.adapters.anthropic.errors import error_of
from providers.adapters.anthropic.schema import subset
from providers.adapters.anthropic.stream import MessageStream
from providers.adapters.anthropic.transcript import fragment, text_block, turns
from providers.adapters.bodies import heard_at_once, is_event_stream
from providers.adapters.encoding import (
    Kept,
    each_once,
    effort_of,
    json_mode,
    key_of,
    refuse_forced_tool,
    schema_in_words,
    to_json,
)
from providers.adapters.tools import object_root, own_names, own_names_streamed, refuse_many, wire_name, wire_names
from providers.adapters.wrong_address import wrong_address
from providers.catalog.base_url import endpoint
from providers.catalog.model import Candidate
from providers.catalog.quirks import Quirks
from providers.documents.unicode import clean, clean_json
from providers.errors import ProviderError, Unsupported
from providers.messages import Capability, Image, Message, OutputSchema, Request, Response, ToolSpec

# Bedrock answers 400 to the newer 2026-10-21, which changes nothing that is used here.
VERSION = "2023-06-01"
MAX_TOKENS = 8192
"""Sent where neither the request nor the row has a cap: the dialect demands one."""
SYSTEM = "anthropic-messages system"
CACHED = b',"cache_control":{"type":"ephemeral"}'


class AnthropicMessages:
    """An `Adapter`. Stateless but for what it remembers of tools and schemas, which are taken to be frozen."""

    def __init__(self) -> None:
        self._kept = Kept()

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        """Return the HTTP request. Raise `Unsupported` for an image that can't be sent, `AuthFailed` for such a key."""
        refuse_forced_tool(request, candidate, stream=stream)
        refuse_many(request.tools, candidate.provider.quirks.max_tools)
        body = b",".join(
            (to_json(_head(request, candidate, stream=stream))[:-1], *self._members(request, candidate, stream=stream))
        )
        return HttpRequest("POST", _url(candidate), _headers(candidate, stream=stream), body + b"}")

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:
        """Return the answer of a 2xx reply. Raise a `ProviderError` for anything that is not a sound answer."""
        if is_event_stream(reply.body):
            return heard_at_once(self.stream_decoder(request, candidate, now), reply.body)
        return own_names(read_reply(reply, candidate, now), request.tools)

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        """Return the error that a reply other than 2xx means. Never raises, whatever the body."""
        return wrong_address(reply, _url(candidate), candidate.provider) or error_of(
            reply.status, reply.headers, reply.body, now, candidate.provider.refusals
        )

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> StreamDecoder:
        """Return a fresh decoder for one streamed reply."""
        return own_names_streamed(MessageStream(candidate, now), request)

    def _members(self, request: Request, candidate: Candidate, *, stream: bool) -> Iterator[bytes]:
        """Yield the members of the body that are joined of bytes which outlive a turn."""
        if tools := request.tools or _called(request.messages):
            yield b'"tools":[' + b",".join([self._kept.keep("tool", tool, _tool) for tool in tools]) + b"]"
            if not request.tools:
                yield b'"tool_choice":{"type":"none"}'
        # One place for instructions: those given in mid-conversation stand there too, in order.
        system = [block for m in request.messages if m.role == "system" if (block := m.memo(SYSTEM, _instruction))]
        config: list[bytes] = []
        if (output := request.output_schema) is not None:
            native = (
                json_mode(request, candidate, stream=stream) == "schema"
                and Capability.JSON_SCHEMA in candidate.model.capabilities
            )
            if shape := self._kept.keep("format", output, _format) if native else b"":
                config.append(shape)
            else:
                words = partial(_in_words, tools=bool(request.tools))
                system.append(self._kept.keep(f"words {bool(request.tools)}", output, words))
        effort, is_off = effort_of(request, candidate, stream=stream)
        if effort is not None:
            said = to_json(effort)
            if is_off:
                yield b'"thinking":{"type":%b}' % said
            else:
                config.append(b'"effort":%b' % said)
        if config:
            yield b'"output_config":{' + b",".join(config) + b"}"
        marked = _is_long(request, candidate.provider.quirks)
        if system:
            yield b'"system":[' + _block_marked(b",".join(system), marked) + b"]"
        yield b'"messages":[' + _messages(request, candidate.maker, marked) + b"]"


def _head(request: Request, candidate: Candidate, *, stream: bool) -> dict[str, Any]:
    """Return the members that are small."""
    quirks, model = candidate.provider.quirks, candidate.model
    cap = request.max_output_tokens or quirks.default_max_tokens or MAX_TOKENS
    head: dict[str, Any] = {"model": model.name, "max_tokens": min(cap, model.max_output) if model.max_output else cap}
    if request.temperature is not None and quirks.sampling:
        head["temperature"] = min(request.temperature, 1.0)
    if stops := [word for word in map(clean, request.stop) if word.strip()]:  # a blank one is a 400
        head["stop_sequences"] = stops
    if stream:
        head["stream"] = True
    if request.tools and (choice := _tool_choice(request, quirks)) != {"type": "auto"}:
        head["tool_choice"] = choice
    return head


def _url(candidate: Candidate) -> str:
    # The vendor's own clients want a base URL without the version, ours has it: both do.
    base, mark, query = candidate.provider.base_url.partition("?")
    return endpoint(base.rstrip("/").removesuffix("/v1") + mark + query, "/v1/messages")


def _headers(candidate: Candidate, *, stream: bool) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        "anthropic-version": VERSION,
        **candidate.provider.quirks.extra_headers,
    }
    if (key := key_of(candidate)) is not None:
        headers[candidate.provider.quirks.key_header or "x-api-key"] = key
    return headers


def _tool_choice(request: Request, quirks: Quirks) -> dict[str, Any]:
    choice: dict[str, Any]
    match request.tool_choice:
        case "none":
            return {"type": "none"}
        case "auto":
            choice = {"type": "auto"}
        case "required":
            choice = {"type": "any"}
        case name if any(tool.name == name for tool in request.tools):
            choice = {"type": "tool", "name": wire_name(name)}
        case name:
            raise Unsupported(f"tool_choice {name!r} names no tool of the request")
    return choice if quirks.parallel_calls else {**choice, "disable_parallel_tool_use": True}


def _called(messages: tuple[Message, ...]) -> tuple[ToolSpec, ...]:
    """Return what stands for the tools that were called, where none is offered: calls of no known tool are a 400."""
    names = dict.fromkeys(call.name for message in messages for call in message.tool_calls)
    return tuple(ToolSpec(name, "") for name in names)


def _tool(spec: ToolSpec) -> bytes:
    description = clean(spec.description)
    told = {"description": description} if description.strip() else {}
    schema = clean_json(object_root(spec.parameters))
    return to_json({"name": wire_name(spec.name), **told, "input_schema": schema})


def _format(output: OutputSchema) -> bytes:
    """Return the member that asks for `output`, nothing where the dialect cannot say it."""
    schema = subset(clean_json(output.schema))
    return b"" if schema is None else b'"format":' + to_json({"type": "json_schema", "schema": schema})


def _in_words(output: OutputSchema, tools: bool) -> bytes:
    return text_block(schema_in_words(output, tools=tools))


def _instruction(message: Message) -> bytes:
    if any(isinstance(part, Image) for part in message.parts):
        raise Unsupported("this dialect takes images in a user's message only")
    return text_block(message.text)


def _messages(request: Request, maker: str, marked: bool) -> bytes:
    spoken = [message for message in request.messages if message.role != "system"]
    blocks = each_once(spoken, "anthropic-messages", fragment, maker, wire_names(request.tools))
    roles: Any = ["assistant" if message.role == "assistant" else "user" for message in spoken]
    said = zip(roles, blocks, strict=True)
    *before, last = turns(said, prefill=Capability.PREFILL in request.needs.capabilities)
    return b",".join([*before, _block_marked(last[:-2], marked) + b"]}"])


def _is_long(request: Request, quirks: Quirks) -> bool:
    return quirks.cache_from is not None and sum(m.tokens for m in request.messages) >= quirks.cache_from


def _block_marked(blocks: bytes, marked: bool) -> bytes:
    """Return `blocks`, the last one marked: what was read up to there is kept for the next turn."""
    return blocks[:-1] + CACHED + b"}" if marked else blocks
