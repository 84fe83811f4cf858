"""Google's generateContent, the native dialect of Gemini. What differs between its models is in `Quirks`.

Encoding: a message's bytes are made once and kept by the message. A transcript is made fit by turns: roles alternate
and begin and end with the user, every call is answered in the very next turn, nothing is empty. Each of these is a 400
otherwise (google-gemini/deprecated-generative-ai-js issue 316, google-gemini/gemini-cli issue 11814, crewAIInc/crewAI
pull request 6973; ai.google.dev/gemini-api/docs/thought-signatures; 2026-11).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from providers.adapters import HttpReply, HttpRequest, StreamDecoder
from providers.adapters.bodies import heard_at_once, is_event_stream
from providers.adapters.encoding import (
    NO_RESULT,
    Kept,
    each_once,
    effort_of,
    json_mode,
    key_of,
    refuse_forced_tool,
    schema_in_words,
    to_json,
)
from providers.adapters.gemini.decode import MADE_UP, ContentStream, read_reply
from providers.adapters.gemini.errors import error_of
from providers.adapters.gemini.schema import fitted
from providers.adapters.tools import object_root, own_names, own_names_streamed, refuse_many, wire_name, wire_names
from providers.adapters.wrong_address import wrong_address
from providers.catalog.base_url import endpoint
from providers.catalog.model import Candidate
from providers.documents.arguments import history_object
from providers.documents.unicode import clean, clean_json
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

_fits = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}").fullmatch
_not_in_a_name = re.compile(r"[^A-Za-z0-9_.:-]+").sub
MAX_STOPS = 5
SEEDS = 2**31  # the field is an int32
BEGIN = "(the conversation begins)"
CONTINUE = "Please continue."


_USER, _MODEL, _END = b',{"role":"user","parts":[', b',{"role":"model","parts":[', b"]}"


@dataclass(frozen=True, slots=True)
class GeminiFragment:
    """A message on the wire: its parts joined by commas, but for tool results, which are not yet paired.

    `ids` are those of its calls, or of its results. `halves` go with them: of a call the first members of its answer
    (the name, the id where it has one), of a result the response that comes behind them.
    """

    role: Literal["system", "user", "model"]
    parts: bytes
    ids: tuple[str, ...] = ()
    halves: tuple[bytes, ...] = ()
    results: tuple[ToolResult, ...] = ()


class Gemini:
    """An `Adapter`. Stateless but for what it remembers of tools and schemas, which are taken to be frozen."""

    def __init__(self) -> None:
        self._kept = Kept()

    def encode(self, request: Request, candidate: Candidate, *, stream: bool) -> HttpRequest:
        """Return the HTTP request. Raise `Unsupported` for an image in a system message, or too many stop words."""
        refuse_forced_tool(request, candidate, stream=stream)
        refuse_many(request.tools, candidate.provider.quirks.max_tools)
        body = b"{" + b",".join(self._members(request, candidate, stream=stream)) + b"}"
        return HttpRequest("POST", _url(candidate, stream=stream), headers_of(candidate, stream=stream), body)

    def decode(self, reply: HttpReply, request: Request, candidate: Candidate, now: float) -> Response:
        """Return the answer of a 2xx reply. Raise a `ProviderError` for anything that is not a sound answer."""
        if is_event_stream(reply.body):
            return heard_at_once(self.stream_decoder(request, candidate, now), reply.body)
        return own_names(read_reply(reply, request, candidate, now), request.tools)

    def classify(self, reply: HttpReply, candidate: Candidate, now: float) -> ProviderError:
        """Return the error that a reply other than 2xx means. Never raises, whatever the body."""
        url = _url(candidate, stream=False)
        return wrong_address(reply, url, candidate.provider) or error_of(
            reply.status, reply.headers, reply.body, now, candidate.provider.refusals
        )

    def stream_decoder(self, request: Request, candidate: Candidate, now: float) -> StreamDecoder:
        """Return a fresh decoder for one streamed reply."""
        return own_names_streamed(ContentStream(request, candidate, now), request)

    def _members(self, request: Request, candidate: Candidate, *, stream: bool) -> Iterator[bytes]:
        output, mode = request.output_schema, json_mode(request, candidate, stream=stream)
        stand_in = candidate.provider.quirks.stand_in_signature
        make = partial(_fragment, stand_in=stand_in)
        names = wire_names(request.tools)
        fragments = each_once(request.messages, f"gemini {stand_in}", make, candidate.maker, names)
        told = [each.parts for each in fragments if each.role == "system" and each.parts]
        if output is not None and mode != "schema":
            tools = bool(request.tools)
            words = self._kept.keep(f"words {tools}", output, lambda it: _text(schema_in_words(it, tools=tools)))
            told.append(words)
        if told:
            yield b'"systemInstruction":{"parts":[' + b",".join(told) + b"]}"
        yield b'"contents":[' + _contents(fragments) + b"]"
        if request.tools:
            specs = b",".join([self._kept.keep("tool", tool, _tool) for tool in request.tools])
            yield b'"tools":[{"functionDeclarations":[' + specs + b"]}]"
            if request.tool_choice != "auto":
                yield b'"toolConfig":' + to_json({"functionCallingConfig": _tool_choice(request)})
        config = to_json(_config(request, candidate, stream=stream))[1:-1]
        schema = self._kept.keep("schema", output, _schema) if output and mode == "schema" else b""
        if members := b",".join(filter(None, (config, schema))):
            yield b'"generationConfig":{' + members + b"}"


def resource(candidate: Candidate) -> str:
    """Return the name of a model as a resource; `tunedModels/x` names its own collection."""
    name = candidate.model.name
    return name if "/" in name else f"models/{name}"


def method_url(candidate: Candidate, method: str) -> str:
    """Return the URL of a method of the candidate's model."""
    return endpoint(candidate.provider.base_url, f"/{quote(resource(candidate), safe='/')}:{method}")


