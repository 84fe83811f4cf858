"""Functions as people write them are tools: each is made to work, or refused in words before anything is paid for."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import BaseModel, Field

from agents import Tool, ToolFault, tool
from agents.tools import as_tools
from orchestrator import Squad
from providers.messages import ToolCall
from tests.orchestrator.squads import Answers, run, squad

pytestmark = pytest.mark.anyio


async def call(one: Callable[..., Any] | Tool, **arguments: Any) -> Any:
    [made] = as_tools([one])
    result = await made.call(ToolCall("1", made.name, json.dumps(arguments)))
    return f"error: {result.content}" if result.is_error else json.loads(result.content)


def properties(one: Callable[..., Any]) -> Any:
    return as_tools([one])[0].spec.parameters["properties"]


class TestFields:
    @staticmethod
    def bounded(
        x: int = Field(5, ge=1, description="How many"),
        y: Annotated[int, Field(ge=1)] = 6,
        z: list[int] = Field(default_factory=list),  # noqa: B008  # as pydantic's users write it
    ) -> list[Any]:
        return [x, y, z]

    def test_their_defaults_and_bounds_are_in_the_schema(self) -> None:
        seen = properties(self.bounded)
        assert seen["x"] == {"type": "integer", "minimum": 1, "default": 5, "description": "How many"}
        assert seen["y"] == {"type": "integer", "minimum": 1, "default": 6}
        assert seen["z"]["type"] == "array"

    async def test_the_function_gets_the_value_and_not_the_field(self) -> None:
        def given(x: int = Field(5, ge=1), z: list[int] = Field(default_factory=list)) -> list[Any]:  # noqa: B008
            z.append(x)
            return z

        assert await call(given) == [5]
        assert await call(given) == [5]  # each call has a list of its own
        assert await call(given, x=2, z=[1]) == [1, 2]

    async def test_the_default_may_stand_in_the_annotation(self) -> None:
        def given(x: Annotated[int, Field(default=3, ge=1)], y: int = 1) -> list[int]:
            return [x, y]

        assert await call(given) == [3, 1]

    async def test_a_bound_that_is_broken_is_told_to_the_model(self) -> None:
        def given(x: int = Field(5, ge=1)) -> int:
            return x

        assert "wrong arguments: x: it should be greater than or equal to 1, not 0" in await call(given, x=0)


class Shop:
    def __init__(self) -> None:
        self.price = 7

    def buy(self, count: int) -> int:
        """Buy."""
        return self.price * count

    @classmethod
    def named(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @staticmethod
    def doubled(n: int) -> int:
        return 2 * n

    def __call__(self, n: int) -> int:
        """Call the shop."""
        return self.price + n


class TestKinds:
    async def test_methods_objects_and_partials(self) -> None:
        shop = Shop()
        assert await call(shop.buy, count=2) == 14
        assert (await as_tools([Shop.named])[0].call(ToolCall("1", "named", '{"name": "x"}'))).content == "Shop x"
        assert await call(Shop.doubled, n=2) == 4
        assert await call(Shop.__dict__["doubled"], n=2) == 4
        assert await call(shop, n=1) == 8
        assert await call(functools.partial(shop.buy, count=3)) == 21
        named = {one.name: one.description for one in as_tools([shop.buy, shop, Shop.named])}
        assert named == {"buy": "Buy.", "Shop": "Call the shop.", "named": ""}

    async def test_arguments_without_a_name_and_more_of_them(self) -> None:
        def total(first: int, /, *rest: int, sign: str = "+") -> str:
            return json.dumps([first, list(rest), sign])

        def open_(kind: str, **more: int) -> str:
            return json.dumps([kind, more])

        def ahead(first: int, second: int = 0, *rest: int) -> str:
            return json.dumps([first, second, rest])

        assert await call(total, first=1, rest=[2, 3]) == [1, [2, 3], "+"]
        assert "wrong arguments: rest" in await call(total, first=1, rest=["x"])
        assert await call(open_, kind="k", a=1) == ["k", {"a": 1}]
        assert await call(ahead, first=1, second=2, rest=[3]) == [1, 2, [3]]
        assert await call(ahead, first=1) == [1, 0, []]
        assert "wrong arguments: second" in await call(ahead, first=1, rest=[3])

    async def test_types_of_the_function_around_it(self) -> None:
        @dataclass
        class Point:
            x: int

        class Line(BaseModel):
            points: list[Point]

        def length(line: Line, mark: Point | None = None) -> int:
            return len(line.points)

        assert await call(length, line={"points": [{"x": 1}, {"x": 2}]}) == 2
        assert "wrong arguments: line.points.0.x" in await call(length, line={"points": [{"x": "a"}]})

    async def test_names_that_pydantic_has_for_itself(self) -> None:
        def odd(schema: str, copy: str, json_: str, model_config: str, _x: str = "x") -> list[str]:
            return [schema, copy, json_, model_config, _x]

        assert await call(odd, schema="a", copy="b", json_="c", model_config="d") == ["a", "b", "c", "d", "x"]

    async def test_a_default_that_is_no_json_is_the_function_s_own(self) -> None:
        def since(day: date = date(2026, 1, 2)) -> str:
            return day.isoformat().replace("-", "")

        assert await call(since) == 20260102
        assert "default" not in properties(since)["day"]


def _wrapped(function: Any) -> Any:
    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Line(BaseModel):
    sku: str
    count: int = 1


class TestMeant:
    """Arguments that are not of their types, as models write them: what they plainly mean is taken."""

    SCHEMA: ClassVar[Any] = {
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}},
            "at": {"type": "integer"},
            "note": {"type": "string"},
        },
    }

    @staticmethod
    def order(lines: list[Line] | None = None, at: int = 0, note: str = "", both: list[int] | str = "") -> list[Any]:
        return [[one.sku for one in lines or ()], at, note, both]

    @staticmethod
    def declared(**given: Any) -> Any:
        return given

    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            ({"lines": '[{"sku": "a"}]'}, [["a"], 0, "", ""]),
            ({"lines": ['{"sku": "a"}', {"sku": "b"}]}, [["a", "b"], 0, "", ""]),
            ({"lines": "[{'sku': 'a', 'count': '2'}]"}, [["a"], 0, "", ""]),
            ({"lines": "null", "note": None, "at": None}, [[], 0, "", ""]),
            ({"note": "[1]", "both": "[1]"}, [[], 0, "[1]", "[1]"]),  # a text may be a text
        ],
    )
    async def test_by_types(self, given: dict[str, Any], taken: list[Any]) -> None:
        assert await call(self.order, **given) == taken

    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            ({"lines": '[{"sku": "a"}]', "at": "5"}, {"lines": [{"sku": "a"}], "at": 5}),
            ({"lines": ['{"sku": "a"}'] * 3, "note": None}, {"lines": [{"sku": "a"}] * 3}),
            ({"note": "5"}, {"note": "5"}),
        ],
    )
    async def test_by_a_schema(self, given: dict[str, Any], taken: dict[str, Any]) -> None:
        assert await call(Tool("order", "", self.declared, parameters=self.SCHEMA), **given) == taken

    @pytest.mark.parametrize(
        "given", [{"lines": "a"}, {"lines": '["a"]'}, {"lines": '"[]"'}, {"at": "[5]"}, {"note": 5}]
    )
    async def test_all_else_is_told(self, given: dict[str, Any]) -> None:
        [[where, _]] = given.items()
        assert f"wrong arguments: {where}: it should be" in await call(self.order, **given)
        told = await call(Tool("order", "", self.declared, parameters=self.SCHEMA), **given)
        assert f"wrong arguments: $.{where}" in told


class TestDecorators:
    def test_what_is_no_function_or_a_tool_within_is_refused_in_words(self) -> None:
        with pytest.raises(TypeError, match=r"not of 'Search'; a name is given by @tool\(name="):
            tool("Search")  # type: ignore[call-overload]  # as other frameworks take it
        with pytest.raises(ToolFault, match="put @tool above all others"):
            as_tools([_wrapped(tool(Shop.doubled))])

    async def test_what_stands_below_is_kept(self) -> None:
        assert await call(tool(_wrapped(Shop.doubled)), n=2) == 4


class TestReturned:
    async def test_generators_are_gone_through(self) -> None:
        def some() -> Iterator[int]:
            yield from (1, 2)

        async def later() -> AsyncIterator[int]:
            yield 3

        assert await call(some) == [1, 2]
        assert await call(later) == [3]

    async def test_what_a_sync_function_leaves_to_be_awaited_is(self) -> None:
        async def inner() -> int:
            return 4

        def outer() -> Any:
            return inner()

        def nothing() -> None:
            """Return nothing."""

        assert await call(outer) == 4
        assert await call(nothing) is None

    async def test_what_cannot_be_told_is_told_as_an_error(self) -> None:
        def odd() -> Any:
            return object()

        assert "odd failed" in await call(odd)

    @pytest.mark.parametrize("exception", [ValueError(), SystemExit(3), StopIteration("x"), KeyError("é\ud800")])
    async def test_what_a_tool_raises_ends_no_run(self, exception: BaseException) -> None:
        def bad() -> str:
            raise exception

        assert type(exception).__name__ in await call(bad) or isinstance(exception, StopIteration)

    async def test_an_error_whose_message_fails_is_told_all_the_same(self) -> None:
        class Odd(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        def bad() -> str:
            raise Odd

        assert "Odd: it has no message that can be read" in await call(bad)


class NotTold:
    """No model can be told of it."""


class TestRefused:
    def refused(self, *given: Any) -> str:
        with pytest.raises(ToolFault) as fault:
            squad({"a": "x"}, tools=list(given))
        return str(fault.value)

    def test_what_is_no_function_and_what_has_no_name(self) -> None:
        assert "neither a tool nor a function" in self.refused("search")
        assert "a lambda has no name" in self.refused(lambda: 1)

    def test_two_of_one_name(self) -> None:
        def make(n: int) -> Any:
            def twin() -> int:
                return n

            return twin

        assert "two tools have this name" in self.refused(make(1), make(2))

    def test_types_that_no_schema_tells(self) -> None:
        def takes(it: NotTold) -> str:
            return ""

        def gives() -> NotTold:
            return NotTold()

        def forgets(it: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
            return ""

        assert "takes: its parameters cannot be described" in self.refused(takes)
        assert "gives: what it returns cannot be told to a model" in self.refused(gives)
        assert "'Nowhere' is not defined" in self.refused(forgets)

    def test_a_method_without_its_object(self) -> None:
        assert "a method without its object" in self.refused(Shop.buy)


async def test_a_squad_takes_plain_functions_and_so_does_an_agent() -> None:
    def shout(text: str) -> str:
        """Shout."""
        return text.upper()

    given = squad({"a": {"agent": "ann", "description": "x", "tools": ["shout"]}}, tools=[shout])
    manager = Answers()
    result, _ = await run(given, manager)
    assert (result.status, [one.name for one in manager.asked[0][1].tools]) == ("done", ["shout"])
    assert Squad.from_text(given.text, tools=[shout]).tools[0].name == "shout"
