"""What is checked of single values: paths in the run's folder and JSON Schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.paths import length_fault, parts_of, reserved
from providers.documents.json_schema import costly, pattern_fault, patterns_in
from providers.documents.problems import Path

# What stands in no file name of Windows, macOS and Linux alike. Source: learn.microsoft.com, "Naming files", 2026-11.
_RESERVED = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)


def path_fault(template: str) -> str:
    """Return why a path cannot be one inside the run's folder, empty where it can. Expressions count as a letter."""
    path = _EXPRESSION.sub("x", template)
    if not path.strip():
        return "the path is empty"
    if path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", path):
        return "the path is absolute; it must be inside the run's folder"
    if "\\" in path:
        return "the path has a backslash; folders are separated by /"
    if bad := _RESERVED.search(path):
        return f"the path has the character {bad[0]!r}, which not every system can store"
    parts = path.split("/")
    if name := next(filter(None, map(reserved, parts_of(path))), ""):
        return f"{name} is configuration, which only people write"
    fault = length_fault(parts)
    return fault.replace("it ", "the path ", 1) if fault else next(filter(None, map(_part_fault, parts)), "")


def _part_fault(part: str) -> str:
    if part == "..":
        return "the path leaves the run's folder"
    if part in ("", "."):
        return "the path has an empty part"
    if _DEVICES.fullmatch(part) or part.endswith((".", " ")) or part.startswith(" "):
        return f"'{part}' is a name that not every system can store"
    return ""


def table_delimiter(path: str) -> str:
    """Return what separates the cells of a `.csv` or `.tsv` file; empty for any other file."""
    return {"csv": ",", "tsv": "\t"}.get(path.rpartition(".")[2].lower(), "") if "." in path else ""


NO_TABLE = "give it an output_schema of a list of flat objects, or none, or let the file end in .json"


def no_table(schema: Any) -> str:
    """Return why no value of a schema is text or a list of flat mappings; empty where one may be."""
    match schema:
        case {"type": "array", "items": {"type": str(kind)}} if kind != "object":
            return f"is a list of {kind}s, not of objects"
        case {"type": "array", "items": {"properties": Mapping() as columns}}:
            deep = (
                name
                for name, column in columns.items()
                if isinstance(column, Mapping) and column.get("type") in ("array", "object")
            )
            return next((f"has the {columns[name]['type']} '{name}' in each row" for name in deep), "")
        case {"type": str(kind)} if kind not in ("string", "array"):
            return f"is of type {kind}"
    return ""


def same_file(path: str) -> str:
    """Return one spelling for all paths that some system takes for the same file."""
    return "/".join(part for part in path.split("/") if part != ".").casefold()


@dataclass(slots=True)
class Schemas:
    """Checks JSON Schemas. One that stands in many tasks is checked once."""

    _faults: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)
    _costly: dict[str, bool] = field(default_factory=dict)

    def faults(self, schema: Mapping[str, Any]) -> list[tuple[Path, str]]:
        """Return (path, message) of what keeps this from being a JSON Schema that stands alone."""
        try:
            key = json.dumps(schema, sort_keys=True, allow_nan=False)
        except ValueError:
            return [((), "JSON knows no infinite numbers")]
        if key not in self._faults:
            self._faults[key] = [
                *(_shape_faults(schema) or _pattern_faults(schema)),
                *_reference_faults(schema),
            ]
        return self._faults[key]

    def costly_patterns(self, schema: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
        """Yield (path, message) of each pattern that explodes on texts it was not made for: a run gives up on those."""
        for path, pattern in patterns_in(schema):
            if pattern not in self._costly:
                self._costly[pattern] = costly(pattern)
            if self._costly[pattern]:
                yield path, f"the pattern {_cut(pattern)!r} takes forever on some texts"


_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("str", "text", "date", "datetime", "url", "enum"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    "bool": "boolean",
    **dict.fromkeys(("list", "tuple", "set"), "array"),
    **dict.fromkeys(("dict", "map", "mapping"), "object"),
    "none": "null",
}
"""What other languages call the types of JSON Schema."""


def advice_on_schema(schema: Mapping[str, Any], path: Path) -> str:
    """Return what to write in place of a part of a schema, where it is what other languages have."""
    here: Any = schema
    for part in path:
        here = here[part]
    match path, here:
        case (*_, "properties", str(name)), str(word):
            return f"write {name}: {{type: {_TYPES.get(word.lower(), word)}}}"
        case (*_, "type"), str(word):
            return f"write type: {_TYPES[word.lower()]}" if word.lower() in _TYPES else ""
        case (*_, "items"), str(word) | [str(word)]:
            return f"write items: {{type: {_TYPES.get(word.lower(), word)}}}"
        case (*_, "properties", str(name), "required"), bool():
            return f"leave it out, and write required: [{name}] next to properties"
        case (*_, "required"), str(name):
            return f"write required: [{name}]"
    return ""


def _shape_faults(schema: Mapping[str, Any]) -> list[tuple[Path, str]]:
    from jsonschema import Draft202012Validator  # slow to import, and few commands need it
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema))
    if error is None:
        return []
    while error.context and error.validator in ("anyOf", "oneOf"):
        error = max(error.context, key=lambda e: len(e.absolute_path))
    return [(tuple(error.absolute_path), f"no JSON Schema: {_cut(error.message)}")]


