"""OpenAI's Chat Completions, the dialect that most vendors speak. What differs between them is in `Quirks`.

Encoding: a message's bytes are made once and kept by the message, so a turn pays for joining its transcript, not for
encoding it again. Sources of the vendors' oddities: docs/sources.md, checked 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from sys import intern
from typing import Any

from providers.adapters import HttpReply, HttpRequest, StreamDecoder
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
from providers.adapters.openai.decode import read_reply
from providers.adapters.openai.errors import error_of
from providers.adapters.openai.stream import ChatStream
from providers.adapters.openai.transcript import BEGIN, Said, fit_name, fragment, in_strict_turns, paired
from providers.adapters.tools import (
    description,
    object_root,
    own_names,
    own_names_streamed,
    refuse_many,
    resolved,
    wire_name,
    wire_names,
)
from providers.adapters.wrong_address import wrong_address
from providers.catalog.base_url import endpoint
from providers.catalog.model import Candidate, Model
from providers.catalog.quirks import JsonMode
from providers.documents.unicode import clean, clean_json
from providers.errors import ProviderError, Unsupported
from providers.messages import Capability, OutputSchema, Request, Response, ToolSpec

# "'default' is not permitted", "'uniqueItems' is not permitted": OpenAI's strict mode, docs/sources.md#requests.
NOT_STRICT = frozenset(
    (
        *("allOf", "default", "dependentRequired", "dependentSchemas", "else", "if", "not", "oneOf", "then"),
        *("contains", "maxContains", "minContains", "prefixItems", "unevaluatedItems", "uniqueItems"),
        *("maxProperties", "minProperties", "patternProperties", "propertyNames", "unevaluatedProperties"),
        *("maxLength", "minLength"),
    )
)
STRICT_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"))
"""All others are refused: "'uri' is not a valid format"."""
TELLS_KIND = frozenset(("type", "$ref", "anyOf"))
_looks_around = re.compile(r"\(\?<?[=!]").search
NAMED = frozenset(("properties", "$defs", "definitions"))
"""Keywords whose values are schemas by name."""


class OpenAIChat:
    """An `Adapter`. Stateless but for what it remembers of tools and schemas, which are taken to be frozen."""

    def __init__(self) -> None:
        self._kept = Kept()

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        """Return the HTTP request. Raise `Unsupported` for an image outside a user's message or a forced tool."""
        model = self._kept.keep("model", candidate.model, _model)
        refuse_forced_tool(request, candidate, stream=stream)
        refuse_many(request.tools, candidate.provider.quirks.max_tools)
        mode = _mode(request, candidate, stream=stream)
        members = self._members(request, candidate, mode, stream=stream)
        messages = self._messages(request, candidate, mode)
        body = b"".join((b"{", model, *members, b',"messages":[', messages, b"]}"))
        return HttpRequest("POST", _url(candidate), _headers(candidate, stream=stream), body)

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
        return own_names_streamed(ChatStream(candidate, now), request)

    def _members(
        self, request: Request, candidate: Candidate, mode: JsonMode | None, *, stream: bool
    ) -> Iterator[bytes]:
        """Yield the members of the body but for the model and the messages, each with a comma before it."""
        yield b"," + to_json(_options(request, candidate, mode, stream=stream))[1:-1]
        if request.tools:
            limit = candidate.provider.quirks.description_limit
            key, make = intern(f"tool {limit}"), partial(_tool, limit=limit)
            yield b',"tools":[' + b",".join([self._kept.keep(key, tool, make) for tool in request.tools]) + b"]"
        if request.output_schema is not None and mode == "schema":
            yield b"," + self._kept.keep("format", request.output_schema, _response_format)

    def _messages(self, request: Request, candidate: Candidate, mode: JsonMode | None) -> bytes:
        quirks = candidate.provider.quirks
        key = f"openai-chat {quirks.system_role} {quirks.tool_ids} {quirks.null_content}"
        if quirks.reasoning_field or quirks.tool_call_extra:
            key = f"{key} {quirks.reasoning_field} {quirks.tool_call_extra}"
        maker = candidate.maker if quirks.reasoning_field else ""
        names = wire_names(request.tools)
        said = paired(each_once(request.messages, key, partial(fragment, quirks=quirks), maker, names))
        if request.output_schema is not None and mode != "schema":
            leading = next((i for i, each in enumerate(said) if each.role != quirks.system_role), len(said))
            words = partial(_schema_in_words, role=quirks.system_role, tools=bool(request.tools))
            body = self._kept.keep(f"{quirks.system_role} {bool(request.tools)}", request.output_schema, words)
            said.insert(leading, Said(quirks.system_role, body))
        if all(each.role == quirks.system_role for each in said):
            said.append(BEGIN)  # no message at all is a 400, and many templates raise "No user query found in messages"
        if quirks.strict_turns:
            said = in_strict_turns(said, prefill=Capability.PREFILL in request.needs.capabilities)
        return b",".join([each.body for each in said])


