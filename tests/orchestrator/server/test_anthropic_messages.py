"""Messages of Anthropic's dialect are read as clients write them, and answered as clients read them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from orchestrator.server.gateway.anthropic_messages import MessagesReply, messages_error, read_messages
from orchestrator.server.gateway.asked import CompletionAsked
from orchestrator.server.gateway.failures import GatewayFailure
from providers.messages import (
    Capability,
    FinishReason,
    Image,
    Message,
    ReasoningDelta,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)

PNG = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"\x89PNG").decode()}
HELLO = {"role": "user", "content": "Hello 👋"}
USE = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "é"}}
TOOL = {"name": "look", "input_schema": {"type": "object"}}


def read(**said: Any) -> CompletionAsked:
    return read_messages(json.dumps({"model": "tier/boss", "max_tokens": 9, "messages": [HELLO], **said}).encode())


def test_all_that_clients_send_is_read() -> None:
    asked = read(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [{"type": "image", "source": PNG}, {"type": "text", "text": "What is it?"}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, USE]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "image", "source": PNG}]},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        tools=[{**TOOL, "cache_control": None}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END", ""],
        thinking={"type": "enabled", "budget_tokens": 2000},
        metadata={"user_id": "x"},
        top_k=5,
    )
    image = Image("image/png", b"\x89PNG")
    assert asked.request.messages == (
        Message("system", (Text("Be brief."),)),
        Message("user", (image, Text("What is it?"))),
        Message("assistant", (ToolCall("c1", "look", '{"at": "é"}'),)),
        Message("tool", (ToolResult("c1", "look", ""),)),
        Message("user", (image, Text("And?"))),
    )
    assert (asked.request.tool_choice, asked.request.stop, asked.request.effort) == ("required", ("END",), "low")
    assert asked.request.needs.capabilities == {Capability.TOOLS, Capability.VISION}
    assert asked.ignored == ("top_k",)


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [USE]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"tools": [{"name": "bash", "type": "bash_20250124"}]}, "tools[0]"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "see"}}, "tool_choice"),
        ({"tool_choice": {"type": "some"}}, "tool_choice"),
        ({"system": [{"type": "image", "source": PNG}]}, "system[0]"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(said: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayFailure) as caught:
        read(**said)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert messages_error(caught.value)["error"]["type"] == "invalid_request_error"


def test_events_come_in_their_order() -> None:
    reply = MessagesReply("msg_1", "tier/boss", 7)
    deltas = [
        ReasoningDelta("Hm."),
        TextDelta("Hi "),
        TextDelta("there"),
        ToolCallDelta(0, "c1", "look", '{"a'),
        ToolCallDelta(1, "c2", "look"),
        ToolCallDelta(0, arguments='":1}'),
    ]
    ended = Response(Message("assistant", ()), FinishReason.TOOL_CALLS)
    told = [*reply.opening(), *(event for delta in deltas for event in reply.piece(delta)), *reply.closing(ended)]
    short = [(name.removeprefix("content_block_"), said.get("index")) for name, said in told if name]
    assert short == [
        ("message_start", None),
        ("ping", None),
        ("start", 0),
        ("delta", 0),
        ("stop", 0),
        ("start", 1),
        ("delta", 1),
        ("delta", 1),
        ("stop", 1),
        ("start", 2),
        ("delta", 2),
        ("start", 3),
        ("delta", 2),
        ("stop", 2),
        ("stop", 3),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert told[-2][1]["delta"]["stop_reason"] == "tool_use"