def _url(candidate: Candidate, *, stream: bool) -> str:
    return method_url(candidate, "streamGenerateContent?alt=sse" if stream else "generateContent")


def headers_of(candidate: Candidate, *, stream: bool) -> dict[str, str]:
    """Return the headers of a request, the key among them."""
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
        **candidate.provider.quirks.extra_headers,
    }
    key = key_of(candidate)
    if key is not None:
        headers[candidate.provider.quirks.key_header or "x-goog-api-key"] = key
    return headers


def _config(request: Request, candidate: Candidate, *, stream: bool) -> dict[str, Any]:
    quirks, model = candidate.provider.quirks, candidate.model
    config: dict[str, Any] = {}
    cap = request.max_output_tokens or quirks.default_max_tokens
    if cap is not None:
        config["maxOutputTokens"] = min(cap, model.max_output) if model.max_output else cap
    if request.temperature is not None and quirks.sampling:
        config["temperature"] = request.temperature
    stops = [word for word in map(clean, request.stop) if word]
    if len(stops) > MAX_STOPS:
        raise Unsupported(f"this dialect takes {MAX_STOPS} stop words, not {len(stops)}")
    if stops:
        config["stopSequences"] = stops
    if request.seed is not None:
        config["seed"] = request.seed % SEEDS
    effort, _ = effort_of(request, candidate, stream=stream)
    if effort is not None:
        config["thinkingConfig"] = {"thinkingLevel": effort.upper()}
    if json_mode(request, candidate, stream=stream) == "object":
        config["responseMimeType"] = "application/json"
    return config


def _schema(output: OutputSchema) -> bytes:
    """Return the members that hold the answer to a schema. The field takes all of JSON Schema and heeds most of it."""
    return b'"responseMimeType":"application/json","responseJsonSchema":' + to_json(clean_json(fitted(output.schema)))


def _tool(spec: ToolSpec) -> bytes:
    tool: dict[str, Any] = {"name": wire_name(spec.name), "description": spec.description}
    root = object_root(spec.parameters)
    if root["properties"]:  # without any, the field is left out: an object without properties is refused
        tool["parametersJsonSchema"] = fitted(root)
    return to_json(clean_json(tool))


def _tool_choice(request: Request) -> dict[str, Any]:
    if request.tool_choice in ("none", "required"):
        return {"mode": "NONE" if request.tool_choice == "none" else "ANY"}
    if all(tool.name != request.tool_choice for tool in request.tools):
        raise Unsupported(f"tool_choice {request.tool_choice!r} names no tool of the request")
    return {"mode": "ANY", "allowedFunctionNames": [wire_name(request.tool_choice)]}


def _contents(fragments: Iterable[GeminiFragment]) -> bytes:
    """Return the turns, alternating from a user's to a user's, with every call answered in the turn after it."""
    turns = _turns(fragments)
    out = [] if turns and turns[0][0].role == "user" else [_USER, _text(BEGIN), _END]
    asked = turn = [_NOTHING]
    for turn in turns:
        if turn[0].role == "model":
            out += _MODEL, turn[0].parts if len(turn) == 1 else b",".join([each.parts for each in turn]), _END
            asked = turn
        else:
            out += _USER, b",".join(_answered(asked, turn)), _END
    if turn[0].role == "model":
        out += _USER, b",".join(_answered(asked, [_NOTHING])) or _text(CONTINUE), _END
    return b"".join(out)[1:]


_NOTHING = GeminiFragment("user", b"")


def _turns(fragments: Iterable[GeminiFragment]) -> list[list[GeminiFragment]]:
    """Return the fragments of the conversation by turns: a turn is one role for as long as it goes on."""
    turns: list[list[GeminiFragment]] = []
    role = ""
    for each in fragments:
        if each.role == "system" or not (each.parts or each.ids):
            continue
        if each.role == role:
            turns[-1].append(each)
        else:
            role = each.role
            turns.append([each])
    return turns


