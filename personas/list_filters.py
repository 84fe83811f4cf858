"""What filters make of lists and mappings. Every pass over one is charged, whichever filter makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

from jinja2 import Undefined
from jinja2.tests import TESTS

from personas.attributes import Unknown, kind_of_value, picker
from personas.limits import Rendering
from personas.number_filters import calculate, number
from personas.text_filters import as_text

_TEST_NAMES = (
    "!= < <= == > >= boolean defined divisibleby eq equalto even false float ge greaterthan gt in integer iterable le "
    "lessthan lower lt mapping ne none number odd sameas sequence string true undefined upper"
)
TEST_WORDS: Mapping[str, Any] = {name: TESTS[name] for name in _TEST_NAMES.split()}


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


def finite(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)
    if not (isinstance(value, Iterable) and isinstance(value, Sized)):
        raise TypeError(f"{kind_of_value(value)} is not a list")
    return value


def each(budget: Rendering, value: Any) -> _Each:
    return _Each(finite(value), budget)


def slice_of(budget: Rendering, value: Any, start: Any, stop: Any, step: Any) -> Any:
    if not isinstance(finite(value), str | list | tuple):
        raise TypeError(f"{kind_of_value(value)} has no slices")
    budget.take(len(value))
    return value[start:stop:step]


def compared(budget: Rendering, value: Any) -> Any:
    # Looking through a list or text makes nothing and takes time: sixteen entries cost as much as a character made.
    if isinstance(value, str | list | tuple):
        budget.take(len(value) // 16)
    return value


def list_of(budget: Rendering, value: Any) -> list[Any]:
    budget.take(len(finite(value)))
    return list(value)


def join(budget: Rendering, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    follow = picker(attribute)
    parts = [as_text(follow(item), budget) for item in each(budget, value)]
    budget.take(sum(map(len, parts)) + len(d) * len(parts))
    return d.join(parts)


def concat(budget: Rendering, parts: list[Any]) -> str:
    return join(budget, parts)


def first(budget: Rendering, value: Any) -> Any:
    return next(iter(each(budget, value)), Unknown("there is no first item: the list is empty"))


def last(budget: Rendering, value: Any) -> Any:
    return value[-1] if list_of(budget, value) else Unknown("there is no last item: the list is empty")


def mapped(budget: Rendering, value: Any, *, attribute: str | int, default: Any = None) -> list[Any]:
    found = [picker(attribute, default)(item) for item in each(budget, value)]
    return [item if not isinstance(item, Undefined) else str(item) for item in found]


def _order(attribute: str | int | None, case_sensitive: bool) -> Callable[[Any], Any]:
    follow = picker(attribute)

    def key(item: Any) -> Any:
        found = follow(item)
        return found.casefold() if isinstance(found, str) and not case_sensitive else found

    return key


def sort(
    budget: Rendering,
    value: Any,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: str | int | None = None,
) -> list[Any]:
    return sorted(each(budget, value), key=_order(attribute, case_sensitive), reverse=reverse)


def unique(
    budget: Rendering, value: Any, case_sensitive: bool = False, attribute: str | int | None = None
) -> list[Any]:
    key = _order(attribute, case_sensitive)
    return list({key(item): item for item in reversed(list(each(budget, value)))}.values())[::-1]


def extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def filter_(budget: Rendering, value: Any, case_sensitive: bool = False, attribute: str | int | None = None) -> Any:
        nothing = Unknown("there is no smallest or largest item: the list is empty")
        return choose(each(budget, value), key=_order(attribute, case_sensitive), default=nothing)

    return filter_


def total(budget: Rendering, value: Any, attribute: str | int | None = None, start: float = 0) -> Any:
    follow = picker(attribute)
    result = start
    for item in each(budget, value):
        result = calculate(budget, "+", result, number(follow(item)))
    return result


def chosen(keep: bool, by_attribute: bool) -> Callable[..., Any]:
    """Return one of select, reject, selectattr, rejectattr."""

    def filter_(budget: Rendering, value: Any, *args: Any) -> list[Any]:
        follow, args = (picker(args[0]), args[1:]) if by_attribute else (picker(None), args)
        passes = _test(budget, *args)
        return [item for item in each(budget, value) if bool(passes(follow(item))) is keep]

    return filter_


def _test(budget: Rendering, name: str | None = None, *args: Any) -> Callable[[Any], Any]:
    if name is None:
        return bool
    if name not in TEST_WORDS:
        raise TypeError(f"{name!r} is not a test")
    return lambda item: TEST_WORDS[name](item, *[compared(budget, arg) for arg in args])


def items(_: Rendering, value: Any) -> list[Any]:
    return list(_mapping(value).items())


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{kind_of_value(value)} is not a mapping")
    return value
