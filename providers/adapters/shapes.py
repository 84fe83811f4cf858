"""Untrusted JSON, read by the shape that it should have: a wrong one is a `BadReply`, never a KeyError.

An absent or null string, array or count is an empty one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from providers.adapters.error_report import excerpt
from providers.documents.unicode import clean, clean_json_text
from providers.errors import BadReply
from providers.messages import ToolCall, Usage

MAX_TOKENS = 100_000_000  # a call of more is none: the widest windows hold ten million (2026-11)

MAX_DIGITS = 1000


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


decode_json = json.JSONDecoder(parse_constant=_refuse).decode
"""Returns what a JSON text says. Raises `ValueError`, for NaN and Infinity too, or `RecursionError`."""


_decode_any_number = json.JSONDecoder(
    parse_int=lambda digits: int(digits) if len(digits) < MAX_DIGITS else float("inf")
).decode


def _of_any_numbers(text: str, data: bytes) -> Any:
    try:
        return _decode_any_number(text)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"the reply is not JSON ({type(error).__name__}): {excerpt(data)}") from None


def object_in(data: bytes) -> dict[str, Any]:
    """Return the JSON object that `data` is. Bytes that are not UTF-8 become U+FFFD.

    Python's servers write NaN and Infinity, and some numbers have no end: they are numbers here, of no use to anybody.
    """
    text = data.decode("utf-8", "replace")
    try:
        found = decode_json(text)
    except (ValueError, RecursionError):
        found = _of_any_numbers(text, data)
    if found.__class__ is not dict:
        raise BadReply(f"the reply is a JSON {type(found).__name__}, not an object: {excerpt(data)}")
    return found


def only_object_in(data: bytes) -> dict[str, Any]:
    """Return the object of an array of one."""
    try:
        found = decode_json(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
        return found[0]
    return object_in(data)


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadReply(f"the reply's {what} is a JSON {type(value).__name__}, not an object")
    return value


def sequence(value: Any, what: str) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadReply(f"the reply's {what} is a JSON {type(value).__name__}, not an array")
    return value


def string(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadReply(f"the reply's {what} is a JSON {type(value).__name__}, not a string")
    return value


def tool_call(index: int, call_id: str, name: str, arguments: str) -> ToolCall:
    """Return call number `index`, cleaned. An id that the vendor left out is made up."""
    if not name:
        raise BadReply("a tool call has no name")
    return ToolCall(clean(call_id) or f"call_{index}", clean(name), clean_json_text(arguments))


def told_apart(calls: Iterable[ToolCall]) -> Iterator[ToolCall]:
    """Yield `calls`, each with an id of its own: results are told apart by nothing else."""
    taken = set[str]()
    for at, call in enumerate(calls):
        own = call.id
        while own in taken:
            own = f"{own}_{at}"
        taken.add(own)
        yield call if own == call.id else replace(call, id=own)


def no_members(value: Any) -> bool:
    """Whether `value` is an object without members. What passes through PHP comes as an array then."""
    return value in ({}, [])


class NoCount(ValueError):
    """Where a number of tokens should stand is something else."""


def count(value: Any) -> int:
    """Return a number of tokens. Raise `NoCount` where there is none; an absent one is 0."""
    if value.__class__ is int and 0 <= value <= MAX_TOKENS:
        return int(value)
    if value is None:
        return 0
    if not isinstance(value, float) or not 0 <= value <= MAX_TOKENS or not value.is_integer():
        raise NoCount
    return int(value)


def figures(value: Any) -> Mapping[str, Any]:
    """Return an object of counts. Raise `NoCount` where something else stands; an absent one is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise NoCount
    return value


def part_of(part: int, whole: int) -> int:
    """Return `part`. Raise `NoCount` where it is larger than the whole."""
    if part > whole:
        raise NoCount
    return part


def credible(usage: Usage | None, *, said: bool) -> Usage | None:
    """Return `usage` where it can be true of an answer: something was read, and where something was `said`, written."""
    if usage is None or usage.input + usage.cache_read + usage.cache_write == 0:
        return None
    return None if said and usage.output + usage.reasoning == 0 else usage
