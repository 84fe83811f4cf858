"""The tool calls of a history as every dialect sends them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import Adapter
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.adapters.tools import wire_name
from providers.catalog.model import Candidate, Model, Provider
from providers.messages import (
    Message,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    assistant,
    tool,
    user,
)

ROW = Model("m", 8000, 1000)
ADAPTERS: dict[str, Adapter] = {
    "openai-chat": OpenAIChat(),
    "anthropic-messages": AnthropicMessages(),
    "gemini": Gemini(),
}


def sent(dialect: str, request: Request) -> Any:
    row = Provider("v", dialect, "https://api.test/v1", None, {"m": ROW})
    body = ADAPTERS[dialect].encode(request, Candidate(row, ROW), stream=False).body
    return json.loads(body, parse_constant=pytest.fail)


def call_in(dialect: str, body: Any) -> tuple[str, Any]:
    """Return the name and the arguments of the one call in a body."""
    match dialect:
        case "openai-chat":
            [call] = body["messages"][1]["tool_calls"]
            return call["function"]["name"], json.loads(call["function"]["arguments"], parse_constant=pytest.fail)
        case "anthropic-messages":
            [block] = body["messages"][1]["content"]
            return block["name"], block["input"]
        case _:
            [part] = body["contents"][1]["parts"]
            return part["functionCall"]["name"], part["functionCall"]["args"]


@pytest.mark.parametrize("dialect", ADAPTERS)
@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"a": [1, null, "ü"]}', {"a": [1, None, "ü"]}),
        ("", {}),
        ("null", {}),
        ('"{}"', {}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"a": "\\ud83d"}', {"a": "\ufffd"}),
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ('{"city": "Ber', {"arguments": '{"city": "Ber'}),
        ("[]", {"arguments": "[]"}),
        ("7", {"arguments": "7"}),
        ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
    ],
)
def test_arguments_go_out_as_an_object(dialect: str, written: str, arguments: dict[str, Any]) -> None:
    history = (user("go"), assistant(ToolCall("1", "f", written)), tool(ToolResult("1", "f", "ok")))
    assert call_in(dialect, sent(dialect, Request(history))) == ("f", arguments)


NAMES = ("look", "weather.get", "天気", "n" * 70, "3d", "", "\ud83d")
BROKEN = ("{}", "", "null", '{"a": "Ber', "[]", '"{}"', '{"a": NaN}', '{"a": 1, "a": 2}', "\ud83d", '{"a": "\\ud83d"}')
LEGAL = {
    "openai-chat": r"[a-zA-Z0-9_-]{1,64}",
    "anthropic-messages": r"[a-zA-Z0-9_-]{1,64}",
    "gemini": r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}",
}
ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
PARTS = st.one_of(
    st.builds(Text, st.sampled_from(["", " ", "words", "\ud83d"])),
    st.builds(
        Reasoning, st.sampled_from(["", "hm"]), st.sampled_from([None, "c2ln"]), st.sampled_from([None, "v", "v/m"])
    ),
    st.builds(ToolCall, st.sampled_from("abc"), st.sampled_from(NAMES), st.sampled_from(BROKEN)),
    st.builds(ToolResult, st.sampled_from("abc"), st.sampled_from(NAMES), st.sampled_from(["", "ok"]), st.booleans()),
)
HISTORIES = st.lists(
    st.builds(Message, ROLES, st.lists(PARTS, max_size=3).map(tuple)),
    max_size=8,
)


def calls_in(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and arguments of each call in a body, whatever its dialect."""
    if isinstance(value, list):
        for item in value:
            yield from calls_in(item)
    elif isinstance(value, dict):
        if "arguments" in value and "name" in value:
            yield value["name"], json.loads(value["arguments"], parse_constant=pytest.fail)
        elif value.get("type") == "tool_use":
            yield value["name"], value["input"]
        elif "functionCall" in value:
            yield value["functionCall"]["name"], value["functionCall"]["args"]
        else:
            for item in value.values():
                yield from calls_in(item)


@pytest.mark.parametrize("dialect", ADAPTERS)
@given(history=HISTORIES, tools=st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
def test_any_history_of_calls_is_taken(dialect: str, history: list[Message], tools: list[str]) -> None:
    body = sent(dialect, Request(tuple(history), tuple(ToolSpec(name, "") for name in tools)))
    body.pop("tools", None)
    asked = [part for m in history if m.role == "assistant" for part in m.parts if isinstance(part, ToolCall)]
    found = list(calls_in(body))
    assert len(found) == len(asked)
    for (name, arguments), call in zip(found, asked, strict=True):
        assert isinstance(arguments, dict)
        assert re.fullmatch(LEGAL[dialect], name)
        assert call.name not in tools or name == wire_name(call.name)
