"""A tool call's arguments: the JSON text that a model wrote, read as the object that they should be. Pure.

Models write no object at all, `null`, an object within a JSON string, line breaks within strings. What such a text
plainly says is taken; nothing is made up for what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import isinf
from typing import Any

from providers.documents.unicode import clean, clean_json, clean_json_text

KEPT_UNDER = "arguments"
"""The key under which a text that is no object stands in the history."""
MAX_WRAPPED = 4
"""So many JSON strings may hold one another."""
_fenced = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE).fullmatch
_KINDS = {list: "array", int: "number", float: "number", bool: "boolean"}


def read_object(text: str) -> tuple[dict[str, Any], str]:
    """Return the object that `text` means and its JSON text: as it was written, where that is clean and sound JSON.

    Nothing and `null` mean an empty object; an object that was encoded twice, or stands in a fence of Markdown, is
    unwrapped; of keys that stand twice in an object the last holds. Raise `ValueError` for all else: what is cut off,
    NaN, an array, a number, mere words.
    """
    inner = clean_json_text(text).strip()
    inner = fenced[1] if (fenced := _fenced(inner)) else inner
    for _ in range(MAX_WRAPPED):
        if not inner or inner == "null":
            return {}, "{}"
        try:
            value, sound = _decoded(inner)
            written = inner if sound or not isinstance(value, dict) else _encoded(value)
        except RecursionError:
            raise ValueError("not JSON: nested too deep") from None
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from None
        if isinstance(value, dict):
            return value, written
        if not isinstance(value, str):
            raise ValueError(f"a JSON {_KINDS[type(value)]}, not an object")
        inner = clean_json_text(value).strip()
        if inner[:1] not in ("", "{", '"', "n"):
            break
    raise ValueError("a JSON string, not an object")


def history_object(text: str) -> tuple[dict[str, Any], str]:
    """Return `read_object(text)`, or an object that holds the text where it is none: vendors take nothing else."""
    try:
        return read_object(text)
    except ValueError:
        kept = {KEPT_UNDER: clean(text).strip()}
        return kept, _encoded(kept)


class _Soundness:
    """What JSON readers of other languages would do with a text that Python's reads."""

    def __init__(self) -> None:
        self.keys_are_unique = True

    def pairs(self, items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found = list(items)
        made = dict(found)
        self.keys_are_unique = self.keys_are_unique and len(made) == len(found)
        return made


def _decoded(text: str) -> tuple[Any, bool]:
    """Return what `text` says, and whether every JSON reader would find the same in it."""
    seen = _Soundness()
    try:
        return _decoder(seen, strict=True).decode(text), seen.keys_are_unique
    except json.JSONDecodeError as error:
        if "control character" not in error.msg:
            raise
    return clean_json(_decoder(seen, strict=False).decode(text)), False  # line breaks and tabs within strings


def _decoder(seen: _Soundness, *, strict: bool) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=seen.pairs, parse_constant=_refused, parse_float=_finite, strict=strict)


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is none of its values")


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise ValueError(f"the number {digits[:40]} is beyond what its readers take")
    return number


def _encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
