"""Tools as every vendor takes them: names that all accept, one object at the root, descriptions that fit. Pure.

A name that some vendor refuses has one on the wire that follows from it alone, so that history, prompt caches and turns
agree on it; answers get the tool's own back. Source: docs/sources.md#requests, checked 2026-11.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from providers.adapters import StreamDecoder
from providers.documents.unicode import clean
from providers.errors import Unsupported
from providers.messages import Delta, Request, Response, ToolCall, ToolCallDelta, ToolSpec

# What OpenAI, Anthropic and Gemini all take: of Gemini's the first may be no digit.
_is_plain = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}").fullmatch
_not_in_a_name = re.compile(r"[^A-Za-z0-9_-]+").sub
_sentence_ends = re.compile(r"[.!?](?=\s)|[。！？]|\n").finditer  # East Asian full stops
_blank = re.compile(r"\s").finditer
_HASH = 8
NOTHING: Mapping[str, str] = MappingProxyType({})
_MAX_REFERENCES = 32
_COMPOSED = frozenset(
    ("$ref", "allOf", "anyOf", "const", "dependentSchemas", "else", "enum", "if", "not", "oneOf", "then")
)
"""What no vendor takes at the root of a tool's parameters."""


def wire_name(name: str) -> str:
    """Return what stands for a tool's `name` on the wire: itself, or a legal name that follows from it alone."""
    if _is_plain(name):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    head = _not_in_a_name("_", name).strip("_")[: 64 - _HASH - 2]
    return f"{head}_{mark}" if _is_plain(head) else f"_{head}_{mark}" if head else f"tool_{mark}"


def wire_names(tools: Sequence[ToolSpec]) -> Mapping[str, str]:
    """Return the wire's names of those tools that need another. Raise `Unsupported` where two would share one."""
    odd = _odd(tools)
    if odd and len({odd.get(tool.name, tool.name) for tool in tools}) < len(tools):
        raise Unsupported("two tools of this request have one name on the wire")
    return odd


def refuse_many(tools: Collection[ToolSpec], most: int | None) -> None:
    """Raise `Unsupported` where the vendor takes fewer tools."""
    if most is not None and len(tools) > most:
        raise Unsupported(f"this provider takes {most} tools, not {len(tools)}")


def own_names(response: Response, tools: Sequence[ToolSpec]) -> Response:
    """Return `response` with the tools' own names in its calls."""
    if not response.tool_calls or not (own := _own(tools)):
        return response
    parts = tuple(
        replace(part, name=_own_name(part.name, own)) if isinstance(part, ToolCall) else part
        for part in response.message.parts
    )
    return replace(response, message=replace(response.message, parts=parts))


def own_names_streamed(decoder: StreamDecoder, request: Request) -> StreamDecoder:
    """Return a decoder that tells calls by the tools' own names: `decoder` itself where they are the wire's."""
    own = _own(request.tools)
    return _OwnNames(decoder, request.tools, own) if own else decoder


def _own(tools: Sequence[ToolSpec]) -> Mapping[str, str]:
    return {wire: name for name, wire in _odd(tools).items()}


def _odd(tools: Sequence[ToolSpec]) -> Mapping[str, str]:
    names = [tool.name for tool in tools if not _is_plain(tool.name)]
    return {name: wire_name(name) for name in names} if names else NOTHING


def _own_name(said: str, own: Mapping[str, str]) -> str:
    """Return the tool's name for what a model said, which may have marks around the wire's."""
    if said in own:
        return own[said]
    return next((name for wire, name in own.items() if wire.casefold() in said.casefold()), said)


