"""JSON Schema in the subset that the Messages dialect compiles. Sources: its structured-outputs
page and `transform_schema` of the SDK anthropic 2.11.0, 2026-11.

Objects must be closed, references may not recurse, and bounds on numbers, lengths and counts are not taken: those go
into the description, for the model to read. What an answer must satisfy stays the caller's own schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

MAX_OPTIONAL = 24
MAX_UNIONS = 16
FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
_TOLD = (
    "default", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "pattern", "format", "minItems", "maxItems", "uniqueItems", "contains", "minProperties", "maxProperties",
    "propertyNames", "patternProperties", "not", "if", "then", "else", "dependentRequired", "dependentSchemas",
)  # fmt: skip
_DEFINITIONS = ("$defs", "definitions")


class _NoSuchWords(Exception):
    """The subset cannot say it."""


def subset(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `schema` in the subset, None where it cannot be said there: an open object, a recursion, too many unions.

    Whatever satisfies `schema` and has no properties that it does not name, satisfies the result.
    """
    try:
        return _Translation(schema).whole()
    except (_NoSuchWords, CycleError, RecursionError):
        return None


class _Translation:
    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._optional = self._unions = 0
        self._references: set[str] = set()  # that the definition at hand makes
        self._uses: dict[str, set[str]] = {}  # a definition -> those that it refers to

    def whole(self) -> dict[str, Any]:
        found = self._node(self._schema)
        for key in _DEFINITIONS:
            for name, node in (self._schema.get(key) or {}).items():
                self._references = self._uses[f"#/{key}/{name}"] = set()
                found.setdefault(key, {})[name] = self._node(node)
        list(TopologicalSorter(self._uses).static_order())
        if self._optional > MAX_OPTIONAL or self._unions > MAX_UNIONS:
            raise _NoSuchWords
        return found

    def _node(self, node: Any) -> dict[str, Any]:
        if not isinstance(node, Mapping):
            raise _NoSuchWords  # `true` and `false` are schemas too
        if "$ref" in node:
            self._refer(node["$ref"])
            return {"$ref": node["$ref"]}
        if "allOf" in node:
            return self._node(_only(node))
        out = {"title": node["title"]} if "title" in node else {}
        types = self._typed(node, out)
        if "object" in types:
            self._object(node, out)
        if "array" in types:
            if "prefixItems" in node:
                raise _NoSuchWords
            out["items"] = self._node(node.get("items"))
        if told := self._told(node, out):
            out["description"] = told
        return out

    def _refer(self, reference: Any) -> None:
        root, key, name = (*str(reference).split("/", 2), "", "")[:3]
        if root != "#" or key not in _DEFINITIONS or name not in (self._schema.get(key) or {}):
            raise _NoSuchWords
        self._references.add(reference)

    def _typed(self, node: Mapping[str, Any], out: dict[str, Any]) -> list[str]:
        """Say what `node` is: by its values, as one of several, or by type. Return its types in the last case.

        The vendor's own client sends no type beside the other two.
        """
        if branches := node.get("anyOf") or node.get("oneOf"):
            if "properties" in node or "items" in node:
                raise _NoSuchWords  # each branch would be closed to what stands beside it
            self._unions += 1
            out["anyOf"] = [self._node(branch) for branch in branches]
            return []
        if "enum" in node or "const" in node:
            values = [*node.get("enum", ()), *([node["const"]] if "const" in node else ())]
            if not values or any(isinstance(value, list | Mapping) for value in values):
                raise _NoSuchWords
            out |= {key: node[key] for key in ("enum", "const") if key in node}
            return []
        named = node.get("type") or ("object" if "properties" in node else ())
        types = [named] if isinstance(named, str) else list(named)
        if not types:
            raise _NoSuchWords
        self._unions += len(types) > 1
        out["type"] = named
        return types

    def _object(self, node: Mapping[str, Any], out: dict[str, Any]) -> None:
        properties, required = node.get("properties") or {}, node.get("required") or []
        if not set(required) <= properties.keys():
            raise _NoSuchWords
        if not properties and node.get("additionalProperties") is not False:
            raise _NoSuchWords  # a map: closed it could only be empty
        self._optional += len(properties) - len(required)
        out["properties"] = {name: self._node(value) for name, value in properties.items()}
        if required:
            out["required"] = list(required)
        out["additionalProperties"] = False

    def _told(self, node: Mapping[str, Any], out: dict[str, Any]) -> str:
        """Return the description, with the constraints that cannot be said otherwise. Take over those that can."""
        told = []
        for key in _TOLD:
            if key not in node:
                continue
            if (key == "format" and node[key] in FORMATS) or (key == "minItems" and node[key] in (0, 1)):
                out[key] = node[key]
            else:
                told.append(f"{key}: {json.dumps(node[key], ensure_ascii=False)}")
        words = [str(node["description"])] if node.get("description") else []
        return " ".join([*words, f"({', '.join(told)})"] if told else words)


def _only(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the one schema of an `allOf` with what annotates it. Several at once cannot each be closed."""
    rest = {key: value for key, value in node.items() if key != "allOf"}
    branches = node["allOf"]
    if len(branches) != 1 or not isinstance(branches[0], Mapping) or rest.keys() - {"title", "description", "default"}:
        raise _NoSuchWords
    return {**branches[0], **rest}
