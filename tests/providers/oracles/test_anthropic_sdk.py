"""What Anthropic's own client sends for a conversation is what we send, up to what stands here."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from providers.adapters.anthropic.encode import AnthropicMessages
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.messages import Reasoning, Request, ToolCall, ToolResult, assistant, tool, user
from tests.components import imported
from tests.providers.oracles.ear import ADD, PARAMETERS, PIXEL, SUM, TALK, WHOLE, Ear, Sent

anthropic = imported("anthropic", "oracles")
pytestmark = pytest.mark.long

MESSAGES_API = AnthropicMessages()
CATALOG = load_catalog()
MESSAGES: list[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is on it?"},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PIXEL).decode()},
            },
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Two numbers."},
            {"type": "tool_use", "id": "call_0000a", "name": "add", "input": {"a": 1, "b": 2}},
            {"type": "tool_use", "id": "call_0000b", "name": "add", "input": {"a": 3, "b": 4}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_0000a", "content": "3"},
            {"type": "tool_result", "tool_use_id": "call_0000b", "content": "7"},
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "3 and 7."}]},
    {"role": "user", "content": [{"type": "text", "text": "Grüße: sum of all?"}]},
]
TOOL: Any = {"name": "add", "description": "Adds two numbers.", "input_schema": PARAMETERS}


def candidate(ear: Ear) -> Candidate:
    """Return the row as it would be if the vendor refused nothing together: all wishes go out as they are."""
    row = CATALOG.providers["anthropic"]
    row = replace(row, base_url=f"{ear.url}/v1", quirks=replace(row.quirks, gives_way={}))
    return Candidate(row, row.models["claude-haiku-5-5"], "sk-oracle")


@pytest.fixture
def client(ear: Ear) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=ear.url, api_key="sk-oracle", max_retries=0) as client:
        yield client


def test_a_whole_conversation(ear: Ear, client: Any):
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(
            model="claude-haiku-5-5",
            system=[{"type": "text", "text": "Be brief. 🛒"}],
            messages=MESSAGES,
            tools=[TOOL],
            tool_choice={"type": "any"},
            output_config={"format": {"type": "json_schema", "schema": SUM}},
            max_tokens=100,
            stop_sequences=["END", "STOP"],
        )
    # The row sends no temperature, the dialect knows no seed.
    theirs, ours = ear.heard[-1], Sent.ours(MESSAGES_API.encode(WHOLE, candidate(ear), stream=False))
    assert ours.body == theirs.body
    assert ours.path == theirs.path
    # Version 2 of the client sends the key as a bearer token and dates itself 2026-10-21; we say what the documented
    # 2023-06-01 wants, which is what every recording and every server that speaks this dialect took.
    own = {"x-api-key": "sk-oracle", "anthropic-version": "2023-06-01"}
    assert ours.headers == own | {name: theirs.headers[name] for name in ours.headers.keys() - own.keys()}
    assert theirs.headers["authorization"] == "Bearer sk-oracle"
    assert theirs.headers["anthropic-version"] == "2026-10-21"


def test_a_stream_a_named_tool_a_failed_result_and_a_signed_thought(ear: Ear, client: Any):
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}
    failed = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True}
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(
            model="claude-haiku-5-5",
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "go"}]},
                {"role": "assistant", "content": [thought, call]},
                {"role": "user", "content": [failed]},
            ],
            tools=[TOOL],
            tool_choice={"type": "tool", "name": "add"},
            max_tokens=8192,
            stream=True,
        )
    request = Request(
        (
            user("go"),
            assistant(Reasoning("hm", "sig", "anthropic/claude-haiku-5-5"), ToolCall("toolu_1", "add", "")),
            tool(ToolResult("toolu_1", "add", "no", is_error=True)),
        ),
        tools=(ADD,),
        tool_choice="add",
    )
    ours = Sent.ours(MESSAGES_API.encode(request, candidate(ear), stream=True))
    assert ours.body == ear.heard[-1].body


def test_the_types_know_all_that_is_sent(ear: Ear):
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from pydantic import TypeAdapter

    body = json.loads(MESSAGES_API.encode(replace(WHOLE, messages=TALK), candidate(ear), stream=False).body)
    top = TypeAdapter[Any](MessageCreateParamsNonStreaming).validate_python(body)
    assert top.keys() == body.keys()
