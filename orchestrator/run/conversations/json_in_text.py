"""JSON values that a text is, or holds: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
MOST_CHARS = 100_000


def json_values(text: str) -> Iterator[Any]:
    """Yield the objects and lists that a text is made of, or holds in its first fenced blocks, or between its first
    brace and its last: the first of these ways that finds any.
    """
    if len(text) > MOST_CHARS:
        return
    for parts in ([text], _BLOCK.findall(text)[:8], [_between(text, "{", "}")], [_between(text, "[", "]")]):
        found = [value for part in parts if isinstance(value := _read(part), dict | list)]
        if found:
            yield from found
            return


def _between(text: str, first: str, last: str) -> str:
    start, end = text.find(first), text.rfind(last)
    return text[start : end + 1] if 0 <= start < end else ""


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
