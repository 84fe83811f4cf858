"""JSON in a text that holds other words too, as models write it: found only where it is plain what is meant. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

MAX_FOUND = 64
"""Values that are looked at: a text that holds more is no answer with words around it."""
_FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)\n?[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_OPENING = re.compile(r"[{\[]")
_SCALAR = re.compile(r"""(?:^|:)[ \t*`]*("(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|true|false|null)[ \t*`]*$""", re.MULTILINE)
_LIKE_JSON = re.compile(r'\{\s*["\'}]|\[\s*(?:["\'{\[\]\d-]|true\b|false\b|null\b)')
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


class Ambiguous(ValueError):
    """A text holds several values, each of which could be the one that is meant."""


def found_in(text: str, fits: Callable[[Any], bool]) -> Any:
    """Return the one value in a text, other words around it, that fits.

    Where none fits and there is only one, that one. Raise `Ambiguous` where several that differ fit, `ValueError` where
    there is none, or several do not fit.
    """
    values = _distinct(_values(text)) or _distinct(_scalars(text))
    fitting = [value for value in values if fits(value)] if len(values) > 1 else values
    if len(fitting) > 1:
        raise Ambiguous("it holds several JSON values, and it is not plain which of them is the answer")
    if not fitting:
        raise ValueError("there is no JSON in it" if not values else "none of the JSON values in it fits the schema")
    return fitting[0]


def _distinct(values: Iterator[Any]) -> list[Any]:
    """Return the values without those that stand there twice: models quote their result once more at the end."""
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(json.dumps(value, sort_keys=True), value)
        if len(found) > MAX_FOUND:
            raise Ambiguous(f"it holds more than {MAX_FOUND} JSON values")
    return list(found.values())


def _values(text: str) -> Iterator[Any]:
    """Yield the values in fences that are JSON as a whole, then the objects and lists that stand in the open."""
    in_the_open = text
    for block in _FENCED.finditer(text):
        try:
            yield _loaded(block[2])
        except (ValueError, RecursionError):
            continue
        in_the_open = in_the_open.replace(block[0], "\n", 1)
    yield from _open_values(in_the_open)


def _open_values(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(parse_constant=_refuse), 0
    while (opening := _OPENING.search(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            # A value that is broken is no prose: a part of it must not be taken for the answer.
            is_value = _LIKE_JSON.match(text, opening.start()) is not None
            at = _end_of(text, opening.start()) if is_value else opening.end()
        else:
            yield value


def _scalars(text: str) -> Iterator[Any]:
    """Yield the numbers, strings and such that have a line for themselves, or end one behind a colon."""
    for line in _SCALAR.finditer(text):
        with suppress(ValueError):
            yield _loaded(line[1])


def _end_of(text: str, start: int) -> int:
    """Return where the bracket at `start` is closed; the end of the text where it never is."""
    depth = 0
    for mark in _MARKS.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return len(text)


def _loaded(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
