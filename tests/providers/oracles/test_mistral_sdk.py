"""What Mistral's own client sends for a conversation is what we send with that row's quirks, up to what stands here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.messages import (
    Image,
    Message,
    Request,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    system,
    tool,
    user,
)
from tests.components import imported
from tests.providers.oracles.ear import ADD, PARAMETERS, PIXEL, SUM, WHOLE, Ear, Sent

mistral = imported("mistralai.client", "oracles")
pytestmark = pytest.mark.long

CHAT = OpenAIChat()
ROW = load_catalog().providers["mistral"]
MODEL = "mistral-small-latest"
TALK = (
    system("Be brief. 🛒"),
    Message("user", (Text("What is on it?"), Image("image/png", PIXEL))),
    assistant(ToolCall("aB3dE6gH9", "add", '{"a":1,"b":2}')),
    tool(ToolResult("aB3dE6gH9", "add", "3")),
    assistant("3."),
    user("Grüße: again?"),
)


def candidate(ear: Ear) -> Candidate:
    """Return the row as it would be if the vendor refused nothing together: all wishes go out as they are."""
    row = replace(ROW, base_url=f"{ear.url}/v1", quirks=replace(ROW.quirks, gives_way={}))
    return Candidate(row, row.models[MODEL], "oracle")


@pytest.fixture
def client(ear: Ear) -> Iterator[Any]:
    with mistral.Mistral(api_key="oracle", server_url=ear.url) as client:
        yield client


def without_defaults(body: dict[str, Any]) -> dict[str, Any]:
    """Return their body without what the client says though it goes without saying."""
    for message in body["messages"]:
        if message["role"] == "assistant":
            assert message.pop("prefix") is False
            for call in message.get("tool_calls", ()):
                assert call.pop("index") == 0
    return body


def test_a_whole_conversation(ear: Ear, client: Any):
    said = Sent.ours(CHAT.encode(Request(TALK), candidate(ear), stream=False)).body["messages"]
    assert [message["role"] for message in said] == ["system", "user", "assistant", "tool", "assistant", "user"]
    function = {"name": "add", "description": "Adds two numbers.", "parameters": PARAMETERS}
    with pytest.raises(mistral.errors.SDKError):
        client.chat.complete(
            model=MODEL,
            messages=said,  # read into the client's own types, which refuse what they do not know
            tools=[{"type": "function", "function": function}],
            tool_choice="required",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "total", "schema_definition": SUM, "strict": True},
            },
            max_tokens=100,
            temperature=0.5,
            stop=["END", "STOP"],
            random_seed=7,
        )
    theirs, ours = ear.heard[-1], Sent.ours(CHAT.encode(replace(WHOLE, messages=TALK), candidate(ear), stream=False))
    assert ours.body == without_defaults(theirs.body)
    assert (ours.path, ours.headers["authorization"]) == (theirs.path, theirs.headers["authorization"])


def test_a_stream_asks_for_no_usage_it_comes_anyway(ear: Ear, client: Any):
    with pytest.raises(mistral.errors.SDKError):
        client.chat.stream(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    ours = Sent.ours(CHAT.encode(Request((user("hi"),)), candidate(ear), stream=True))
    assert ours.body == ear.heard[-1].body


def test_a_tool_of_ours_is_a_tool_of_theirs():
    body = CHAT.encode(Request(TALK, tools=(ADD,)), Candidate(ROW, ROW.models[MODEL], "k"), stream=False).body
    assert mistral.models.ChatCompletionRequest.model_validate_json(body).tools[0].function.name == "add"
