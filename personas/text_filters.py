"""What filters make of text. Each asks the rendering's account before it makes something larger than it was given."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from jinja2 import Undefined

from personas.limits import Rendering
from providers.documents.tables import csv_text, table_in
from providers.documents.values import kind_of_value


def as_text(value: Any, budget: Rendering) -> str:
    """Return `value` as a prompt shows it: text as it is, None as nothing, lists and mappings as JSON."""
    match value:
        case str():
            return str.__str__(value)
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(budget.made(value))
        case list() | tuple() | Mapping():
            return to_json(budget, value)
        case Undefined():
            return str(value)  # raises
    raise TypeError(f"{kind_of_value(value)} cannot be written as text")


def to_json(budget: Rendering, value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 8:
        raise ValueError("tojson indents by 0 to 8")
    whole = budget.made_whole(value)
    return budget.made(json.dumps(whole, allow_nan=False, ensure_ascii=False, indent=indent, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{kind_of_value(value)} cannot be written as JSON")


def of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter of the text of a value, which grows by no more than letters do when their case changes."""

    @wraps(function)  # its signature is told
    def filter_(budget: Rendering, value: Any, *args: Any, **kwargs: Any) -> Any:
        return function(as_text(value, budget), *args, **kwargs)

    return filter_


def replace(budget: Rendering, value: Any, old: str, new: str, count: int = -1) -> str:
    text = as_text(value, budget)
    found = text.count(old) if count < 0 else min(text.count(old), count)
    budget.take(found * len(new))
    return text.replace(old, new, count)


def indent(budget: Rendering, value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    lines = as_text(value, budget).split("\n")
    budget.take(len(lines) * max(width, 8))
    padded = [" " * width + line if line or blank else line for line in lines]
    return "\n".join(padded if first else [*lines[:1], *padded[1:]])


def truncate(text: str, length: int = 255, killwords: bool = False, end: str = "...") -> str:
    if len(text) <= length:
        return text
    cut = text[: max(length - len(end), 0)]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def split(budget: Rendering, value: Any, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    budget.take(8 * (value.count(sep) if sep else len(value) // 2))
    return _text(value).split(sep, maxsplit)


def from_csv(budget: Rendering, value: Any, delimiter: str = "") -> list[dict[str, str]]:
    """Return the rows of a CSV text. The text is charged before it is read, the rows when they are made."""
    text = _text(value)
    budget.take(len(text))
    return budget.made_whole(table_in(text, delimiter))


def to_csv(budget: Rendering, value: Any, delimiter: str = ",") -> str:
    """Return a list of flat mappings as CSV text. It is charged for its values and delimiters before it is made."""
    if isinstance(value, Undefined):
        str(value)  # raises, and says what is missing
    rows = budget.made_whole(value)
    if isinstance(rows, list | tuple):
        columns = {name for row in rows if isinstance(row, Mapping) for name in row}
        budget.take(len(rows) * len(columns))
    return budget.made(csv_text(rows, delimiter))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{kind_of_value(value)} is not text")
    return value
