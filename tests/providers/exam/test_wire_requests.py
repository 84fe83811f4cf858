"""The exam of what goes out, 50 to 57: servers that refuse what the vendors refuse, in their words, and what arrived.

Each is put through whole answers and streams, on both transports. An agent does the work, so that the turns are those
of real use: its history goes back, its tools are called, its answer is held to a schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agents import Agent, Tool, tool
from agents.loop import WorkResult
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.client.manager import ProviderManager
from providers.errors import AllAttemptsFailed
from tests.loopback import Seen, Served
from tests.providers.exam.lab import KEY, PATIENT, Lab

pytestmark = pytest.mark.anyio

CATALOG = load_catalog()
SHAPE = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "answer": {"type": "integer"}},
    "required": ["why", "answer"],
    "additionalProperties": False,
}
FINAL = '{"why": "it says so", "answer": 4}'


class Voice:
    """A persona of the least kind."""

    name, tier = "dev", "worker"

    def instructions(self, values: Any) -> str:
        return "You look things up."


def row(lab: Lab, name: str, rule: Callable[[Seen], str | Served]) -> Candidate:
    """Return the catalog's row of `provider/model`, served by `rule`."""
    found = CATALOG.find(name)
    assert found is not None
    base = lab.loopback.by(rule)
    lab._names[base] = name
    return Candidate(replace(found[0], base_url=base), found[1], key=KEY)


async def work(lab: Lab, manager: ProviderManager, *tools: Tool, schema: Mapping[str, Any] | None = None) -> WorkResult:
    agent = Agent("amelia", Voice(), manager, tools=tools, effort="low")
    if lab.how == "complete":
        return await agent.work("What time is it?", output_schema=schema)
    async with agent.stream("What time is it?", output_schema=schema) as deltas:
        async for _ in deltas:
            pass
    assert deltas.result is not None
    return deltas.result


