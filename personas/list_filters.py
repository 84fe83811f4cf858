"""What filters make of lists and mappings. Every pass over one is charged, whichever filter makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, NamedTuple

from jinja2 import Undefined
from jinja2.tests import TESTS

from personas.attributes import Unknown, picker
from personas.limits import Rendering
from personas.number_filters import calculate, number
from personas.text_filters import as_text
from providers.documents.values import kind_of_value


class TemplateTest(NamedTuple):
    """What a value is asked by `is NAME`: the test, what it says, and an expression that shows it."""

    call: Any
    says: str
    example: str


def _tests() -> Mapping[str, TemplateTest]:
    said = {
        "boolean": ("It is true or false, and no other value.", "0 is boolean"),
        "defined": ("There is such a name.", "{}.title is defined"),
        "divisibleby": ("The number can be divided by the one given.", "9 is divisibleby(3)"),
        "even": ("The number is even.", "3 is even"),
        "false": ("It is `false` itself.", "false is false"),
        "float": ("It is a number with a fraction, 2.0 too.", "2.0 is float"),
        "in": ("It is in the list, the text or the keys of the mapping given.", "'a' is in(['a', 'b'])"),
        "integer": ("It is a whole number.", "2 is integer"),
        "iterable": ("It has items: a list, a mapping, also a text.", "5 is iterable"),
        "lower": ("All letters of the text are small.", "'Yes' is lower"),
        "mapping": ("It is a mapping.", "{'a': 1} is mapping"),
        "none": ("It is none: YAML's and JSON's `null`.", "none is none"),
        "number": ("It is a number.", "'5' is number"),
        "odd": ("The number is odd.", "3 is odd"),
        "sameas": ("It is the very same object. For values use `==`.", "none is sameas(none)"),
        "sequence": ("It is a list, a text or a mapping.", "[1] is sequence"),
        "string": ("It is a text.", "'5' is string"),
        "true": ("It is `true` itself.", "1 is true"),
        "undefined": ("There is no such name.", "{}.title is undefined"),
        "upper": ("All letters of the text are capitals.", "'YES' is upper"),
    }
    compared = {
        "==": ("eq", "equalto"),
        "!=": ("ne",),
        "<": ("lt", "lessthan"),
        "<=": ("le",),
        ">": ("gt", "greaterthan"),
        ">=": ("ge",),
    }
    for sign, names in compared.items():
        says = f"The same as `{sign}`, for `select` and its like, where a test is named."
        said[sign] = (says, f"[1, 5, 9] | select('{sign}', 5)")
        said |= {name: (says, f"[1, 5, 9] | select('{name}', 5)") for name in names}
    return {name: TemplateTest(TESTS[name], *said[name]) for name in sorted(said)}


DESCRIBED_TESTS = _tests()
TEST_WORDS: Mapping[str, Any] = {name: word.call for name, word in DESCRIBED_TESTS.items()}


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


def chosen(keep: bool) -> Callable[..., Any]:
    """Return `select` or `reject`."""

    def filter_(budget: Rendering, value: Any, test: str | None = None, *args: Any) -> list[Any]:
        passes = _test(budget, test, *args)
        return [item for item in each(budget, value) if bool(passes(item)) is keep]

    return filter_


def chosen_by(keep: bool) -> Callable[..., Any]:
    """Return `selectattr` or `rejectattr`."""

    def filter_(budget: Rendering, value: Any, attribute: str | int, test: str | None = None, *args: Any) -> list[Any]:
        follow, passes = picker(attribute), _test(budget, test, *args)
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
