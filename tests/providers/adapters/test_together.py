"""What vendors refuse together is not sent together: of every row, as the row says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from providers.adapters import Adapter
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.errors import Unsupported
from providers.messages import Capability, Needs, OutputSchema, Request, ToolSpec, assistant, user

CATALOG = load_catalog()
ADAPTERS: dict[str, Adapter] = {
    "openai-chat": OpenAIChat(),
    "anthropic-messages": AnthropicMessages(),
    "gemini": Gemini(),
}
ROWS = [name for name in CATALOG.names() if not name.startswith("stub/")]
LOOK = ToolSpec("look", "Looks out of the window.")
SHAPE = OutputSchema(
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
)
EITHER = {"openai", "anthropic"}
"""Who takes a schema beside tools."""


def sent(name: str, *, stream: bool = False, prefill: bool = False, **more: Any) -> dict[str, Any]:
    found = CATALOG.find(name)
    assert found is not None
    needs = Needs(capabilities=frozenset({Capability.PREFILL} if prefill else ()))
    messages = (user("hi"), assistant("I think")) if prefill else (user("hi"),)
    adapter = ADAPTERS[found[0].dialect]
    request = Request(messages, needs=needs, **more)
    body: dict[str, Any] = json.loads(adapter.encode(request, Candidate(*found, key="k"), stream=stream).body)
    return body


def native_schema(body: dict[str, Any]) -> bool:
    config = {**body.get("generationConfig", {}), **body.get("output_config", {})}
    return "response_format" in body or "format" in config or "responseMimeType" in config


def words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from words(item)


def told(body: dict[str, Any]) -> bool:
    return any("JSON Schema" in text and '"a":{"type":"string"}' in text for text in words(body))


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_beside_tools_goes_into_words_where_the_vendor_takes_either(name: str, stream: bool) -> None:
    body = sent(name, stream=stream, tools=(LOOK,), output_schema=SHAPE)
    native = name.partition("/")[0] in EITHER
    assert (native_schema(body), told(body)) == (native, not native)
    assert body["tools"]


@pytest.mark.parametrize("name", ROWS)
def test_a_schema_alone_is_said_in_the_vendors_own_way_or_in_words(name: str) -> None:
    body = sent(name, output_schema=SHAPE)
    assert native_schema(body) or told(body)
    provider = name.partition("/")[0]
    if provider in ("openai", "anthropic", "gemini", "groq", "cerebras", "mistral", "local", "ollama"):
        assert (native_schema(body), told(body)) == (True, False)


@pytest.mark.parametrize("name", ["groq/openai/gpt-oss-120b", "cerebras/gpt-oss-120b"])
def test_a_schema_goes_into_words_where_streams_have_none(name: str) -> None:
    assert native_schema(sent(name, output_schema=SHAPE))
    body = sent(name, output_schema=SHAPE, stream=True)
    assert (native_schema(body), told(body)) == (False, True)


def test_words_beside_tools_do_not_forbid_to_call_them() -> None:
    [beside] = [
        text for text in words(sent("cerebras/gpt-oss-120b", tools=(LOOK,), output_schema=SHAPE)) if "Schema" in text
    ]
    assert beside.startswith("Call the tools that you need")


@pytest.mark.parametrize("effort", [None, "high"])
def test_openais_models_are_told_not_to_think_beside_tools(effort: Any) -> None:
    assert sent("openai/gpt-5.6-luna", tools=(LOOK,), effort=effort)["reasoning_effort"] == "none"
    assert sent("openai/gpt-5.6-luna", effort=effort).get("reasoning_effort") == effort


@pytest.mark.parametrize("effort", [None, "high"])
@pytest.mark.parametrize("choice", ["required", "look"])
def test_a_forced_tool_switches_thinking_off_at_anthropic(effort: Any, choice: str) -> None:
    body = sent("anthropic/claude-opus-5-5", tools=(LOOK,), tool_choice=choice, effort=effort)
    assert body["thinking"] == {"type": "disabled"}
    assert "output_config" not in body
    assert body["tool_choice"]["type"] in ("any", "tool")
    for free in ("auto", "none"):
        body = sent("anthropic/claude-opus-5-5", tools=(LOOK,), tool_choice=free, effort=effort)
        assert "thinking" not in body
        assert body.get("output_config") == (None if effort is None else {"effort": effort})


def test_an_answer_that_is_to_be_continued_goes_without_thinking_and_format_at_anthropic() -> None:
    body = sent("anthropic/claude-haiku-4-5", prefill=True, effort="high", output_schema=SHAPE)
    assert body["thinking"] == {"type": "disabled"}
    assert (native_schema(body), told(body)) == (False, True)


@pytest.mark.parametrize("name", ["cerebras/gpt-oss-120b", "deepseek/deepseek-v4-pro"])
@pytest.mark.parametrize("choice", ["required", "look"])
def test_a_tool_that_cannot_be_forced_is_another_candidates(name: str, choice: str) -> None:
    with pytest.raises(Unsupported, match="tool_choice"):
        sent(name, tools=(LOOK,), tool_choice=choice)
    assert sent(name, tools=(LOOK,), tool_choice="none")["tool_choice"] == "none"


@pytest.mark.parametrize(
    "name", [name for name in ROWS if CATALOG.providers[name.partition("/")[0]].dialect == "openai-chat"]
)
@pytest.mark.parametrize("stream", [False, True])
def test_whether_to_stream_is_always_said(name: str, stream: bool) -> None:
    assert sent(name, stream=stream)["stream"] is stream