def says(seen: Seen, **message: Any) -> Served:
    """Serve a Chat Completions message, whole or as a stream of one chunk."""
    finish = "tool_calls" if "tool_calls" in message else "stop"
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    if not seen.body["stream"]:
        said = {"role": "assistant", "content": None, **message}
        return Served(200, {"choices": [{"index": 0, "message": said, "finish_reason": finish}], "usage": usage})
    for index, each in enumerate(message.get("tool_calls", ())):
        each["index"] = index
    chunk = {"choices": [{"index": 0, "delta": message, "finish_reason": finish}], "usage": usage}
    return Served(200, f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n", {"content-type": "text/event-stream"})


def call(name: str, arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {"id": "call00001", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def refusal(message: str, status: int = 400, **more: Any) -> Served:
    return Served(status, {"error": {"message": message, "type": "invalid_request_error", "code": None, **more}})


def histories(body: Any) -> Iterator[dict[str, Any]]:
    """Yield the functions of the calls in a body's messages."""
    for message in body["messages"]:
        yield from (each["function"] for each in message.get("tool_calls") or ())


def one_call_then(
    rule: Callable[[Seen], Served | None], said: Callable[[Seen], dict[str, Any]]
) -> Callable[[Seen], Served]:
    """Refuse what `rule` refuses; else call a tool, and with its result answer."""

    def answer(seen: Seen) -> Served:
        refused = rule(seen)
        if refused is not None:
            return refused
        if seen.body["messages"][-1]["role"] == "tool":
            return says(seen, content=FINAL)
        return says(seen, tool_calls=[said(seen)])

    return answer


@tool(name="now", blocking=False)
def now() -> str:
    """Tells the time."""
    return "four"


def both(message: str, status: int = 400, **more: Any) -> Callable[[Seen], Served | None]:
    def rule(seen: Seen) -> Served | None:
        together = "response_format" in seen.body and "tools" in seen.body
        return Served(status, {"message": message, **more}) if together else None

    return rule


TOGETHER = {
    "cerebras/gpt-oss-120b": both('"tools" is incompatible with "response_format"', code="wrong_api_format"),
    "groq/openai/gpt-oss-120b": both("json mode cannot be combined with tool/function calling"),
    "mistral/mistral-small-latest": both("Cannot use json response type with tools", code="3051"),
}


@pytest.mark.parametrize("name", TOGETHER)
async def test_50_a_task_with_tools_and_a_schema_is_done_where_they_are_refused_together(lab: Lab, name: str):
    candidate = row(lab, name, one_call_then(TOGETHER[name], lambda _: call("now")))
    async with lab.manager(candidate, timeouts=PATIENT) as manager:
        result = await work(lab, manager, now, schema=SHAPE)
    assert result.output == {"why": "it says so", "answer": 4}
    assert result.turns == 2
    for seen in lab.to(name):
        [words] = [text for each in seen.body["messages"] if "JSON Schema" in (text := each["content"] or "")]
        assert words.index('"why":{') < words.index('"answer":{'), "in the order in which they were declared"
        assert seen.body["stream"] is (lab.how != "complete")


async def test_51_openais_models_take_tools_though_they_think(lab: Lab):
    def rule(seen: Seen) -> Served | None:
        said = "Function tools with reasoning_effort are not supported for gpt-6-luna in /v1/chat/completions."
        beside = "tools" in seen.body and seen.body.get("reasoning_effort") != "none"
        return refusal(said, param="reasoning_effort") if beside else None

    candidate = row(lab, "openai/gpt-6-luna", one_call_then(rule, lambda _: call("now")))
    async with lab.manager(candidate, timeouts=PATIENT) as manager:
        result = await work(lab, manager, now, schema=SHAPE)
    assert result.output["answer"] == 4
    formats = [seen.body["response_format"]["json_schema"]["schema"] for seen in lab.to("openai/gpt-6-luna")]
    assert [list(each["properties"]) for each in formats] == [["why", "answer"]] * 2


@pytest.mark.parametrize("broken", ['{"zone": "Ber', "null", "[]"])
async def test_52_a_broken_argument_does_not_end_the_work(lab: Lab, broken: str):
    """As llama.cpp: it parses the arguments of the whole history in each later turn, and answers 500 for ever."""

    def rule(seen: Seen) -> Served | None:
        for function in histories(seen.body):
            try:
                assert isinstance(json.loads(function["arguments"], parse_constant=pytest.fail), dict)
            except (ValueError, AssertionError):
                return refusal("Failed to parse tool call arguments as JSON", status=500)
        return None

    candidate = row(lab, "local/default", one_call_then(rule, lambda _: call("now", broken)))
    async with lab.manager(candidate, timeouts=PATIENT) as manager:
        result = await work(lab, manager, now, schema=SHAPE)
    assert (result.turns, len(lab.calls)) == (2, 2)
    [function] = histories(lab.loopback.requests[-1].body)
    kept = {} if broken == "null" else {"arguments": broken}
    assert json.loads(function["arguments"]) == kept


async def test_53_thoughts_go_back_to_the_model_that_had_them_only(lab: Lab):
    details = [{"type": "reasoning.encrypted", "data": "SEALED", "index": 0}]
    large, small = "openrouter/openai/gpt-oss-120b", "openrouter/google/gemma-4-31b-it:free"
    down = False

    def first(seen: Seen) -> Served:
        if down:
            return refusal("overloaded", status=503)
        return says(seen, reasoning_details=details, tool_calls=[call("fail")])

    @tool(name="fail", blocking=False)
    def fail() -> str:
        nonlocal down
        down = True
        return "four"

    candidates = row(lab, large, first), row(lab, small, lambda seen: says(seen, content=FINAL))
    async with lab.manager(*candidates, timeouts=PATIENT) as manager:
        result = await work(lab, manager, fail, schema=SHAPE)
    assert result.output["answer"] == 4
    assert "SEALED" in json.dumps(lab.to(large)[-1].body)
    assert "SEALED" not in json.dumps([seen.body for seen in lab.to(small)])


@pytest.mark.parametrize("name", ["clock.now", "時計", "c" * 80])
async def test_54_a_tool_of_any_name_is_called_through_a_name_that_is_legal(lab: Lab, name: str):
    def rule(seen: Seen) -> Served | None:
        names = [each["function"]["name"] for each in seen.body["tools"]] + [f["name"] for f in histories(seen.body)]
        if all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", each) for each in names):
            return None
        return refusal(
            "Invalid 'tools[0].function.name': string does not match pattern", param="tools[0].function.name"
        )

    def said(seen: Seen) -> dict[str, Any]:
        return call(seen.body["tools"][0]["function"]["name"])

    candidate = row(lab, "groq/openai/gpt-oss-120b", one_call_then(rule, said))
    async with lab.manager(candidate, timeouts=PATIENT) as manager:
        result = await work(lab, manager, Tool(name, "", now.function, blocking=False), schema=SHAPE)
    [called] = [each for message in result.transcript for each in message.tool_calls]
    assert called.name == name
    [answered] = [message for message in result.transcript if message.role == "tool"]
    assert answered.parts[0].content == "four"
    [back] = histories(lab.loopback.requests[-1].body)
    assert back["name"] == lab.loopback.requests[0].body["tools"][0]["function"]["name"]


@pytest.mark.parametrize("written", ["functions.now", "now<|channel|>commentary"])
async def test_55_a_call_finds_its_tool_as_models_write_it(lab: Lab, written: str):
    candidate = row(lab, "groq/openai/gpt-oss-120b", one_call_then(lambda _: None, lambda _: call(written)))
    async with lab.manager(candidate, timeouts=PATIENT) as manager:
        result = await work(lab, manager, now, schema=SHAPE)
    [answered] = [message for message in result.transcript if message.role == "tool"]
    assert (answered.parts[0].content, answered.parts[0].is_error) == ("four", False)


ROOTS = [
    {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"zone": {"type": "string"}}}}},
    {"anyOf": [{"type": "object", "properties": {"zone": {"type": "string"}}}, {"type": "object", "properties": {}}]},
]