def _answered(asked: list[GeminiFragment], turn: list[GeminiFragment]) -> list[bytes]:
    """Return a user's parts, the answers first and in the order of their calls: without ids the order is what pairs.

    A call without a result gets an error. A result that no call asked for becomes text.
    """
    if len(asked) == len(turn) == 1 and asked[0].ids == turn[0].ids:
        paired = [b"{%s%s}}" % pair for pair in zip(asked[0].halves, turn[0].halves, strict=True)]
        return [*paired, turn[0].parts] if turn[0].parts else paired
    calls = [call for each in asked for call in zip(each.ids, each.halves, strict=True)]
    answers: dict[int, bytes] = {}
    rest: list[bytes] = []
    for fragment in turn:
        for result, response in zip(fragment.results, fragment.halves, strict=True):
            at = next((i for i, (id_, _) in enumerate(calls) if id_ == result.call_id and i not in answers), None)
            if at is None:
                rest.append(_text(_stray(result)))
            else:
                answers[at] = response
        if fragment.parts:
            rest.append(fragment.parts)
    none = to_json({"error": NO_RESULT})
    return [b"{%s%s}}" % (head, answers.get(at, none)) for at, (_, head) in enumerate(calls)] + rest


def _fragment(message: Message, maker: str, stand_in: str | None, names: Mapping[str, str]) -> GeminiFragment:
    if message.role == "assistant":
        calls = message.tool_calls
        parts = _joined(_spoken(message.parts, maker, stand_in, names))
        halves = tuple(_awaited(call, maker, names) for call in calls)
        return GeminiFragment("model", parts, tuple(call.id for call in calls), halves)
    parts = _joined(_heard(message))
    if message.role == "system":
        return GeminiFragment("system", parts)
    results = tuple(part for part in message.parts if isinstance(part, ToolResult))
    return GeminiFragment("user", parts, tuple(r.call_id for r in results), tuple(map(_response, results)), results)


def _joined(parts: Iterable[dict[str, Any]]) -> bytes:
    return b",".join(map(to_json, parts))


def _heard(message: Message) -> Iterator[dict[str, Any]]:
    """Yield the parts of what a model is told. Results have their own way, but for a system's, which cannot answer."""
    name = f"{clean(message.name)}: " if message.name is not None and message.role == "user" else ""
    for part in message.parts:
        match part:
            case Text(text) if text := clean(text):
                yield {"text": name + text}
                name = ""
            case Image() if message.role == "system":
                raise Unsupported("this dialect takes no image in a system message")
            case Image(media_type, data) if data:
                yield _image(media_type, data)
            case ToolCall():
                yield {"text": f"call of {clean(part.name)}: {clean(part.arguments)}"}
            case ToolResult() if message.role == "system":
                yield {"text": _stray(part)}


def _spoken(parts: Iterable[Part], maker: str, stand_in: str | None, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the parts of what a model said: signatures go back to their maker, on the part that they came with.

    The first call of a turn must have one; `stand_in` is what the vendor documents for a history from elsewhere.
    """
    said: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Text(text) if text := clean(text):
                said.append({"text": text})
            case Image(media_type, data) if data:
                said.append(_image(media_type, data))
            case Reasoning(text, opaque, made_by) if made_by == maker:
                if text := clean(text):
                    said.append({"text": text, "thought": True, **_signed(opaque)})
                elif said and said[-1].keys() == {"text"}:
                    said[-1].update(_signed(opaque))
            case ToolCall():
                own = part.opaque if part.made_by == maker else None
                said.append({"functionCall": _call(part, maker, names), **_signed(own or stand_in)})
                stand_in = None
            case ToolResult():
                said.append({"text": _stray(part)})
    return said if any("thought" not in part for part in said) else []


def _signed(signature: str | None) -> dict[str, str]:
    return {"thoughtSignature": clean(signature)} if signature else {}


def _call(call: ToolCall, maker: str, names: Mapping[str, str]) -> dict[str, Any]:
    return {**_identity(call, maker, names), "args": history_object(call.arguments)[0]}


def _identity(call: ToolCall, maker: str, names: Mapping[str, str]) -> dict[str, str]:
    """Return the members that name a call. Its id goes back only to the model that gave it."""
    ours = call.made_by != maker or call.id.startswith(MADE_UP)
    return {**({} if ours else {"id": clean(call.id)}), "name": names.get(call.name) or _fit_name(call.name)}


def _fit_name(name: str) -> str:
    """Return the name of a call that no tool of the request has, as the vendor takes it."""
    name = clean(name)
    if _fits(name):
        return name
    fit = _not_in_a_name("_", name)
    return (fit if _fits(fit[:1]) else f"_{fit}")[:64] if fit else "unnamed"


def _awaited(call: ToolCall, maker: str, names: Mapping[str, str]) -> bytes:
    return b'"functionResponse":%s,"response":' % to_json(_identity(call, maker, names))[:-1]


def _response(result: ToolResult) -> bytes:
    return to_json({"error" if result.is_error else "output": clean(result.content)})


def _stray(result: ToolResult) -> str:
    outcome = "error" if result.is_error else "result"
    return f"{outcome} of {clean(result.name) or 'a tool'}: {clean(result.content)}"


def _image(media_type: str, data: bytes) -> dict[str, Any]:
    return {"inlineData": {"mimeType": clean(media_type), "data": base64.b64encode(data).decode("ascii")}}


def _text(text: str) -> bytes:
    return to_json({"text": text})