def _pattern_faults(schema: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Return what no engine can search for: whether it is a pattern is nothing that the shape says."""
    found = [(path, pattern_fault(pattern)) for path, pattern in patterns_in(schema)]
    return [(path, f"no JSON Schema: {_cut(fault)}") for path, fault in found if fault]


# Of the drafts 4 to 2020-12: json-schema.org/draft/2020-12/schema, json-schema.org/draft-04/schema.
_WORDS = (
    "additionalItems additionalProperties allOf anyOf const contains contentEncoding contentMediaType contentSchema "
    "default definitions dependencies dependentRequired dependentSchemas deprecated description else enum examples "
    "exclusiveMaximum exclusiveMinimum format if items maxContains maxItems maxLength maxProperties maximum "
    "minContains minItems minLength minProperties minimum multipleOf not oneOf pattern patternProperties prefixItems "
    "properties propertyNames readOnly required then title type unevaluatedItems unevaluatedProperties uniqueItems "
    "writeOnly"
)
_KEYWORDS = frozenset(_WORDS.split())


def says_nothing(schema: Mapping[str, Any]) -> str:
    """Return the first word of a schema of which no word is a keyword: fields without `properties` around them."""
    if any(key in _KEYWORDS or key.startswith("$") for key in schema):
        return ""
    return next(iter(schema), "")


def _cut(message: str) -> str:
    return message if len(message) <= 120 else message[:119] + "…"


def _reference_faults(schema: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for path, reference in _references(schema, ()):
        if not reference.startswith("#"):
            yield path, f"'{reference}' is another document; only references inside the schema (#/...) are followed"
        elif reference.startswith("#/") and not _points(schema, reference[2:].split("/")):
            yield path, f"'{reference}' points at nothing"


def _references(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(child, str):
                yield (*path, key), child
            elif key not in ("enum", "const", "default", "examples"):
                yield from _references(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _references(child, (*path, index))


def _points(schema: Any, parts: Sequence[str]) -> bool:
    here = schema
    for part in parts:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, Mapping) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdigit() and int(name) < len(here):
            here = here[int(name)]
        else:
            return False
    return True


def below(schema: Any, names: Sequence[str | int]) -> Any:
    """Return what a schema says of `value.a[0].b`; None where that is nothing, or it rules such a value out."""
    return _walk(schema, names)[0]


def ruled_out(schema: Any, names: Sequence[str | int]) -> tuple[int, Collection[str]] | None:
    """Return which of the names a schema rules out, the first one, and those that it knows there; None: none is."""
    _, at, known = _walk(schema, names)
    return None if at is None else (at, known)


def _walk(schema: Any, names: Sequence[str | int]) -> tuple[Any, int | None, Collection[str]]:
    here = schema
    for at, name in enumerate(names):
        if not isinstance(here, Mapping):
            return None, None, ()
        if isinstance(name, int):
            is_list = here.get("type", "array") == "array" and "prefixItems" not in here
            here = here.get("items") if is_list else None
            continue
        properties = here.get("properties")
        if not isinstance(properties, Mapping) or here.get("type", "object") != "object":
            return None, None, ()
        if name not in properties:
            return None, None if _may_have_others(here) else at, properties
        here = properties[name]
    return here, None, ()


def _may_have_others(schema: Mapping[str, Any]) -> bool:
    """Return whether objects may have fields that `properties` does not name: whoever writes the rest out means so."""
    if schema.get("additionalProperties", False) is not False:
        return True
    return any(schema.get(word) for word in ("patternProperties", "anyOf", "oneOf", "allOf", "$ref"))