@pytest.mark.parametrize("schema", ROOTS)
async def test_56_a_tool_of_any_schema_has_an_object_at_the_root(lab: Lab, schema: dict[str, Any]):
    def rule(seen: Seen) -> Served | None:
        root = seen.body["tools"][0]["function"]["parameters"]
        composed = root.keys() & {"oneOf", "anyOf", "allOf", "enum", "not", "$ref"}
        if root.get("type") == "object" and isinstance(root.get("properties"), dict) and not composed:
            return None
        return refusal("Invalid schema for function 'now': schema must have type 'object' and not have 'oneOf'/'anyOf'")

    candidate = row(lab, "openai/gpt-6-luna", one_call_then(rule, lambda _: call("now", '{"zone": "UTC"}')))

    def there(zone: str) -> str:
        return zone

    async with lab.manager(candidate, timeouts=PATIENT) as manager:
        result = await work(lab, manager, Tool("now", "", there, parameters=schema, blocking=False), schema=SHAPE)
    [answered] = [message for message in result.transcript if message.role == "tool"]
    assert (answered.parts[0].content, answered.parts[0].is_error) == ("UTC", False)


async def test_57_more_tools_than_a_provider_takes_cost_no_call_and_go_to_the_next(lab: Lab):
    many = tuple(Tool(f"t{i}", "", now.function, blocking=False) for i in range(129))
    first = row(lab, "openai/gpt-6-luna", lambda _: refusal("Invalid 'tools': array too long."))
    second = row(lab, "mistral/mistral-small-latest", lambda seen: says(seen, content=FINAL))
    async with lab.manager(first, second, timeouts=PATIENT) as manager:
        assert (await work(lab, manager, *many, schema=SHAPE)).provider == "mistral"
    assert lab.calls == ["mistral/mistral-small-latest"]
    async with lab.manager(first, timeouts=PATIENT) as manager:
        with pytest.raises(AllAttemptsFailed) as failed:
            await work(lab, manager, *many, schema=SHAPE)
    assert "128 tools, not 129" in str(failed.value.exceptions[0])
