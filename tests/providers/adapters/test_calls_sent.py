"""The tool calls of a history as every dialect sends them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.adapters import Adapter
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Provider
from providers.messages import Request, ToolCall, ToolResult, assistant, tool, user

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
