"""The words of a template: its filters, tests, methods and operators, each with its price.

A filter's first argument is the rendering's account, which it asks before it makes something larger than what it was
given. What it returns is charged here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jinja2 import Undefined, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context

from personas.limits import Rendering
from personas.list_filters import (
    chosen,
    chosen_by,
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
from personas.text_filters import from_csv, indent, of_text, replace, split, to_csv, to_json, truncate
from providers.documents.values import kind_of_value

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


def _absolute(_: Rendering, value: Any) -> Any:
    return abs(number(value))


def _length(_: Rendering, value: Any) -> int:
    return len(finite(value))


def _trimmed(text: str, chars: str | None = None) -> str:
    return text.strip(chars)


def _words(text: str) -> int:
    return len(text.split())


class TemplateWord(NamedTuple):
    """A filter or a method: what stands behind it, what it returns, and an expression that shows it."""

    call: Callable[..., Any]
    arguments: str
    """What is written in the brackets after its name: `length: int = 255`, for example."""
    says: str
    example: str


def _word(function: Callable[..., Any], says: str, example: str, makes_nothing: bool = False) -> TemplateWord:
    """Return a word. One that `makes_nothing` hands on something that exists, so its result is not charged."""
    call = _free(function) if makes_nothing else _priced(function)
    return TemplateWord(call, _arguments(function), says, example)


def _arguments(function: Callable[..., Any]) -> str:
    """Return the parameters without the account, and without the value that stands before the bar or the dot."""
    given = inspect.signature(function).parameters
    _, *own = [one for name, one in given.items() if name not in ("budget", "_")]
    return str(inspect.Signature([one.replace(annotation=_Written(one.annotation)) for one in own]))[1:-1]


class _Written(str):
    """An annotation as the source has it: `inspect` shows the representation."""

    __slots__ = ()
    __repr__ = str.__str__


def _method(owner: type, name: str, arguments: str, says: str, example: str) -> TemplateWord:
    def filter_(_: Rendering, value: Any, *args: Any) -> Any:
        if isinstance(value, Undefined):
            str(value)
        if not isinstance(value, owner):
            raise TypeError(f"{kind_of_value(value)} has no method {name!r}")
        found = getattr(value, name)(*args)
        return list(found) if name in {"items", "keys", "values"} else found

    return _word(filter_, says, example, makes_nothing=name == "get")._replace(arguments=arguments)


METHOD_WORDS: Mapping[str, TemplateWord] = {
    "endswith": _method(str, "endswith", "suffix: str", "Whether the text ends so.", "'notes.md'.endswith('.md')"),
    "get": _method(
        Mapping,
        "get",
        "key: str, default: Any = None",
        "The value of a key; another value, or none, without it.",
        "{'a': 1}.get('b', 0)",
    ),
    "items": _method(Mapping, "items", "", "The pairs of key and value, as a list.", "{'a': 1}.items()"),
    "keys": _method(Mapping, "keys", "", "The keys, as a list.", "{'a': 1}.keys()"),
    "lower": _method(str, "lower", "", "The text in small letters.", "'YES'.lower()"),
    "split": _word(
        split, "The parts of the text between `sep`, or between blanks, at most `maxsplit` + 1.", "'a, b'.split(', ')"
    ),
    "startswith": _method(
        str, "startswith", "prefix: str", "Whether the text begins so.", "'Fix: lists'.startswith('Fix')"
    ),
    "strip": _method(
        str,
        "strip",
        "chars: str | None = None",
        "The text without blanks, or those characters, at both ends.",
        "' yes. '.strip(' .')",
    ),
    "upper": _method(str, "upper", "", "The text in capitals.", "'yes'.upper()"),
    "values": _method(Mapping, "values", "", "The values, as a list.", "{'a': 1}.values()"),
}

METHODS: Mapping[str, Callable[..., Any]] = {name: word.call for name, word in METHOD_WORDS.items()}

_DEFAULT = (
    "The value where there is one, else `default_value`. With `boolean` true, also in place of an empty text or list,"
    " zero, false and none."
)
_LENGTH = "How many characters a text has, entries a list, keys a mapping."
_EXTREME = "The {} item; of its `attribute`, where one is given. An error where the list is empty."
_CHOSEN = "The items {} the test, which may take an argument; without a test: {} empty, zero, false or none."
_CHOSEN_BY = "The same as `{}`, by an attribute of each item."

DESCRIBED_FILTERS: Mapping[str, TemplateWord] = {
    "abs": _word(_absolute, "The number without its sign.", "-3 | abs"),
    "capitalize": _word(
        of_text(str.capitalize),
        "The text with a capital at its beginning, and small letters after it.",
        "'draft ONE' | capitalize",
    ),
    "count": _word(_length, f"{_LENGTH} The same as `length`.", "['a', 'b'] | count"),
    "d": _word(_default, "The same as `default`.", "none | d('unknown', true)", makes_nothing=True),
    "default": _word(_default, _DEFAULT, "{}.title | default('untitled')", makes_nothing=True),
    "first": _word(
        first, "The first item. An error where the list is empty.", "['a', 'b'] | first", makes_nothing=True
    ),
    "float": _word(
        real,
        "The number that a text spells, with a decimal point. A text that spells none is an error, or `default` where"
        " that is given: `float(0)`.",
        "'2.50' | float",
    ),
    "from_csv": _word(
        from_csv,
        "The rows of a CSV text, or of the CSV in its one fence of Markdown, each a mapping by the names in the first"
        " line. All cells are text. `delimiter`, else the one of comma, semicolon, tab and `|` that the first line has"
        " most of.",
        "'name,age\nAnn,30' | from_csv",
        makes_nothing=True,
    ),
    "indent": _word(
        indent,
        "The text with `width` blanks before each line: also the first one with `first`, empty ones with `blank`.",
        "'a\nb' | indent(2)",
    ),
    "int": _word(
        whole,
        "The whole number that a text spells, to that base; a fraction is cut off. A text that spells none is an error,"
        " or `default` where that is given: `int(0)`.",
        "'42' | int",
    ),
    "items": _word(items, "The pairs of key and value of a mapping, as a list.", "{'a': 1, 'b': 2} | items"),
    "join": _word(
        join,
        "One text of all items, with `d` between them; of an `attribute` of each, where one is given.",
        "[{'id': 'S-1'}, {'id': 'S-2'}] | join(', ', 'id')",
        makes_nothing=True,
    ),
    "last": _word(last, "The last item. An error where the list is empty.", "['a', 'b'] | last", makes_nothing=True),
    "length": _word(_length, _LENGTH, "'four' | length"),
    "list": _word(
        list_of, "A list of the items, of the characters of a text, of the keys of a mapping.", "'abc' | list"
    ),
    "lower": _word(of_text(str.lower), "The text in small letters.", "'YES' | lower"),
    "map": _word(
        mapped,
        "One `attribute` of each item, as a list; `'a.b'` goes further in. `default` is used where an item lacks it,"
        " else that is an error.",
        "[{'id': 'S-1'}, {'id': 'S-2'}] | map(attribute='id')",
    ),
    "max": _word(extreme(max), _EXTREME.format("largest"), "[2, 8, 5] | max", makes_nothing=True),
    "min": _word(extreme(min), _EXTREME.format("smallest"), "[2, 8, 5] | min", makes_nothing=True),
    "reject": _word(
        chosen(keep=False), _CHOSEN.format("that do not pass", "those that are"), "[1, 2, 3, 4] | reject('odd')"
    ),
    "rejectattr": _word(
        chosen_by(keep=False),
        _CHOSEN_BY.format("reject"),
        "[{'n': 1, 'ok': true}, {'n': 2, 'ok': false}] | rejectattr('ok')",
    ),
    "replace": _word(
        replace,
        "The text with `new` in the place of each `old`, of the first `count` where that is given.",
        "'a-b' | replace('-', '/')",
    ),
    "round": _word(
        rounded,
        "The number with `precision` decimals, -15 to 15. `method`: `common` (a half goes to the even neighbour),"
        " `ceil` (up) or `floor` (down).",
        "2.346 | round(2)",
    ),
    "select": _word(
        chosen(keep=True), _CHOSEN.format("that pass", "those that are not"), "[1, 5, 9] | select('gt', 4)"
    ),
    "selectattr": _word(
        chosen_by(keep=True),
        _CHOSEN_BY.format("select"),
        "[{'n': 1, 'ok': true}, {'n': 2, 'ok': false}] | selectattr('ok')",
    ),
    "sort": _word(
        sort,
        "The items in ascending order, by an `attribute` where one is given. Text and numbers do not mix.",
        "['b', 'C', 'a'] | sort",
    ),
    "string": _word(
        of_text(str.__str__), "The value as text: lists and mappings as JSON.", "[1, 2] | string", makes_nothing=True
    ),
    "sum": _word(
        total,
        "The sum of the numbers, or of an `attribute` of each, and `start`.",
        "[1, 2, 3] | sum",
        makes_nothing=True,
    ),
    "title": _word(
        of_text(FILTERS["title"]), "The text with a capital at the beginning of each word.", "'release notes' | title"
    ),
    "to_csv": _word(
        to_csv,
        "A list of mappings as CSV text: a column for each key, a row for each mapping. Cells are text, numbers, true,"
        " false or none. The opposite of `from_csv`. A spreadsheet may take a cell that begins with `=`, `+`, `-` or"
        " `@` for a formula.",
        "[{'name': 'Ann', 'note': 'a, b'}] | to_csv",
    ),
    "tojson": _word(
        to_json,
        "The value as JSON, on one line or indented by 0 to 8 blanks.",
        "{'ok': true} | tojson",
        makes_nothing=True,
    ),
    "trim": _word(
        of_text(_trimmed), "The text without blanks, or the characters given, at both ends.", "' yes ' | trim"
    ),
    "truncate": _word(
        of_text(truncate),
        "The text; where it is longer, its first `length` characters, of which `end` are the last. It is cut between"
        " words, with `killwords` anywhere.",
        "'A long sentence' | truncate(12)",
    ),
    "unique": _word(
        unique,
        "The items without those that were there before, by an `attribute` where one is given.",
        "['a', 'A', 'b'] | unique",
    ),
    "upper": _word(of_text(str.upper), "The text in capitals.", "'yes' | upper"),
    "wordcount": _word(of_text(_words), "How many words the text has.", "'three small words' | wordcount"),
}

FILTER_WORDS: Mapping[str, Callable[..., Any]] = {name: word.call for name, word in DESCRIBED_FILTERS.items()}

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
