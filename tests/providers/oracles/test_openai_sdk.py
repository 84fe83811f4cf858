"""What OpenAI's own client sends for a conversation is what we send; and its types know all that we send."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.messages import Reasoning, Request, ToolCall, assistant
from tests.components import imported
from tests.providers.oracles.ear import ADD, PARAMETERS, PIXEL, SUM, TALK, WHOLE, Ear, Sent

openai = imported("openai", "oracles")
pytestmark = pytest.mark.long

CHAT = OpenAIChat()
CATALOG = load_catalog()
IMAGE = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
CALLS = [("call_0000a", '{"a":1,"b":2}'), ("call_0000b", '{"a":3,"b":4}')]
MESSAGES: list[Any] = [
    {"role": "system", "content": "Be brief. 🛒"},
    {
        "role": "user",
        "content": [{"type": "text", "text": "What is on it?"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
    },
    {
        "role": "assistant",
        "content": "Two numbers.",
        "tool_calls": [
            {"id": call, "type": "function", "function": {"name": "add", "arguments": arguments}}
            for call, arguments in CALLS
        ],
    },
    {"role": "tool", "tool_call_id": "call_0000a", "content": "3"},
    {"role": "tool", "tool_call_id": "call_0000b", "content": "7"},
    {"role": "assistant", "content": "3 and 7."},
    {"role": "user", "content": "Grüße: sum of all?"},
]
TOOL: Any = {
    "type": "function",
    "function": {"name": "add", "description": "Adds two numbers.", "parameters": PARAMETERS},
}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "total", "schema": SUM, "strict": True}}


def candidate(ear: Ear, **quirks: Any) -> Candidate:
    """Return the row as it would be if the vendor refused nothing together: all wishes go out as they are."""
    row = CATALOG.providers["openai"]
    row = replace(row, base_url=f"{ear.url}/v1", quirks=replace(row.quirks, gives_way={}, **quirks))
    return Candidate(row, row.models["gpt-6-luna"], "sk-oracle")


@pytest.fixture
def client(ear: Ear) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{ear.url}/v1", api_key="sk-oracle", max_retries=0) as client:
        yield client


def told(value: Any) -> Any:
    """Return what was validated, its lazy arrays read."""
    if isinstance(value, dict):
        return {key: told(item) for key, item in value.items()}
    return value if value is None or isinstance(value, str | int | float) else [told(item) for item in value]


def test_a_whole_conversation(ear: Ear, client: Any):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="gpt-6-luna",
            messages=MESSAGES,
            tools=[TOOL],
            tool_choice="required",
            response_format=FORMAT,
            max_completion_tokens=100,
            temperature=0.5,
            stop=["END", "STOP"],
            seed=7,
        )
    theirs, ours = ear.heard[-1], Sent.ours(CHAT.encode(WHOLE, candidate(ear, sampling=True), stream=False))
    assert ours.body == theirs.body | {"stream": False}  # some servers stream where it is not said
    assert ours.path == theirs.path
    assert {k: theirs.headers[k] for k in ours.headers} == ours.headers


def test_a_stream_and_a_named_tool(ear: Ear, client: Any):
    choice = {"type": "function", "function": {"name": "add"}}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="gpt-6-luna",
            messages=MESSAGES,
            tools=[TOOL],
            tool_choice=choice,
            stream=True,
            stream_options={"include_usage": True},
        )
    request = Request(TALK, tools=(ADD,), tool_choice="add")
    theirs, ours = ear.heard[-1], Sent.ours(CHAT.encode(request, candidate(ear), stream=True))
    assert ours.body == theirs.body
    # The client asks for JSON even where it wants events; servers look at the body.
    assert (ours.headers["accept"], theirs.headers["accept"]) == ("text/event-stream", "application/json")


def test_the_types_know_all_that_is_sent_to_openai(ear: Ear):
    from openai.types.chat.completion_create_params import (
        CompletionCreateParamsNonStreaming,
        CompletionCreateParamsStreaming,
    )

    thought = assistant(Reasoning("hm", None, "openai"), ToolCall("", "a.b", ""))
    whole = replace(WHOLE, messages=(*TALK, thought))
    for stream, kind in ((False, CompletionCreateParamsNonStreaming), (True, CompletionCreateParamsStreaming)):
        adapter = TypeAdapter[Any](kind)
        body = json.loads(CHAT.encode(whole, candidate(ear, sampling=True), stream=stream).body)
        assert told(adapter.validate_python(body)) == body  # what the types do not know they drop
