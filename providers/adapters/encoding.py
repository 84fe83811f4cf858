"""What the dialects share when they encode: JSON as bytes, bytes that are made once, a key in a header."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from providers.catalog.model import Candidate
from providers.catalog.quirks import Feature, JsonMode
from providers.documents.unicode import clean, clean_json
from providers.errors import AuthFailed, Unsupported
from providers.messages import Capability, Message, OutputSchema, Reasoning, Request, ToolCall

T = TypeVar("T")

MAX_KEPT = 1024
NO_RESULT = "(no result: the call was not carried out)"


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def to_json(value: Any) -> bytes:
    """Return compact UTF-8. Raise `ValueError` for what JSON has no word for: NaN, Infinity, a lone surrogate."""
    return _ENCODER.encode(value).encode()  # `json.dumps` would build an encoder for each call


def each_once(
    messages: Iterable[Message], key: str, make: Callable[..., T], maker: str, names: Mapping[str, str]
) -> list[T]:
    """Return `make(message, maker=..., names=...)` of each, made once in a message's life for each `key` and `names`.

    Only what holds thoughts or signatures of `maker` is made for it: all else is the same for every model. `names` are
    those of tools that have another on the wire.
    """
    make = partial(make, names=names)
    if names:
        key = f"{key} {sorted(names)}"
    plain = partial(make, maker="")
    if not maker:
        return [message.memo(key, plain) for message in messages]
    own, made = f"{key} {maker}", partial(make, maker=maker)
    return [
        message.memo(own, made)
        if message.role == "assistant" and maker in message.memo("makers", _makers)
        else message.memo(key, plain)
        for message in messages
    ]


def _makers(message: Message) -> frozenset[str | None]:
    return frozenset(part.made_by for part in message.parts if isinstance(part, Reasoning | ToolCall))


class Kept:
    """Bytes of tools and schemas, made once for each object. The objects are taken to be frozen."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], tuple[object, bytes]] = {}

    def keep(self, kind: str, thing: T, make: Callable[[T], bytes]) -> bytes:
        """Return `make(thing)`, made once for this very object. Holding the object keeps its `id` from being reused."""
        kept = self._kept.get((kind, id(thing)))
        if kept is None:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            kept = self._kept[kind, id(thing)] = (thing, make(thing))
        return kept[1]


def key_of(candidate: Candidate) -> str | None:
    """Return the key as a header takes it. Raise `AuthFailed`, which does not show it, where none could."""
    if candidate.key is None:
        return None
    key = candidate.key.strip()
    # A header takes visible ASCII only; a key pasted with a line break or a typographic dash is found here, where
    # the message can say so without showing it.
    if not (key.isascii() and key.isprintable()):
        raise AuthFailed(f"the key in {candidate.provider.key_env} has characters that no key can have")
    return key


def gives_way(feature: Feature, request: Request, candidate: Candidate, *, stream: bool) -> bool:
    """Whether the vendor refuses `feature` beside something else that the request has, and this is what gives way."""
    others = candidate.provider.quirks.gives_way.get(feature)
    return bool(others) and any(_has(request, other, stream=stream) for other in others or ())


def _has(request: Request, feature: Feature, *, stream: bool) -> bool:
    match feature:
        case "tools":
            return bool(request.tools)
        case "forced_tool":
            return bool(request.tools) and request.tool_choice not in ("auto", "none")
        case "schema":
            return request.output_schema is not None
        case "effort":
            return request.effort is not None
        case "stream":
            return stream
        case "prefill":
            last = request.messages[-1].role if request.messages else ""
            return last == "assistant" and Capability.PREFILL in request.needs.capabilities


def json_mode(request: Request, candidate: Candidate, *, stream: bool) -> JsonMode | None:
    """Return how this request's schema is said to this vendor, None where it has none."""
    if request.output_schema is None:
        return None
    return "prompt" if gives_way("schema", request, candidate, stream=stream) else candidate.provider.quirks.json_mode


def effort_of(request: Request, candidate: Candidate, *, stream: bool) -> tuple[str | None, bool]:
    """Return the effort that is said to a model that reasons, and whether it is `effort_off`: not to think."""
    quirks = candidate.provider.quirks
    if Capability.REASONING not in candidate.model.capabilities:
        return None, False
    if gives_way("effort", request, candidate, stream=stream):
        return quirks.effort_off, True
    return request.effort, False


def refuse_forced_tool(request: Request, candidate: Candidate, *, stream: bool) -> None:
    """Raise `Unsupported` where a tool is demanded and the vendor can't be told so."""
    if _has(request, "forced_tool", stream=stream) and gives_way("forced_tool", request, candidate, stream=stream):
        raise Unsupported(f"tool_choice {clean(request.tool_choice)!r} cannot be said to this provider")


def schema_in_words(output: OutputSchema, *, tools: bool) -> str:
    """Return the instruction that stands in for a schema where the vendor takes none; `tools`: some may be called."""
    schema = to_json(clean_json(output.schema)).decode()
    # The word JSON must stand in the prompt: OpenAI's and DeepSeek's json_object mode answer 400 without it.
    told = "Call the tools that you need; your final answer is" if tools else "Answer with"
    rest = "and nothing else" if tools else "and with nothing else"
    what = "object" if output.schema.get("type", "object") == "object" else "value"
    return f"{told} one JSON {what} that satisfies this JSON Schema, {rest}:\n{schema}"