def _url(candidate: Candidate) -> str:
    return endpoint(candidate.provider.base_url, "/chat/completions")


def _headers(candidate: Candidate, *, stream: bool) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        **candidate.provider.quirks.extra_headers,
    }
    if (key := key_of(candidate)) is not None:
        header = candidate.provider.quirks.key_header
        headers[header or "authorization"] = key if header else f"Bearer {key}"
    return headers


def _model(model: Model) -> bytes:
    return b'"model":' + to_json(model.name)


def _options(request: Request, candidate: Candidate, mode: JsonMode | None, *, stream: bool) -> dict[str, Any]:
    """Return what the request sets, in this vendor's words."""
    quirks, model = candidate.provider.quirks, candidate.model
    options: dict[str, Any] = {}
    cap = request.max_output_tokens or quirks.default_max_tokens
    if cap is not None:
        options[quirks.max_tokens_field] = min(cap, model.max_output) if model.max_output else cap
    if request.temperature is not None and quirks.sampling:
        options["temperature"] = request.temperature
    if request.stop:
        options["stop"] = [clean(word) for word in request.stop]
    if request.seed is not None:
        options[quirks.seed_field] = request.seed
    effort, _ = effort_of(request, candidate, stream=stream)
    if effort is not None and quirks.effort_field:
        nested = quirks.effort_field == "reasoning"
        options[quirks.effort_field] = {"effort": effort} if nested else effort
    options["stream"] = stream  # servers behind some gateways stream where nothing is said
    if stream and quirks.stream_options:
        options["stream_options"] = {"include_usage": True}
    if request.tools and request.tool_choice != "auto":
        options["tool_choice"] = _tool_choice(request)
    if mode == "object":
        options["response_format"] = {"type": "json_object"}
    return options


def _tool_choice(request: Request) -> Any:
    if request.tool_choice in ("none", "required"):
        return request.tool_choice
    if all(tool.name != request.tool_choice for tool in request.tools):
        raise Unsupported(f"tool_choice {request.tool_choice!r} names no tool of the request")
    return {"type": "function", "function": {"name": wire_name(request.tool_choice)}}


def _tool(spec: ToolSpec, limit: int | None) -> bytes:
    told, root = description(spec.description, limit), object_root(spec.parameters)
    function = {"name": wire_name(spec.name), "description": told, "parameters": root}
    return to_json({"type": "function", "function": clean_json(function)})


def _response_format(output: OutputSchema) -> bytes:
    schema = clean_json(_root(output))
    spec = {"name": fit_name(output.name), "schema": schema, "strict": _is_strict(schema)}
    return b'"response_format":' + to_json({"type": "json_schema", "json_schema": spec})


def _root(output: OutputSchema) -> dict[str, Any]:
    """Return the schema with a type at its root, and no reference: "got 'type: None'" is a 400."""
    root = resolved(output.schema, output.schema)
    return {"type": "object", **root} if "properties" in root else root


def _mode(request: Request, candidate: Candidate, *, stream: bool) -> JsonMode | None:
    """Return how the schema is said. In most vendors' own words it is about an object."""
    mode = json_mode(request, candidate, stream=stream)
    if mode in (None, "prompt") or candidate.provider.quirks.any_root or request.output_schema is None:
        return mode
    root = request.output_schema.schema
    if root.get("type") != "object" or "$ref" in root:
        root = _root(request.output_schema)
    return "prompt" if root.get("type") != "object" or "anyOf" in root or "oneOf" in root else mode


def _is_strict(schema: Any) -> bool:
    """Say whether OpenAI's strict mode takes `schema`: every object closed, all of its properties required.

    Where it does not, the schema is sent as a wish; the answer is validated anyway.
    """
    if isinstance(schema, list):
        return all(_is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.keys() & NOT_STRICT or ("$ref" in schema and len(schema) > 1):
        return False
    if not (schema.keys() & TELLS_KIND and _is_strict_leaf(schema)):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        names = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(names):
            return False
    inner = [item.values() if key in NAMED and isinstance(item, dict) else [item] for key, item in schema.items()]
    return all(_is_strict(item) for items in inner for item in items)


def _is_strict_leaf(schema: Mapping[str, Any]) -> bool:
    """Say whether strict mode takes what `schema` asks of a text or a list: "array schema missing items"."""
    if schema.get("type") == "array" and "items" not in schema:
        return False
    return schema.get("format", "date") in STRICT_FORMATS and not _looks_around(str(schema.get("pattern", "")))


def _schema_in_words(output: OutputSchema, role: str, tools: bool) -> bytes:
    return to_json({"role": role, "content": schema_in_words(output, tools=tools)})
