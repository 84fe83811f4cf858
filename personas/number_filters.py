"""Arithmetic in templates: numbers that stay small enough, and what else `+` and `*` work on."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined

from personas.attributes import kind_of_value
from personas.limits import Rendering

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


def whole(_: Rendering, value: Any, default: int = 0, base: int = 10) -> int:
    try:
        return int(value, base) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        return int(real(_, value, default))


def real(_: Rendering, value: Any, default: float = 0.0) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def rounded(_: Rendering, value: Any, precision: int = 0, method: str = "common") -> Any:
    if not -15 <= precision <= 15:
        raise ValueError("round takes a precision of -15 to 15")
    if method == "common":
        return round(number(value), precision)
    toward = {"ceil": math.ceil, "floor": math.floor}[method]
    return toward(number(value) * 10.0**precision) / 10.0**precision
