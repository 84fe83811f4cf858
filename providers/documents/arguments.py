"""A tool call's arguments: the JSON text that a model wrote, read as the object that they should be. Pure.

Models write no object at all, `null`, an object within a JSON string, line breaks within strings, Python in place of
JSON, a list as a text. What such a text plainly says is taken; nothing is made up for what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import isinf
from typing import Any

from providers.documents.unicode import clean, clean_json, clean_json_text

KEPT_UNDER = "arguments"
"""The key under which a text that is no object stands in the history."""
MAX_WRAPPED = 4
"""So many JSON strings may hold one another."""
_fenced = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE).fullmatch
_python = re.compile(
    r""""(?:[^"\\]+|\\.)*+"?|'(?:[^'\\]+|\\.)*+'?|(?<=["'\w}\]]),(?=\s*[}\]])|\b(?:True|False|None)\b""", re.DOTALL
).sub
_escaped = re.compile(r'\\.|"', re.DOTALL).sub
_JSON_WORDS = {"True": "true", "False": "false", "None": "null", ",": ""}
MOST_MEANT = 32
"""So often a value is changed to what its mistakes plainly mean."""
Place = Sequence[str | int]
_KINDS = {list: "array", int: "number", float: "number", bool: "boolean"}


def read_object(text: str) -> tuple[dict[str, Any], str]:
    """Return the object that `text` means and its JSON text: as it was written, where that is clean and sound JSON.

    Nothing and `null` mean an empty object; an object that was encoded twice, or stands in a fence of Markdown, is
    unwrapped; of keys that stand twice in an object the last holds. One that is written as in Python (`'a'`, `None`),
    or with a comma behind the last of its values, is read as it is meant. Raise `ValueError` for all else: what is cut
    off, NaN, an array, a number, mere words.
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
        refused = error
    try:  # line breaks and tabs within strings are let through
        return clean_json(_decoder(seen, strict=False).decode(_python(_in_json, text))), False
    except json.JSONDecodeError:
        raise refused from None


def _in_json(piece: re.Match[str]) -> str:
    """Return a piece of Python as JSON has it: its strings, its words; a comma that is one too many goes."""
    text = piece[0]
    if text[0] != "'":
        return _JSON_WORDS.get(text, text)
    return '"' + _escaped(lambda one: {"\\'": "'", '"': '\\"'}.get(one[0], one[0]), text[1:-1]) + '"'


def _decoder(seen: _Soundness, *, strict: bool) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=seen.pairs, parse_constant=_refused, parse_float=_finite, strict=strict)


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not one of its values")


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise ValueError(f"the number {digits[:40]} is beyond what its readers take")
    return number


def _encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def as_meant(value: dict[str, Any], mistakes: Callable[[dict[str, Any]], Iterable[Place]]) -> dict[str, Any] | None:
    """Return arguments that have mistakes as they are plainly meant, None where they are not.

    `mistakes` names the places of a value at which it is not what it should be. A text there that is JSON (`"[1, 2]"`,
    `"5"`) is read; a `null` counts as not given. What comes of it has no mistakes.
    """
    places = list(mistakes(value))
    for _ in range(MOST_MEANT):
        changed = json.loads(json.dumps(value))
        if not [place for place in places if _read_at(changed, place)]:
            return None
        value, places = changed, list(mistakes(changed))
        if not places:
            return value
    return None


def _read_at(value: Any, place: Place) -> bool:
    """Change what stands at a place to what it means, and return whether that is something else."""
    holder, at = None, None
    for step in place:  # some steps name no key, but a case of a union
        is_key = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
        if is_key:
            holder, at, value = value, step, value[step]
    if value is None and isinstance(holder, dict):
        del holder[at]
        return True
    if holder is None or not isinstance(value, str):
        return False
    with suppress(ValueError, RecursionError):
        read = _decoded(value.strip())[0]
        if not isinstance(read, str):
            holder[at] = read
            return True
    return False
