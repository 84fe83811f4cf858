"""Ranges as test files write them: `<= 0.40`, `3..8`, `1..`, `>= 80%`, a number alone. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from providers.documents.quantities import parse_duration

_COMPARED = re.compile(r"(<=|>=|==|<|>|=)\s*(\S.*)")
_SPAN = re.compile(r"(\S*?)\s*\.\.\s*(\S*)")
_CHANGE = re.compile(r"([+-])\s*([0-9]+(?:\.[0-9]+)?)\s*%")
ADVICE = "write a number, `<= 5`, `>= 5`, `< 5`, `> 5`, `3..8`, `3..` or `..8`"


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included unless `open_low` or `open_high`. `text` is how it was written."""

    low: float
    high: float
    text: str
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Return whether a number lies in it."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        return self.text


def parse_range(written: object, number: Callable[[str], float] | None = None) -> Range:
    """Return the range that is written. `number` reads one end of it; by default `5`, `0.4` and `80%` (0.8).

    Raise `ValueError` that says what may be written.
    """
    read = number or _number
    if isinstance(written, Range):
        return written
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        raise ValueError(f"{written!r} is not a range: {ADVICE}")
    text = str(written).strip()
    try:
        made = _range(text, read)
    except ValueError:
        raise ValueError(f"{text!r} is not a range: {ADVICE}") from None
    if made.low > made.high:
        raise ValueError(f"{text!r} holds no number: its first end is above its second")
    return made


def _range(text: str, read: Callable[[str], float]) -> Range:
    if found := _COMPARED.fullmatch(text):
        value = read(found[2])
        match found[1]:
            case "<=":
                return Range(-math.inf, value, text)
            case "<":
                return Range(-math.inf, value, text, open_high=True)
            case ">=":
                return Range(value, math.inf, text)
            case ">":
                return Range(value, math.inf, text, open_low=True)
            case _:
                return Range(value, value, text)
    if ".." in text and (found := _SPAN.fullmatch(text)) and (found[1] or found[2]):
        low = read(found[1]) if found[1] else -math.inf
        return Range(low, read(found[2]) if found[2] else math.inf, text)
    value = read(text)
    return Range(value, value, text)


def _number(text: str) -> float:
    share = text.endswith("%")
    value = float(text.removesuffix("%").replace("_", "").replace(",", "").removeprefix("$"))
    if not math.isfinite(value):
        raise ValueError(text)
    return value / 100 if share else value


def parse_time_range(written: object) -> Range:
    """Return a range of seconds: `<= 90s`, `1m..5m`, or plain numbers. Raise `ValueError`."""
    return parse_range(written, _seconds)


def _seconds(text: str) -> float:
    return parse_duration(text)


def parse_change(written: object) -> float:
    """Return the share by which a figure may change: 0.2 of `+20%`, -0.1 of `-10%`. Raise `ValueError`."""
    found = _CHANGE.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is None:
        raise ValueError(f"{written!r} is not a change: write `+20%` or `-10%`")
    return float(f"{found[1]}{found[2]}") / 100
