"""Templates written to escape, to fill memory or never to end: the sandbox's own limits end each in `TemplateError`."""

from __future__ import annotations

import inspect
import sys
import tracemalloc
from itertools import count

import pytest

from personas import Sandbox, TemplateError
from personas.sandbox import TemplateLimits

BIG = "x" * 100_000
ROOM_BYTES = 40_000_000


class Frozen:
    """An object with something to hide."""

    def __init__(self) -> None:
        self.open = "seen"
        self._secret = "hidden"

    def shout(self) -> str:
        raise AssertionError("a template called a method of a value")


VALUES = {
    "big": BIG,
    "ten": list(range(10)),
    "many": list(range(60_000)),
    "d": {"a": 1},
    "o": Frozen(),
    "f": print,
    "cls": Frozen,
}


def outcome(source: str) -> TemplateError:
    """Render with a clock that stands still: the limits on size and work alone must end it."""
    sandbox = Sandbox(clock=lambda: 0.0)
    with pytest.raises(TemplateError) as failed:
        sandbox.template(source).render(VALUES)
    return failed.value


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ {}.__init__ }}",
    "{{ {}['__init__'] }}",
    "{{ [].__class__.__mro__ }}",
    "{{ (1).__class__ }}",
    "{{ d.__class__ }}",
    "{{ o.__dict__ }}",
    "{{ o._secret }}",
    "{{ o['_secret'] }}",
    "{{ o.shout }}",
    "{{ o.shout() }}",
    "{{ [o] | map(attribute='__class__') | list }}",
    "{{ [o] | map(attribute='_secret') | list }}",
    "{{ [o] | map(attribute='shout') | list }}",
    "{{ [o] | sum(attribute='__class__') }}",
    "{{ [o] | selectattr('__class__.__mro__') | list }}",
    "{{ ['x'] | map('attr', '__class__') | list }}",
    "{{ [1, 2] | sort(attribute='__class__') }}",
    "{{ 'a' | attr('__class__') }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__}'.format_map(d) }}",
    "{{ '%s' | format(o) }}",
    "{{ '%s' % o }}",
    "{{ d.update(d) }}",
    "{{ d.pop('a') }}",
    "{{ ten.append(1) }}",
    "{{ ten.append }}",
    "{{ d.keys }}",
    "{{ f }}",
    "{{ f(1) }}",
    "{{ cls() }}",
    "{{ cls.mro }}",
    "{{ d.get('a')() }}",
    "{{ 'a'.upper.__self__ }}",
    "{{ 'a'.split(*ten) }}",
    "{{ 'a'.split(**d) }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ _result }}",
    "{{ namespace(a=1) }}",
    "{{ range(10) }}",
    "{{ cycler }}",
    "{{ lipsum() }}",
    "{{ dict(a=1) }}",
    "{{ joiner }}",
    "{{ context }}",
    "{{ environment }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% call f() %}{% endcall %}",
    "{% include 'x' %}",
    "{% import 'x' as x %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block b %}{% endblock %}",
    "{% filter upper %}x{% endfilter %}",
    "{% set x %}block{% endset %}",
    "{% with a = 1 %}{% endwith %}",
    "{% autoescape true %}{% endautoescape %}",
    "{% do f() %}",
    "{% for x in ten recursive %}{{ loop(ten) }}{% endfor %}",
    "{% for x in ten %}{{ loop(ten) }}{% endfor %}",
    "{% for x in ten %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in ten %}{{ loop.changed }}{% endfor %}",
    "{% for x in ten %}{{ loop._iterable }}{% endfor %}",
    "{% set d.a = 2 %}",
    "{{ ' each' | f }}",
    "{{ x | \N{LATIN SMALL LETTER LONG S}ort }}",
    "{{ \N{SCRIPT SMALL L} }}",
]

