"""The words of a template: its filters, tests, methods and operators, each with its price.

A filter's first argument is the rendering's account, which it asks before it makes something larger than what it was
given. What it returns is charged here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context

from personas.attributes import kind_of_value
from personas.limits import Rendering
from personas.list_filters import (
    chosen,
    compared,
    concat,
    each,
    extreme,
    finite,
    first,
    items,
    join,
    last,
    list_of,
    mapped,
    slice_of,
    sort,
    total,
    unique,
)
from personas.number_filters import number, real, rounded, whole
from personas.text_filters import indent, of_text, replace, split, to_json, truncate

# Names that no source can spell: what the grammar rewrites into calls of ours.
EACH, LITERAL, CONCAT, SLICE, COMPARED = " each", " literal", " concat", " slice", " compared"
ASKED, ANSWERED = " asked", " answered"

Truth = Callable[[Any], bool]
"""Says what counts as true. It raises `ValueError` of what is neither."""


class BudgetedContext(Context):
    """A rendering's names and its account."""

    budget: Rendering
    truth: Truth = bool


class Asked:
    """A value whose truth is going to be asked for, by the rule of its rendering."""

    __slots__ = ("_truth", "value")

    def __init__(self, value: Any, truth: Truth) -> None:
        self.value = value
        self._truth = truth

    def __bool__(self) -> bool:
        return self._truth(self.value)


@pass_context
def _asked(context: BudgetedContext, value: Any) -> Asked:
    context.budget.tick()
    return Asked(value, context.truth)


@pass_context  # which also keeps the compiler from evaluating constants
def _answered(context: BudgetedContext, value: Any) -> Any:
    context.budget.tick()
    return value.value if isinstance(value, Asked) else value


def method(name: str) -> str:
    """Return the name of the filter that stands for the method `name`."""
    return f" .{name}()"


def _default(_: Rendering, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


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
            raise TypeError(f"{kind_of_value(value)} has no method {name!r}")
        found = getattr(value, name)(*args)
        return list(found) if name in {"items", "keys", "values"} else found

    return _free(filter_) if name == "get" else _priced(filter_)


METHODS: Mapping[str, Callable[..., Any]] = {
    **{name: _method(str, name) for name in ("lower", "upper", "strip", "startswith", "endswith")},
    **{name: _method(Mapping, name) for name in ("get", "items", "keys", "values")},
    "split": _priced(split),
}

FILTER_WORDS: Mapping[str, Callable[..., Any]] = {
    "abs": _priced(lambda _, value: abs(number(value))),
    "capitalize": _priced(of_text(str.capitalize)),
    "count": _priced(lambda _, value: len(finite(value))),
    "d": _free(_default),
    "default": _free(_default),
    "first": _free(first),
    "float": _priced(real),
    "indent": _priced(indent),
    "int": _priced(whole),
    "items": _priced(items),
    "join": _free(join),
    "last": _free(last),
    "length": _priced(lambda _, value: len(finite(value))),
    "list": _priced(list_of),
    "lower": _priced(of_text(str.lower)),
    "map": _priced(mapped),
    "max": _free(extreme(max)),
    "min": _free(extreme(min)),
    "reject": _priced(chosen(keep=False, by_attribute=False)),
    "rejectattr": _priced(chosen(keep=False, by_attribute=True)),
    "replace": _priced(replace),
    "round": _priced(rounded),
    "select": _priced(chosen(keep=True, by_attribute=False)),
    "selectattr": _priced(chosen(keep=True, by_attribute=True)),
    "sort": _priced(sort),
    "string": _free(of_text(str)),
    "sum": _free(total),
    "title": _priced(of_text(FILTERS["title"])),
    "tojson": _free(to_json),
    "trim": _priced(of_text(str.strip)),
    "truncate": _priced(of_text(truncate)),
    "unique": _priced(unique),
    "upper": _priced(of_text(str.upper)),
    "wordcount": _priced(of_text(lambda text: len(text.split()))),
}

REWRITTEN: Mapping[str, Callable[..., Any]] = {
    EACH: _free(each),
    LITERAL: _priced(lambda _, value: value, Rendering.made_whole),
    CONCAT: _free(concat),
    SLICE: _free(slice_of),
    COMPARED: _free(compared),
    ASKED: _asked,
    ANSWERED: _answered,
    **{method(name): call for name, call in METHODS.items()},
}
