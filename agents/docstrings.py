"""What a docstring says of a function and of each parameter, in the three ways in which they are written. Pure.

Google (`Args:`), NumPy (`Parameters` over dashes) and Sphinx (`:param x:`). A docstring of none of these is all
description.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

_GOOGLE = re.compile(r"(?:keyword |other )?(?:args|arguments|parameters|params):", re.IGNORECASE)
_NUMPY = re.compile(r"(?:other )?parameters", re.IGNORECASE)
_DASHES = re.compile(r"-{3,}\s*")
_ENTRY = re.compile(r"(\*{0,2}\w+)\s*(?:\([^)]*\)\s*)?:\s*(.*)")
_NUMPY_NAMES = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")
_FIELD = re.compile(r":(\w+)((?:\s+[^:]+)?):\s*(.*)")
_PARAM_FIELDS = frozenset({"param", "parameter", "arg", "argument", "key", "keyword"})


class Described(NamedTuple):
    """What a docstring says: of the function, and of those of its parameters that it names."""

    text: str
    parameters: Mapping[str, str]


def described(docstring: str, names: Collection[str]) -> Described:
    """Return a cleaned docstring's description without its sections about parameters, and what these say of `names`.

    What it says of anything else stays in the description: a word with a colon is not always a parameter.
    """
    lines = docstring.splitlines()
    found: dict[str, str] = {}
    for read in (_google, _numpy, _sphinx):
        lines = read(lines, names, found)
    return Described("\n".join(lines).strip(), found)


def _google(lines: Sequence[str], names: Collection[str], found: dict[str, str]) -> list[str]:
    kept: list[str] = []
    at = 0
    while at < len(lines):
        if not _GOOGLE.fullmatch(lines[at].strip()) or _indent(lines[at]):
            kept.append(lines[at])
            at += 1
            continue
        end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() and not _indent(lines[i])), len(lines))
        entries = dict(_entries(lines[at + 1 : end]))
        if entries.keys() & set(names):
            found.update({name: text for name, text in entries.items() if name in names})
        else:
            kept += lines[at:end]
        at = end
    return kept


def _entries(block: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each name and its text: lines that stand further in than the first one's name belong to it."""
    outer = min((_indent(line) for line in block if line.strip()), default=0)
    name, text = "", list[str]()
    for line in block:
        begun = _ENTRY.fullmatch(line.strip()) if _indent(line) == outer else None
        if begun is None:
            text.append(line.strip())
            continue
        if name:
            yield name, _joined(text)
        name, text = begun[1].lstrip("*"), [begun[2]]
    if name:
        yield name, _joined(text)


def _numpy(lines: Sequence[str], names: Collection[str], found: dict[str, str]) -> list[str]:
    heads = [i for i in range(len(lines) - 1) if lines[i].strip() and _DASHES.fullmatch(lines[i + 1])]
    if not heads:
        return list(lines)
    kept = list(lines[: heads[0]])
    for head, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        entries = dict(_numpy_entries(lines[head + 2 : end])) if _NUMPY.fullmatch(lines[head].strip()) else {}
        if entries.keys() & set(names):
            found.update({name: text for name, text in entries.items() if name in names})
        else:
            kept += lines[head:end]
    return kept


def _numpy_entries(block: Sequence[str]) -> Iterator[tuple[str, str]]:
    shared, text = list[str](), list[str]()
    for line in block:
        begun = _NUMPY_NAMES.fullmatch(line) if line.strip() and not _indent(line) else None
        if begun is None:
            text.append(line.strip())
            continue
        yield from ((name, _joined(text)) for name in shared)
        shared, text = [name.strip().lstrip("*") for name in begun[1].split(",")], []
    yield from ((name, _joined(text)) for name in shared)


def _sphinx(lines: Sequence[str], names: Collection[str], found: dict[str, str]) -> list[str]:
    kept: list[str] = []
    at = 0
    while at < len(lines):
        field = _FIELD.fullmatch(lines[at].strip())
        if field is None:
            kept.append(lines[at])
            at += 1
            continue
        margin, kind, of = _indent(lines[at]), field[1].lower(), field[2].split()
        end = next((i for i in range(at + 1, len(lines)) if _ends_field(lines[i], margin)), len(lines))
        name = of[-1].lstrip("*") if of else ""  # `:param int x:` names its type, too
        if kind in _PARAM_FIELDS and name in names:
            found[name] = _joined([field[3], *(line.strip() for line in lines[at + 1 : end])])
        elif not (kind == "type" and name in names):  # the schema tells the types
            kept += lines[at:end]
        at = end
    return kept


def _ends_field(line: str, margin: int) -> bool:
    return not line.strip() or _indent(line) <= margin


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: Sequence[str]) -> str:
    return " ".join(line for line in lines if line).strip()
