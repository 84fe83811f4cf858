"""Keys of schemas keep their declared order: a model that is asked for its reasons first then gives them first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agents import Tool, tool
from agents.output import shape_of
from providers.adapters import Adapter
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Provider
from providers.catalog.quirks import JsonMode, Quirks
from providers.messages import Capability, Request, user

ADAPTERS: dict[str, Adapter] = {
    "openai-chat": OpenAIChat(),
    "anthropic-messages": AnthropicMessages(),
    "gemini": Gemini(),
}
KEYS = ["why", "because", "answer", "also"]
SCHEMA = {
    "type": "object",
    "properties": {key: {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}},
                         "required": ["z", "a"], "additionalProperties": False} for key in KEYS},
    "required": KEYS,
    "additionalProperties": False,
}  # fmt: skip
ROW = Model("m", 8000, 1000, frozenset({Capability.JSON_SCHEMA}))


def orders(value: Any) -> Iterator[list[str]]:
    """Yield the names of properties wherever they stand, also within texts."""
    if isinstance(value, str):
        at = value.find('{"type":"object"')
        if at >= 0:
            yield from orders(json.loads(value[at:]))
    elif isinstance(value, list):
        for item in value:
            yield from orders(item)
    elif isinstance(value, dict):
        if isinstance(value.get("properties"), dict):
            yield list(value["properties"])
        for item in value.values():
            yield from orders(item)


@pytest.mark.parametrize("dialect", ADAPTERS)
@pytest.mark.parametrize("mode", ["schema", "object", "prompt"])
def test_an_output_schema_goes_out_in_its_own_order(dialect: str, mode: JsonMode) -> None:
    row = Provider("v", dialect, "https://api.test/v1", None, {"m": ROW}, Quirks(json_mode=mode))
    request = Request((user("go"),), output_schema=shape_of(SCHEMA).schema)
    body = json.loads(ADAPTERS[dialect].encode(request, Candidate(row, ROW), stream=False).body)
    assert list(orders(body)) == [KEYS, *[["z", "a"]] * 4]


@pytest.mark.parametrize("dialect", ADAPTERS)
def test_a_tools_parameters_go_out_in_their_own_order(dialect: str) -> None:
    @tool
    def judge(why: str, because: str, answer: str, also: str = "") -> str:
        return why

    row = Provider("v", dialect, "https://api.test/v1", None, {"m": ROW})
    given = Tool("given", "", judge.function, parameters=SCHEMA)
    request = Request((user("go"),), tools=(judge.spec, given.spec))
    body = json.loads(ADAPTERS[dialect].encode(request, Candidate(row, ROW), stream=False).body)
    assert [order for order in orders(body) if len(order) == 4] == [KEYS, KEYS]


def test_equal_schemas_of_another_order_are_one_to_the_record() -> None:
    turned = {**SCHEMA, "properties": dict(reversed(SCHEMA["properties"].items()))}  # type: ignore[attr-defined]
    one, two = shape_of(SCHEMA), shape_of(turned)
    assert one.digest == two.digest
    assert list(one.schema.schema["properties"]) == list(reversed(two.schema.schema["properties"]))
    assert shape_of(SCHEMA) is one


def test_the_digest_is_that_of_earlier_releases() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"enum": ["ü"]}}, "required": ["b"]}
    assert shape_of(schema).digest.hex()[:16] == "0f9f919ed8d1c811"
