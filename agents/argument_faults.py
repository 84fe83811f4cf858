"""What is wrong with the arguments that a model wrote, in words that it can mend them by. Pure.

Of what it wrote no more is repeated than shows which value is meant.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from providers.documents.likeness import closest
from providers.documents.unicode import cut, printable

MOST_FAULTS = 5
"""Mistakes that are told of one call."""
MOST_NAMED = 30
"""Names of arguments that are told where one is unknown."""
NAME_CHARS, VALUE_CHARS, WORDS_CHARS = 60, 60, 300


def in_words(errors: Iterable[Mapping[str, Any]], known: Collection[str]) -> str:
    """Return what pydantic found, the errors as plain data, of a call of a tool that takes the arguments `known`."""
    told = list(dict.fromkeys(_fault(one, known) for one in errors))
    more = len(told) - MOST_FAULTS
    return "; ".join(told[:MOST_FAULTS]) + (f"; and {more} more" if more > 0 else "")


def _fault(error: Mapping[str, Any], known: Collection[str]) -> str:
    where = ".".join(_short(str(part), NAME_CHARS) for part in error["loc"]) or "arguments"
    match error["type"]:
        case "extra_forbidden" if len(error["loc"]) == 1:
            return f"{where}: {unknown(error['loc'][0], known)}"
        case "extra_forbidden":
            return f"{where}: there is no such field"
        case "missing":
            return f"{where}: it is missing"
    words = str(error["msg"]).removeprefix("Input ")
    it = "" if words == error["msg"] else "it "
    return f"{where}: {it}{_short(words, WORDS_CHARS)}, not {_value(error['input'])}"


def unknown(name: Any, known: Collection[str]) -> str:
    """Return what is told of an argument that there is not."""
    if not known:
        return "there is no such argument; none can be given"
    near = closest(str(name)[:NAME_CHARS], known)
    meant = "" if near is None else f", did you mean {near}?"
    more = ", ..." if len(known) > MOST_NAMED else ""
    return f"there is no such argument{meant or '.'} There are: {', '.join([*known][:MOST_NAMED])}{more}"


def of_schema(broken: Any) -> str:
    """Return what jsonschema found in arguments that a given JSON Schema describes."""
    where, value, asked = _short(broken.json_path, 3 * NAME_CHARS), broken.instance, broken.validator_value
    match broken.validator:
        case "additionalProperties" if asked is False and not broken.schema.get("patternProperties"):
            known = broken.schema.get("properties", {})
            extra = next(name for name in value if name not in known)
            return f"{where}.{_short(extra, NAME_CHARS)}: {unknown(extra, known)}"
        case "required":
            lacking = next((name for name in asked if name not in value), "")
            return f"{where}.{lacking}: it is missing"
        case "type":
            kinds = asked if isinstance(asked, str) else " or ".join(map(str, asked))
            return f"{where}: it should be of the type {kinds}, not {_value(value)}"
    return f"{where}: {_short(broken.message, WORDS_CHARS)}"


def _value(value: Any) -> str:
    """Return the beginning of a value as JSON has it."""
    if isinstance(value, dict | list) and len(value) > NAME_CHARS:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return _short(json.dumps(value, ensure_ascii=False, default=repr), VALUE_CHARS)


def _short(text: str, most: int) -> str:
    """Return the beginning of a text, on one line."""
    return " ".join(printable(text if len(text) <= most else f"{cut(text[: 4 * most], most)}...").split())
