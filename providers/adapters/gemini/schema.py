"""JSON Schema as Gemini's fields for it take it: definitions in their places, no `const`, no empty properties.

Source: docs/sources.md#requests, checked 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providers.adapters.tools import resolved

MAX_NODES = 2000
"""A schema that would be larger with its definitions in their places keeps its references."""
_NAMED = frozenset(("properties", "$defs", "definitions", "patternProperties"))
"""Keywords whose values are schemas by name."""
_DATA = frozenset(("default", "enum", "examples", "required"))
_DROPPED = frozenset(("$schema", "$id", "$comment"))
_DEFINITIONS = frozenset(("$defs", "definitions"))
_BESIDE_A_REFERENCE = frozenset(("$ref", "description", "default"))


def fitted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `schema` in these words. What refers to itself goes on to refer, by a reference that stands alone."""
    for places in (True, False):
        fitting = _Fitting(schema, in_places=places)
        made: dict[str, Any] = fitting.node({k: v for k, v in schema.items() if k not in _DEFINITIONS}, ())
        if fitting.left > 0:
            break
    if fitting.refers:
        for key in _DEFINITIONS & schema.keys():
            made[key] = {name: fitting.node(node, (f"#/{key}/{name}",)) for name, node in schema[key].items()}
    return made


class _Fitting:
    def __init__(self, schema: Mapping[str, Any], *, in_places: bool) -> None:
        self._schema, self._in_places = schema, in_places
        self.left = MAX_NODES if in_places else len(str(schema))
        self.refers = False

    def node(self, node: Any, within: tuple[str, ...]) -> Any:
        """Return a node in these words. `within` are the references that lead to it: none of them is followed again."""
        self.left -= 1
        if isinstance(node, list):
            return [self.node(item, within) for item in node]
        if not isinstance(node, Mapping):
            return node
        if isinstance(reference := node.get("$ref"), str):
            alone = node.keys() <= _BESIDE_A_REFERENCE
            if reference in within or self.left <= 0 or (alone and not self._in_places):
                self.refers = True
                return {key: value for key, value in node.items() if key in _BESIDE_A_REFERENCE}
            return self.node(resolved(node, self._schema), (*within, reference))
        return dict(self._members(node, within))

    def _members(self, node: Mapping[str, Any], within: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if key in _DROPPED or (key == "properties" and value == {}):
                continue
            if key == "const":
                yield "enum", [value]
            elif key in _NAMED and isinstance(value, Mapping):
                yield key, {name: self.node(inner, within) for name, inner in value.items()}
            else:
                yield key, value if key in _DATA else self.node(value, within)
