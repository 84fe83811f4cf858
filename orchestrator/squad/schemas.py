"""What is checked of single values: paths in the run's folder, JSON Schemas, and where problems are gathered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from providers.documents.nodes import Node
from providers.documents.problems import Path, Problem, nearest

# What stands in no file name of Windows, macOS and Linux alike. Source: learn.microsoft.com, "Naming files", 2026-11.
_RESERVED = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)


@dataclass(slots=True)
class Report:
    """Problems, gathered while a squad is resolved. What only follows from a mistake reported earlier is left out."""

    node: Node
    found: list[Problem] = field(default_factory=list)
    broken: frozenset[Path] = frozenset()
    gaps: frozenset[Path] = frozenset()
    """Mappings in which some field is wrong: what they lack may be what was meant."""
    is_readable: bool = True
    """Whether no key of the file was dropped."""

    @classmethod
    def after(cls, node: Node, found: Iterable[Problem]) -> Report:
        found = list(found)
        broken = frozenset(problem.path for problem in found if problem.path)
        gaps = frozenset(path[:-1] for path in broken)
        return cls(node, found, broken, gaps, all(problem.path for problem in found))

    def error(self, path: Path, code: str, message: str, hint: str = "", *, key: bool = False) -> None:
        if not self.is_broken(path):
            self.found.append(self.node.problem(path, code, message, hint, key=key))

    def warn(self, path: Path, code: str, message: str, hint: str = "") -> None:
        if not self.is_broken(path):
            self.found.append(self.node.problem(path, code, message, hint, key=True, severity="warning"))

    def lacks(self, path: Path, code: str, message: str, hint: str = "") -> None:
        """Report that the mapping at `path` says too little."""
        if path not in self.gaps and self.is_readable:
            self.error(path, code, message, hint, key=True)

    def unknown(self, path: Path, what: str, name: str, known: Iterable[str], *, key: bool = False) -> None:
        """Report that `name` is none of the `known` names of a kind of thing."""
        self.error(path, f"unknown-{what}", f"no {what} is called '{name}'", nearest(name, known), key=key)

    def within(self, path: Path, offset: int, length: int, code: str, message: str, hint: str = "") -> None:
        """Report characters `offset` to `offset + length` of the text at `path`."""
        target = self.node.at(path)
        if self.is_broken(path):
            return
        if target is None or not isinstance(target.value, str):
            self.error(path, code, message, hint)
            return
        mark = target.place(offset, length)
        self.found.append(target.source.problem(mark, code, message, hint, path=path))

    def is_broken(self, path: Path) -> bool:
        return bool(self.broken) and any(path[:end] in self.broken for end in range(1, len(path) + 1))

    def is_unsure(self, path: Path, field: str) -> bool:
        """Whether `field` of the mapping at `path` is wrong, or may be what a field of another name was meant to be."""
        mapping = self.node.at(path)
        absent = mapping is None or mapping.child(field) is None
        return self.is_broken((*path, field)) or (absent and path in self.gaps)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.found if problem.severity == "error"]


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
    return next(filter(None, map(_part_fault, path.split("/"))), "")


def _part_fault(part: str) -> str:
    if part == "..":
        return "the path leaves the run's folder"
    if part in ("", "."):
        return "the path has an empty part"
    if _DEVICES.fullmatch(part) or part.endswith((".", " ")) or part.startswith(" "):
        return f"'{part}' is a name that not every system can store"
    if len(part.encode("utf-8", "replace")) > 255:
        return "a part of the path is longer than 255 bytes"
    return ""


def same_file(path: str) -> str:
    """Return one spelling for all paths that some system takes for the same file."""
    return "/".join(part for part in path.split("/") if part != ".").casefold()


@dataclass(slots=True)
class Schemas:
    """Checks JSON Schemas. One that stands in many tasks is checked once."""

    _faults: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)

    def faults(self, schema: Mapping[str, Any]) -> list[tuple[Path, str]]:
        """Return (path, message) of what keeps this from being a JSON Schema that stands alone."""
        try:
            key = json.dumps(schema, sort_keys=True, allow_nan=False)
        except ValueError:
            return [((), "JSON knows no infinite numbers")]
        if key not in self._faults:
            self._faults[key] = [*_shape_faults(schema), *_reference_faults(schema)]
        return self._faults[key]


def _shape_faults(schema: Mapping[str, Any]) -> list[tuple[Path, str]]:
    from jsonschema import Draft202012Validator  # slow to import, and few commands need it
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema))
    if error is None:
        return []
    while error.context and error.validator in ("anyOf", "oneOf"):
        error = max(error.context, key=lambda e: len(e.absolute_path))
    return [(tuple(error.absolute_path), f"no JSON Schema: {_cut(error.message)}")]


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


def below(schema: Any, names: Sequence[str]) -> tuple[Any, str | None]:
    """Return what a schema says of `value.a.b`, and the first name that it rules out, None where none is."""
    here = schema
    for name in names:
        properties = here.get("properties") if isinstance(here, Mapping) else None
        if not isinstance(properties, Mapping) or here.get("type", "object") != "object":
            return None, None
        if name not in properties:
            open_ended = {"additionalProperties", "patternProperties", "anyOf", "oneOf", "allOf", "$ref"}
            loose = any(here.get(word) for word in open_ended)
            return None, None if loose else name
        here = properties[name]
    return here, None
