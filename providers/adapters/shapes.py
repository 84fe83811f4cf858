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
from providers.messages import ToolCall

MAX_TOKENS = 2**53  # beyond it a JSON number is not exact, and no bill is that long


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


decode_json = json.JSONDecoder(parse_constant=_refuse).decode
"""Returns what a JSON text says. Raises `ValueError`, for NaN and Infinity too, or `RecursionError`."""


def object_in(data: bytes) -> dict[str, Any]:
    """Return the JSON object that `data` is. Bytes that are not UTF-8 become U+FFFD; NaN and Infinity are no JSON."""
    try:
        found = decode_json(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise BadReply(f"the reply is not JSON ({type(error).__name__}): {excerpt(data)}") from None
    if found.__class__ is not dict:
        raise BadReply(f"the reply is a JSON {type(found).__name__}, not an object: {excerpt(data)}")
    return found


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


def count(value: Any) -> int:
    """Return a number of tokens."""
    if value.__class__ is int and 0 <= value <= MAX_TOKENS:
        return value
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TOKENS:
        raise BadReply("the reply's usage holds what is no count")
    return int(value)
