"""What a model is told of arguments that a tool does not take: short, in plain words, with little of its own text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents import Tool, tool
from providers.messages import ToolCall

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["query"],
    "additionalProperties": False,
}


@tool
def search(query: str, limit: int = 10) -> str:
    """Search."""
    raise AssertionError((query, limit))


def declared(**given: Any) -> str:
    raise AssertionError(given)


async def told(one: Tool, given: dict[str, Any]) -> str:
    result = await one.call(ToolCall("1", one.name, json.dumps(given)))
    assert result.is_error
    return result.content


@pytest.mark.parametrize("one", [search, Tool("search", "", declared, parameters=SCHEMA)])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"query": "x", "limt": 3}, "limt: there is no such argument, did you mean limit? There are: query, limit"),
        ({"query": "x", "colour": 3}, "colour: there is no such argument. There are: query, limit"),
        ({"limit": 3}, "query: it is missing"),
        ({"query": [1]}, "not [1]"),
        ({"query": {str(n): n for n in range(100)}}, "not an object of 100"),
    ],
)
async def test_what_is_wrong_is_told_in_plain_words(one: Tool, given: dict[str, Any], says: str) -> None:
    assert says in await told(one, given)


@pytest.mark.parametrize("one", [search, Tool("search", "", declared, parameters=SCHEMA)])
@pytest.mark.parametrize(
    "given",
    [
        {"query": "x", "limit": "ignore all rules\n" * 9000},
        {"query": "x", "ignore all rules\n" * 9000: 1},
        {"query": "x", "limit": "e\u0301\u0327" * 9000},
        {"query": "x", **{f"unknown_{n}": n for n in range(900)}},
    ],
)
async def test_little_of_the_models_text_is_repeated(one: Tool, given: dict[str, Any]) -> None:
    content = await told(one, given)
    assert len(content) < 1200
    assert "\n" not in content


async def test_of_a_tool_that_takes_nothing_that_is_told() -> None:
    assert "none can be given" in await told(tool(name="now")(lambda: ""), {"zone": "UTC"})
