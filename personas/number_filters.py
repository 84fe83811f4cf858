"""Arithmetic in templates: numbers that stay small enough, and what else `+` and `*` work on."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined

from personas.limits import Rendering
from providers.documents.values import kind_of_value

MOST_SHOWN = 60
"""Characters of a text that is not a number, in the message."""

_NUMERIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def calculate(budget: Rendering, sign: str, left: Any, right: Any) -> Any:
    """Return `left sign right` for numbers, text + text, list + list and text * number."""
    budget.tick()
    match left, right:
        case ((int() | float()), (int() | float())):
            return budget.made(_power(budget, left, right) if sign == "**" else _NUMERIC[sign](left, right))
        case (str(), str()) | (list(), list()) if sign == "+":
            return budget.made(left + right)
        case (str(), int()) if sign == "*":
            budget.take(len(left) * max(right, 0))
            return left * right
        case (Undefined() as unknown, _) | (_, Undefined() as unknown):
            str(unknown)
    raise TypeError(f"'{sign}' does not work on {kind_of_value(left)} and {kind_of_value(right)}")


def _power(budget: Rendering, base: float, exponent: float) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 0:
        # Stands in for the result, whose bits are no fewer: 2 ** 10**10 must be refused before it is made.
        budget.made(1 << min((base.bit_length() - 1) * exponent, 1 << 20))
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the root of a negative number is not a real number")
    return result


def number(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, int | float):
        raise TypeError(f"{kind_of_value(value)} is not a number")
    return value


def whole(_: Rendering, value: Any, default: int | None = None, base: int = 10) -> int:
    """Return the whole number that `value` is or spells. Raise `ValueError` for anything else without a `default`."""
    try:
        return int(value, base) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        return int(_real("int", value, default))


def real(_: Rendering, value: Any, default: float | None = None) -> float:
    """Return the number that `value` is or spells. Raise `ValueError` for anything else without a `default`."""
    return _real("float", value, default)


def _real(name: str, value: Any, default: float | None) -> float:
    if isinstance(value, str | int | float):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    if default is not None:
        return default
    if isinstance(value, Undefined):
        str(value)  # raises, and says what is missing
    what = "none" if value is None else kind_of_value(value)
    if isinstance(value, str):
        what = repr(f"{value[:MOST_SHOWN]}..." if len(value) > MOST_SHOWN else value)
    raise ValueError(f"{what} is not a number: {_advice(value)}{name}(0) takes 0 in its place")


def _advice(value: Any) -> str:
    """Return what else to do about a text with a decimal comma. Which of `1,234` it is cannot be known: both are."""
    if isinstance(value, str) and _with_comma(value.strip()):
        return "a number has a decimal point and no commas, so write it as 1234.5, or use replace(',', '.'); "
    return ""


def _with_comma(text: str) -> bool:
    return "," in text and text.strip("+-0123456789.,") == ""


def rounded(_: Rendering, value: Any, precision: int = 0, method: str = "common") -> Any:
    if not -15 <= precision <= 15:
        raise ValueError("round takes a precision of -15 to 15")
    if method == "common":
        return round(number(value), precision)
    toward = {"ceil": math.ceil, "floor": math.floor}[method]
    return toward(number(value) * 10.0**precision) / 10.0**precision
