"""What Google's own client sends for a conversation is what we send, up to what stands here."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from providers.adapters.gemini.encode import Gemini
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.messages import Request, ToolCall, ToolResult, assistant, tool, user
from tests.components import imported
from tests.providers.oracles.ear import ADD, PARAMETERS, PIXEL, SUM, WHOLE, Ear, Sent

genai = imported("google.genai", "oracles")
pytestmark = pytest.mark.long

GEMINI = Gemini()
CATALOG = load_catalog()
MODEL = "gemini-3.8-flash"
# The client writes these two as its own attributes are named; JSON for Protocol Buffers takes both spellings.
SPELT = {"mime_type": "mimeType", "parameters_json_schema": "parametersJsonSchema"}


def candidate(ear: Ear, **quirks: Any) -> Candidate:
    """Return the row as it would be if the vendor refused nothing together: all wishes go out as they are."""
    row = CATALOG.providers["gemini"]
    row = replace(row, base_url=f"{ear.url}/v1beta", quirks=replace(row.quirks, gives_way={}, **quirks))
    return Candidate(row, row.models[MODEL], "AIza-oracle")


@pytest.fixture
def client(ear: Ear) -> Iterator[Any]:
    options = genai.types.HttpOptions(base_url=ear.url, api_version="v1beta")
    client = genai.Client(api_key="AIza-oracle", http_options=options)
    yield client
    client.close()


def spelt(value: Any) -> Any:
    if isinstance(value, dict):
        return {SPELT.get(key, key): spelt(item) for key, item in value.items()}
    return [spelt(item) for item in value] if isinstance(value, list) else value


def part(**fields: Any) -> Any:
    return genai.types.Part(**fields)


def test_a_whole_conversation(ear: Ear, client: Any):
    types = genai.types
    contents = [
        types.Content(
            role="user",
            parts=[part(text="What is on it?"), part(inline_data=types.Blob(data=PIXEL, mime_type="image/png"))],
        ),
        types.Content(
            role="model",
            parts=[
                part(text="Two numbers."),
                part(function_call=types.FunctionCall(name="add", args={"a": 1, "b": 2})),
                part(function_call=types.FunctionCall(name="add", args={"a": 3, "b": 4})),
            ],
        ),
        types.Content(
            role="user",
            parts=[part(function_response=types.FunctionResponse(name="add", response={"output": n})) for n in "37"],
        ),
        types.Content(role="model", parts=[part(text="3 and 7.")]),
        types.Content(role="user", parts=[part(text="Grüße: sum of all?")]),
    ]
    config = types.GenerateContentConfig(
        system_instruction="Be brief. 🛒",
        tools=[types.Tool(function_declarations=[declared()])],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")),
        response_mime_type="application/json",
        response_json_schema=SUM,
        max_output_tokens=100,
        temperature=0.5,
        stop_sequences=["END", "STOP"],
        seed=7,
    )
    with pytest.raises(genai.errors.ClientError):
        client.models.generate_content(model=MODEL, contents=contents, config=config)
    # A client has no stand-in for signatures that it never had.
    ours = Sent.ours(GEMINI.encode(WHOLE, candidate(ear, stand_in_signature=None, sampling=True), stream=False))
    theirs = ear.heard[-1]
    body = spelt(theirs.body)
    assert body["systemInstruction"].pop("role") == "user"  # said to be ignored
    assert ours.body == body
    assert ours.path == theirs.path
    assert ours.headers["x-goog-api-key"] == theirs.headers["x-goog-api-key"]
    assert ours.headers["content-type"] == theirs.headers["content-type"]


def test_a_stream_a_named_tool_and_a_signature(ear: Ear, client: Any):
    types = genai.types
    call = types.FunctionCall(name="add", args={}, id="1")
    contents = [
        types.Content(role="user", parts=[part(text="go")]),
        types.Content(role="model", parts=[part(function_call=call, thought_signature=b"signed")]),
        types.Content(
            role="user",
            parts=[part(function_response=types.FunctionResponse(name="add", id="1", response={"error": "no"}))],
        ),
    ]
    chosen = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["add"])
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared()])],
        tool_config=types.ToolConfig(function_calling_config=chosen),
    )
    with pytest.raises(genai.errors.ClientError):
        next(iter(client.models.generate_content_stream(model=MODEL, contents=contents, config=config)))
    signature = base64.b64encode(b"signed").decode()
    request = Request(
        (
            user("go"),
            assistant(ToolCall("1", "add", "{}", signature, f"gemini/{MODEL}")),
            tool(ToolResult("1", "add", "no", is_error=True)),
        ),
        tools=(ADD,),
        tool_choice="add",
    )
    theirs, ours = ear.heard[-1], Sent.ours(GEMINI.encode(request, candidate(ear), stream=True))
    assert {**ours.body, "generationConfig": {}} == spelt(theirs.body)  # an empty one says nothing
    assert ours.path == theirs.path


def declared() -> Any:
    return genai.types.FunctionDeclaration(
        name="add", description="Adds two numbers.", parameters_json_schema=PARAMETERS
    )