FLOODS = [
    "{{ 'A' * 10**9 }}",
    "{{ 10**9 * 'A' }}",
    "{{ [0] * 10**9 }}",
    "{{ 10**(10**10) }}",
    "{{ (-10)**(10**10) }}",
    "{{ 2 ** 5000 }}",
    "{{ 10.0 ** 10000 }}",
    "{% set x = 2 ** 4000 %}{{ x * x }}",
    "{{ '%0999999999d' % 1 }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a' | indent(10**9) }}",
    "{{ big | list | join('\n') | indent(1000) }}",
    "{{ 'a' | indent(10**9, first=true) }}",
    "{{ [1] | tojson(indent=10**9) }}",
    "{{ big | replace('x', big) }}",
    "{{ big | replace('', big) }}",
    "{{ ten | join(big) * 10 }}",
    "{{ (big | list) | join(big) }}",
    "{{ 1 | round(10**9, 'ceil') }}",
    "{{ 1 | round(-(10**9)) }}",
    "{{ ('f' * 100000) | int(base=16) }}",
    "{{ ('f' * 3000) | int(base=16) }}",
    "{{ 1e999 }}",
    "{{ 0x" + "f" * 5000 + " }}",
    "{{ " + "9" * 5000 + " }}",
    "{{ " + " ~ ".join(["big"] * 100) + " }}",
    "{{ [" + ", ".join(["big[1:]"] * 100) + "] }}",
    "{{ [" + ", ".join(["big.upper()"] * 100) + "] }}",
    "{% set x = big %}" + "{% set x = x ~ x %}" * 40,
    "{% set x = 'a' %}" + "{% set x = x + x %}" * 40,
    "{% set x = ten %}" + "{% set x = x + x %}" * 40,
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "{% set x = [1] %}{% set y = [1] %}" + "{% set x = (x, x) %}{% set y = (y, y) %}" * 40 + "{{ x == y }}",
    "{% set x = {'a': 1} %}" + "{% set x = {'a': x, 'b': x} %}" * 40 + "{{ x | tojson }}",
    "{% set x = [1] %}" + "{% set x = [x | list, x | list] %}" * 40 + "{{ x | string | length }}",
    "{% for a in ten %}" * 10 + "{% endfor %}" * 10,
    "{% for a in many %}{% for b in many %}{% endfor %}{% endfor %}",
    "{% for a in many if a in many %}{% endfor %}" * 2,
    "{% for a in ten %}{% for b in many %}{{ loop.length }}{% endfor %}{% endfor %}",
    "{% for a in many %}" + "y" * 100 + "{% endfor %}",
    "{% for a in many %}{% set s = big ~ a %}{% endfor %}",
    "{{ big }}{{ big }}{{ big }}",
    "{{ many | join(', ') }}" * 2,
    "{{ ten | map(attribute='real') | list | join(big) }}" * 5,
    "{% for a in ten %}{{ big.split('x') | length }}{% endfor %}",
    "{% for a in ten %}{{ big | list | sort | length }}{% endfor %}",
    "{{ [" + "0.5 in many, " * 1_500 + "1] }}",
    "{% for a in many %}{{ 'y' in big }}{% endfor %}",
    "{% for a in many %}{{ 'xy' is in big }}{% endfor %}",
    "{{ many | select('in', many) }}",
]

SHAPES = [
    "{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}",
    "{{ " + "(" * 100 + "1" + ")" * 100 + " }}",
    "{{ " + "[" * 30_000 + "]" * 30_000 + " }}",
    "{{ " + "{" * 30_000,
    "{{ " + "[" * 100_000,
    "{{ " + "not " * 10_000 + "1 }}",
    "{{ " + "-" * 30_000 + "1 }}",
    "{{ x" + ".a" * 30_000 + " }}",
    "{{ x" + "[0]" * 20_000 + " }}",
    "{{ x" + "|abs" * 10_000 + " }}",
    "{{ 1" + " + 1" * 10_000 + " }}",
    "{{ 1" + " ** 1" * 10_000 + " }}",
    "{{ 1" + " if 1 else 1" * 5_000 + " }}",
    "{{ 1" + " and 1" * 10_000 + " }}",
    "{% if 1 %}" * 5_000 + "{% endif %}" * 5_000,
    "{% for a in ten %}" * 1_000 + "{% endfor %}" * 1_000,
    "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
    "{% if 0 %}" + "{% elif 0 %}" * 5_000 + "{% endif %}",
    "{{ a }}" * 9_000,
    "{% set a, b" + ", c" * 20_000 + " = 1 %}",
    "{{ '" + "\\N{DIGIT ONE}" * 6_000 + "' }}",
]


