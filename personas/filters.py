"""The words of a template: its filters, tests, methods and operators, each with its price.

Whatever can make something larger than what it was given asks the budget first. A filter's first argument is the
budget; what it returns is charged by the wrapper at the end of this file.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS

from personas.attributes import Unknown, picker
from personas.limits import Rendering

# Names that no source can spell: what the grammar rewrites into calls of ours.
EACH, LITERAL, CONCAT, SLICE, COMPARED = " each", " literal", " concat", " slice", " compared"


class BudgetedContext(Context):
    """A rendering's names and its account."""

    budget: Rendering


def method(name: str) -> str:
    """Return the name of the filter that stands for the method `name`."""
    return f" .{name}()"


# Text


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
            return _tojson(budget, value)
        case Undefined():
            return str(value)  # raises
    raise TypeError(f"{_kind(value)} cannot be written as text")


def _tojson(budget: Rendering, value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 8:
        raise ValueError("tojson indents by 0 to 8")
    whole = budget.made_whole(value)
    return budget.made(json.dumps(whole, allow_nan=False, ensure_ascii=False, indent=indent, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{_kind(value)} cannot be written as JSON")


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter of the text of a value, which grows by no more than letters do when their case changes."""

    def filter_(budget: Rendering, value: Any, *args: Any, **kwargs: Any) -> Any:
        return function(as_text(value, budget), *args, **kwargs)

    return filter_


def _replace(budget: Rendering, value: Any, old: str, new: str, count: int = -1) -> str:
    text = as_text(value, budget)
    found = text.count(old) if count < 0 else min(text.count(old), count)
    budget.take(found * len(new))
    return text.replace(old, new, count)


def _indent(budget: Rendering, value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    lines = as_text(value, budget).split("\n")
    budget.take(len(lines) * max(width, 8))
    padded = [" " * width + line if line or blank else line for line in lines]
    return "\n".join(padded if first else [*lines[:1], *padded[1:]])


def _truncate(text: str, length: int = 255, killwords: bool = False, end: str = "...") -> str:
    if len(text) <= length:
        return text
    cut = text[: max(length - len(end), 0)]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def _split(budget: Rendering, value: Any, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    budget.take(8 * (value.count(sep) if sep else len(value) // 2))
    return _text(value).split(sep, maxsplit)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_kind(value)} is no text")
    return value


# Lists


class _Each:
    """What a loop runs over; every pass is charged, whichever loop it belongs to."""

    __slots__ = ("_budget", "_items")

    def __init__(self, items: Any, budget: Rendering) -> None:
        self._items = items
        self._budget = budget

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self._budget.tick()
            yield item


def _finite(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)
    if not (isinstance(value, Iterable) and isinstance(value, Sized)):
        raise TypeError(f"{_kind(value)} is no list")
    return value


def _each(budget: Rendering, value: Any) -> _Each:
    return _Each(_finite(value), budget)


def _slice(budget: Rendering, value: Any, start: Any, stop: Any, step: Any) -> Any:
    if not isinstance(_finite(value), str | list | tuple):
        raise TypeError(f"{_kind(value)} has no slices")
    budget.take(len(value))
    return value[start:stop:step]


def _compared(budget: Rendering, value: Any) -> Any:
    # Looking through a list or text makes nothing and takes time: sixteen entries cost as much as a character made.
    if isinstance(value, str | list | tuple):
        budget.take(len(value) // 16)
    return value


def _list(budget: Rendering, value: Any) -> list[Any]:
    budget.take(len(_finite(value)))
    return list(value)


def _join(budget: Rendering, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    follow = picker(attribute)
    parts = [as_text(follow(item), budget) for item in _each(budget, value)]
    budget.take(sum(map(len, parts)) + len(d) * len(parts))
    return d.join(parts)


def _concat(budget: Rendering, parts: list[Any]) -> str:
    return _join(budget, parts)


def _first(budget: Rendering, value: Any) -> Any:
    return next(iter(_each(budget, value)), Unknown("there is no first item: the list is empty"))


def _last(budget: Rendering, value: Any) -> Any:
    return value[-1] if _list(budget, value) else Unknown("there is no last item: the list is empty")


def _map(budget: Rendering, value: Any, *, attribute: str | int, default: Any = None) -> list[Any]:
    found = [picker(attribute, default)(item) for item in _each(budget, value)]
    return [item if not isinstance(item, Undefined) else str(item) for item in found]


def _order(attribute: str | int | None, case_sensitive: bool) -> Callable[[Any], Any]:
    follow = picker(attribute)

    def key(item: Any) -> Any:
        found = follow(item)
        return found.casefold() if isinstance(found, str) and not case_sensitive else found

    return key


def _sort(
    budget: Rendering,
    value: Any,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: str | int | None = None,
) -> list[Any]:
    return sorted(_each(budget, value), key=_order(attribute, case_sensitive), reverse=reverse)


def _unique(
    budget: Rendering, value: Any, case_sensitive: bool = False, attribute: str | int | None = None
) -> list[Any]:
    key = _order(attribute, case_sensitive)
    return list({key(item): item for item in reversed(list(_each(budget, value)))}.values())[::-1]


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def filter_(budget: Rendering, value: Any, case_sensitive: bool = False, attribute: str | int | None = None) -> Any:
        nothing = Unknown("there is no smallest or largest item: the list is empty")
        return choose(_each(budget, value), key=_order(attribute, case_sensitive), default=nothing)

    return filter_


def _sum(budget: Rendering, value: Any, attribute: str | int | None = None, start: float = 0) -> Any:
    follow = picker(attribute)
    total = start
    for item in _each(budget, value):
        total = calculate(budget, "+", total, _number(follow(item)))
    return total


def _chosen(keep: bool, by_attribute: bool) -> Callable[..., Any]:
    """Return one of select, reject, selectattr, rejectattr."""

    def filter_(budget: Rendering, value: Any, *args: Any) -> list[Any]:
        follow, args = (picker(args[0]), args[1:]) if by_attribute else (picker(None), args)
        passes = _test(budget, *args)
        return [item for item in _each(budget, value) if bool(passes(follow(item))) is keep]

    return filter_


def _test(budget: Rendering, name: str | None = None, *args: Any) -> Callable[[Any], Any]:
    if name is None:
        return bool
    if name not in TEST_WORDS:
        raise TypeError(f"{name!r} is not a test")
    return lambda item: TEST_WORDS[name](item, *[_compared(budget, arg) for arg in args])


def _items(_: Rendering, value: Any) -> list[Any]:
    return list(_mapping(value).items())


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{_kind(value)} is no mapping")
    return value


# Numbers

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
    raise TypeError(f"'{sign}' does not work on {_kind(left)} and {_kind(right)}")


def _power(budget: Rendering, base: float, exponent: float) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 0:
        # Stands in for the result, whose bits are no fewer: 2 ** 10**10 must be refused before it is made.
        budget.made(1 << min((base.bit_length() - 1) * exponent, 1 << 20))
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the root of a negative number is not a real number")
    return result


def _number(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, int | float):
        raise TypeError(f"{_kind(value)} is no number")
    return value


def _int(_: Rendering, value: Any, default: int = 0, base: int = 10) -> int:
    try:
        return int(value, base) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        return int(_float(_, value, default))


def _float(_: Rendering, value: Any, default: float = 0.0) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _round(_: Rendering, value: Any, precision: int = 0, method: str = "common") -> Any:
    if not -15 <= precision <= 15:
        raise ValueError("round takes a precision of -15 to 15")
    if method == "common":
        return round(_number(value), precision)
    toward = {"ceil": math.ceil, "floor": math.floor}[method]
    return toward(_number(value) * 10.0**precision) / 10.0**precision


def _kind(value: Any) -> str:
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


def _default(_: Rendering, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


# The tables


def _priced(
    function: Callable[..., Any], price: Callable[[Rendering, Any], Any] = Rendering.made
) -> Callable[..., Any]:
    @pass_context
    def filter_(context: BudgetedContext, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        context.budget.tick()
        return price(context.budget, function(context.budget, value, *args, **kwargs))

    return filter_


def _free(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that hands on something that exists, and so makes nothing."""
    return _priced(function, lambda _, value: value)


def _method(owner: type, name: str) -> Callable[..., Any]:
    def filter_(_: Rendering, value: Any, *args: Any) -> Any:
        if isinstance(value, Undefined):
            str(value)
        if not isinstance(value, owner):
            raise TypeError(f"{_kind(value)} has no method {name!r}")
        found = getattr(value, name)(*args)
        return list(found) if name in {"items", "keys", "values"} else found

    return _free(filter_) if name == "get" else _priced(filter_)


METHODS: Mapping[str, Callable[..., Any]] = {
    **{name: _method(str, name) for name in ("lower", "upper", "strip", "startswith", "endswith")},
    **{name: _method(Mapping, name) for name in ("get", "items", "keys", "values")},
    "split": _priced(_split),
}

FILTER_WORDS: Mapping[str, Callable[..., Any]] = {
    "abs": _priced(lambda _, value: abs(_number(value))),
    "capitalize": _priced(_of_text(str.capitalize)),
    "count": _priced(lambda _, value: len(_finite(value))),
    "d": _free(_default),
    "default": _free(_default),
    "first": _free(_first),
    "float": _priced(_float),
    "indent": _priced(_indent),
    "int": _priced(_int),
    "items": _priced(_items),
    "join": _free(_join),
    "last": _free(_last),
    "length": _priced(lambda _, value: len(_finite(value))),
    "list": _priced(_list),
    "lower": _priced(_of_text(str.lower)),
    "map": _priced(_map),
    "max": _free(_extreme(max)),
    "min": _free(_extreme(min)),
    "reject": _priced(_chosen(keep=False, by_attribute=False)),
    "rejectattr": _priced(_chosen(keep=False, by_attribute=True)),
    "replace": _priced(_replace),
    "round": _priced(_round),
    "select": _priced(_chosen(keep=True, by_attribute=False)),
    "selectattr": _priced(_chosen(keep=True, by_attribute=True)),
    "sort": _priced(_sort),
    "string": _free(_of_text(str)),
    "sum": _free(_sum),
    "title": _priced(_of_text(FILTERS["title"])),
    "tojson": _free(_tojson),
    "trim": _priced(_of_text(str.strip)),
    "truncate": _priced(_of_text(_truncate)),
    "unique": _priced(_unique),
    "upper": _priced(_of_text(str.upper)),
    "wordcount": _priced(_of_text(lambda text: len(text.split()))),
}

_TEST_NAMES = (
    "!= < <= == > >= boolean defined divisibleby eq equalto even false float ge greaterthan gt in integer iterable le "
    "lessthan lower lt mapping ne none number odd sameas sequence string true undefined upper"
)
TEST_WORDS: Mapping[str, Any] = {name: TESTS[name] for name in _TEST_NAMES.split()}

REWRITTEN: Mapping[str, Callable[..., Any]] = {
    EACH: _free(_each),
    LITERAL: _priced(lambda _, value: value, Rendering.made_whole),
    CONCAT: _free(_concat),
    SLICE: _free(_slice),
    COMPARED: _free(_compared),
    **{method(name): call for name, call in METHODS.items()},
}
