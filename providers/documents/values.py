"""What a value is called, where a message tells of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kind_of_value(value: Any) -> str:
    """Return what a value is, in words."""
    match value:
        case None:
            return "nothing"
        case str():
            return "text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
    return f"a {type(value).__name__}"