class _OwnNames:
    """A `StreamDecoder` around another."""

    def __init__(self, inner: StreamDecoder, tools: Sequence[ToolSpec], own: Mapping[str, str]) -> None:
        self._inner, self._tools, self._own = inner, tools, own

    @property
    def ended(self) -> bool:
        return self._inner.ended

    @property
    def whole(self) -> bool:
        return self._inner.whole

    def feed(self, data: bytes) -> list[Delta]:
        return [self._named(delta) for delta in self._inner.feed(data)]

    def finish(self) -> Response:
        return own_names(self._inner.finish(), self._tools)

    def _named(self, delta: Delta) -> Delta:
        if isinstance(delta, ToolCallDelta) and delta.name:
            return replace(delta, name=_own_name(delta.name, self._own))
        return delta


def description(text: str, limit: int | None) -> str:
    """Return `text`, at most `limit` characters of it: cut behind a sentence, else a word, never within a cluster."""
    text = clean(text)
    if limit is None or len(text) <= limit:
        return text
    import regex

    # One character is the mark's. The last cluster of the piece may be cut through, so it goes too.
    head = "".join(regex.findall(r"\X", text[:limit])[:-1])
    for ends, mark in ((_sentence_ends, ""), (_blank, "…")):
        ends_at = [end.end() for end in ends(head)]
        if ends_at and ends_at[-1] >= limit // 2:
            return head[: ends_at[-1]].rstrip() + mark
    return head + "…"


def object_root(schema: Any) -> dict[str, Any]:
    """Return a tool's parameters as an object with properties at the root, the same where they are that.

    A root that refers is what it refers to; alternatives become one object that has the properties of all and demands
    what all demand. Whatever satisfies `schema` satisfies the result: the tool holds the arguments to its own.
    """
    if not isinstance(schema, Mapping):
        return {"type": "object", "properties": {}}
    root = resolved(schema, schema)
    if root.get("type") == "object" and isinstance(root.get("properties"), Mapping) and not root.keys() & _COMPOSED:
        return root
    properties, required = _members(root, schema)
    kept = {key: value for key, value in root.items() if key not in _COMPOSED}
    if root.keys() & {"allOf", "anyOf", "oneOf"}:
        kept.pop("additionalProperties", None)
    made = {**kept, "type": "object", "properties": properties}
    if required or "required" in root:
        made["required"] = [name for name in properties if name in required]
    return made


def resolved(node: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `node` with what it refers to within `schema` in place of a `$ref`. Definitions stay."""
    found = dict(node) if isinstance(node, Mapping) else {}
    for _ in range(_MAX_REFERENCES):
        if not isinstance(reference := found.pop("$ref", None), str):
            return found
        found = {**_target(reference, schema), **found}
    found.pop("$ref", None)
    return found


def _target(reference: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a reference within `schema` points to, nothing where there is no such thing."""
    if not reference.startswith("#/"):
        return {}
    found: Any = schema
    for step in reference[2:].split("/"):
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _members(root: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> tuple[dict[str, Any], set[str]]:
    """Return the properties that `root` names, in all of its branches, and those that it demands in each case."""
    named = root.get("properties")
    properties = dict(named) if isinstance(named, Mapping) else {}
    demanded = root.get("required")
    required = set(filter(_is_name, demanded)) if isinstance(demanded, list) else set()
    if depth >= _MAX_REFERENCES:
        return properties, required
    for key in ("allOf", "anyOf", "oneOf"):
        wants = []
        for branch in _branches(root.get(key), schema):
            inner, wanted = _members(branch, schema, depth + 1)
            wants.append(wanted)
            for name, value in inner.items():
                properties[name] = _either(properties[name], value) if name in properties else value
        if wants:
            required |= set.union(*wants) if key == "allOf" else set.intersection(*wants)
    return properties, required


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _branches(branches: Any, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for branch in branches if isinstance(branches, list) else ():
        found = resolved(branch, schema)
        if found.get("type", "object") in ("object", ["object", "null"]):
            yield found


def _either(one: Any, two: Any) -> Any:
    """Return a schema that both satisfy, with as few alternatives as will do."""
    if one == two:
        return one
    known = one["anyOf"] if isinstance(one, Mapping) and one.keys() == {"anyOf"} else [one]
    return {"anyOf": known if two in known else [*known, two]}