def titled(source: str) -> str:
    return source[:60].replace("\n", " ")


@pytest.mark.parametrize("source", ESCAPES, ids=titled)
def test_nothing_but_data_is_reached(source):
    message = outcome(source).message
    assert "hidden" not in message
    assert " at 0x" not in message


@pytest.mark.parametrize(
    "source",
    [source if at % 3 == 0 else pytest.param(source, marks=pytest.mark.long) for at, source in enumerate(FLOODS)],
    ids=titled,
)
@pytest.mark.few(8)
def test_work_and_room_are_bounded(source):
    tracemalloc.start()
    try:
        outcome(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ROOM_BYTES


@pytest.mark.parametrize("source", SHAPES, ids=titled)
@pytest.mark.few(8)
def test_size_and_nesting_are_bounded(source):
    sandbox = Sandbox(clock=lambda: 0.0)
    try:
        sandbox.template(source).render(VALUES)
    except TemplateError as error:
        assert len(error.message) < 500  # noqa: PT017  # a flat source, the escapes, may well be within its rights
    expression = source.removeprefix("{{").removesuffix("}}")
    if "{%" not in source and "}}" not in expression:
        with pytest.raises(TemplateError):
            sandbox.expression_text("${{" + expression + "}}").render(VALUES)


def test_a_deep_stack_under_the_caller_is_no_way_out():
    def under(depth: int) -> None:
        if depth:
            under(depth - 1)
            return
        with pytest.raises(TemplateError):
            Sandbox().template("{{ " + "(" * 40 + "1" + ")" * 40 + " }}").render({})

    under(sys.getrecursionlimit() - len(inspect.stack(0)) - 120)


def test_time_is_bounded_by_the_clock_that_is_given():
    clock = count()
    sandbox = Sandbox(TemplateLimits(seconds=50), clock=lambda: float(next(clock)))
    template = sandbox.template("{% for a in xs %}{{ a }}{% endfor %}")
    assert template.render({"xs": [1] * 10}) == "1" * 10
    with pytest.raises(TemplateError, match="longer than 50 s"):
        template.render({"xs": [1] * 100})


@pytest.mark.parametrize(
    "source", ["{{ a ~ 'b' }}", "{{ a | upper }}", "{{ a.upper() }}", "{{ a + 'b' }}", "{{ [a] | map(attribute=0) }}"]
)
def test_every_word_looks_at_the_clock(source):
    clock = iter([0.0])
    sandbox = Sandbox(clock=lambda: next(clock, 9.0))
    with pytest.raises(TemplateError, match="longer than 1 s"):
        sandbox.template(source).render({"a": "a"})


def test_nothing_runs_while_a_template_is_parsed():
    def no_clock() -> float:
        raise AssertionError("parsing evaluates something")

    sandbox = Sandbox(clock=no_clock)
    sandbox.template("{{ 'a' * 10**9 ~ 10**10**10 }}{% if 2**9**9 %}{% endif %}{% set x = [1] | sort %}")
    sandbox.expression_text("x ${{ 'a' * 10**9 }} ${{ 'a'.upper() | replace('A', 'b') }}")


@pytest.mark.parametrize("source", ["{{ x }}", "{{ x | tojson }}", "{{ [x] | string }}", "{{ x == y }}"])
@pytest.mark.few(2)
def test_data_that_is_endless_or_too_deep_is_refused(source):
    loop: list[object] = []
    loop.append(loop)
    other: list[object] = []
    other.append(other)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    deeper = [deep]
    for x, y in ((loop, other), (deep, deeper)):
        with pytest.raises(TemplateError):
            Sandbox(clock=lambda: 0.0).template(source).render({"x": x, "y": y})


def test_an_object_shows_its_public_attributes():
    assert Sandbox().template("{{ o.open }}").render(VALUES) == "seen"


def test_values_are_left_as_they_were():
    values = {"xs": [3, 1, 2], "d": {"b": [1]}}
    Sandbox().template("{{ xs | sort }}{{ xs + [4] }}{% set xs = 1 %}{% set y = d.b + [2] %}").render(values)
    assert values == {"xs": [3, 1, 2], "d": {"b": [1]}}
