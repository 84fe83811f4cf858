"""Chat completions are read as clients write them, and answered as clients read them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from orchestrator.server.gateway.asked import CompletionAsked
from orchestrator.server.gateway.failures import GatewayFailure
from orchestrator.server.gateway.openai_chat import ChatReply, read_chat
from providers.messages import (
    Capability,
    FinishReason,
    Image,
    Message,
    Reasoning,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)

PNG = base64.b64encode(b"\x89PNG").decode()
HELLO = {"role": "user", "content": "Hello 👋"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "é"}'}}


def read(**said: Any) -> CompletionAsked:
    return read_chat(json.dumps({"model": "tier/boss", "messages": [HELLO], **said}).encode())


def refused(**said: Any) -> GatewayFailure:
    with pytest.raises(GatewayFailure) as caught:
        read(**said)
    return caught.value


def test_all_that_clients_send_is_read() -> None:
    asked = read(
        messages=[
            {"role": "developer", "content": "Be brief.", "name": None},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}], "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "audio": None},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a cat"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]},
        ],
        tools=[{"type": "function", "function": {"name": "look", "strict": True, "parameters": None}}],
        tool_choice={"type": "function", "function": {"name": "look"}},
        response_format={"type": "json_schema", "json_schema": {"name": "pet", "schema": {"type": "object"}}},
        max_tokens=None,
        max_completion_tokens=90,
        temperature=0,
        stop=["END", ""],
        seed=7,
        stream=True,
        stream_options={"include_usage": True},
        reasoning_effort="minimal",
        top_p=0.5,
        frequency_penalty=0,
        presence_penalty=None,
        user="someone",
        parallel_tool_calls=True,
        store=False,
        metadata={},
    )
    made = asked.request
    assert made.messages == (
        Message("system", (Text("Be brief."),)),
        Message("user", (Text("What is it?"),), "ann"),
        Message("assistant", (ToolCall("c1", "look", '{"at": "é"}'),)),
        Message("tool", (ToolResult("c1", "look", "a cat"),)),
        Message("user", (Image("image/png", b"\x89PNG"),)),
    )
    assert (made.tool_choice, made.max_output_tokens, made.temperature, made.stop) == ("look", 90, 0, ("END",))
    assert (made.seed, made.effort, made.tools[0].parameters) == (7, "low", {"type": "object", "properties": {}})
    assert made.output_schema is not None
    assert made.output_schema.name == "pet"
    assert made.needs.capabilities == {Capability.TOOLS, Capability.VISION}
    assert (asked.stream, asked.include_usage, asked.ignored) == (True, True, ("top_p",))


def test_fields_that_are_null_are_as_if_they_were_not_there() -> None:
    names = ["tools", "tool_choice", "response_format", "stop", "seed", "stream", "stream_options", "n", "temperature"]
    assert read(**dict.fromkeys([*names, "max_tokens", "logprobs", "functions", "logit_bias"])) == read()


def test_functions_of_old_clients_are_tools() -> None:
    asked = read(
        functions=[{"name": "look", "parameters": {"type": "object"}}],
        function_call={"name": "look"},
        messages=[
            HELLO,
            {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
            {"role": "function", "name": "look", "content": "a cat"},
        ],
    )
    assert (asked.request.tools[0].name, asked.request.tool_choice) == ("look", "look")
    assert asked.request.messages[2].parts == (ToolResult("look", "look", "a cat"),)


@pytest.mark.parametrize(
    ("said", "param", "words"),
    [
        ({"model": None}, "model", "string"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": "hi"}, "messages", "array"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing required parameter"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages[0].role", "narrator"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing"),
        ({"messages": [{"role": "tool", "tool_call_id": "c9", "content": "x"}]}, "messages[0].tool_call_id", "c9"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]", "audio"),
        ({"n": 2}, "n", "n must be 1"),
        ({"logprobs": True}, "logprobs", "not passed on"),
        ({"max_tokens": 0}, "max_tokens", "greater"),
        ({"temperature": 3}, "temperature", "less"),
        ({"tool_choice": "maybe"}, "tool_choice", "auto"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]", "not a function"),
        ({"response_format": {"type": "yaml"}}, "response_format", "json_object"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(said: dict[str, Any], param: str, words: str) -> None:
    failure = refused(**said)
    assert (failure.status, failure.kind, failure.param, failure.may_retry) == (400, "invalid_request", param, False)
    assert words in failure.message


@pytest.mark.parametrize(
    "url",
    ["https://example.com/x.png", "http://169.254.169.254/", "data:text/html;base64,eA==", "data:image/png;base64,é"],
)
def test_images_come_with_the_request_or_not_at_all(url: str) -> None:
    failure = refused(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert failure.param == "messages[0].content[0]"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"model": "\xed\xa0\x80"}', b"[" * 100_000])
def test_what_is_no_request_is_told(body: bytes) -> None:
    with pytest.raises(GatewayFailure) as caught:
        read_chat(body)
    assert caught.value.status == 400
    assert len(caught.value.message) < 300


def test_a_whole_answer_has_all_that_clients_read() -> None:
    parts = (Reasoning("Hm."), Text("A cat 🐈"), ToolCall("c1", "look", "{}"))
    usage = Usage(input=5, cache_read=3, output=7, reasoning=2)
    body = ChatReply("chatcmpl-1", "tier/boss", 12).whole(
        Response(Message("assistant", parts), FinishReason.TOOL_CALLS, usage)
    )
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "A cat 🐈",
        "refusal": None,
        "reasoning_content": "Hm.",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    }
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (8, 9)
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_pieces_say_once_which_call_they_are_of() -> None:
    reply = ChatReply("chatcmpl-1", "tier/boss", 12)
    told = [TextDelta("Hi"), ToolCallDelta(0, "c1", "look", '{"a'), ToolCallDelta(0, arguments='":1}')]
    deltas = [chunk["choices"][0]["delta"] for delta in told for _, chunk in reply.piece(delta)]
    assert deltas[0] == {"content": "Hi"}
    first, second = (delta["tool_calls"][0] for delta in deltas[1:])
    assert first == {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a'}}
    assert second == {"index": 0, "function": {"arguments": '":1}'}}
