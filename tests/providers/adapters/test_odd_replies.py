"""Odd replies, each as a vendor, a proxy or an engine was seen or is said to send it: all dialects, whole and streamed.

What only describes an answer never spoils it; what may be a part is never taken for the whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from providers.adapters import Adapter, HttpReply
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.errors import (
    BadReply,
    Declined,
    Overloaded,
    ProviderError,
    RateLimited,
    ServerFault,
    StreamBroken,
    Unsupported,
)
from providers.messages import FinishReason, Reasoning, Request, Response, ToolCallDelta, Usage, user
from tests.providers.recordings import ABSENT, FOLDER, Recording, recordings
from tests.told import assert_told

NOW = 1_800_000_000.0
ASK = Request((user("hi"),))
CHAT, MESSAGES, GEMINI = "openai-chat", "anthropic-messages", "gemini"
ADAPTERS: dict[str, Adapter] = {CHAT: OpenAIChat(), MESSAGES: AnthropicMessages(), GEMINI: Gemini()}
DIALECTS = list(ADAPTERS)


PRICE = Price(1.0, 2.0)


def candidate(dialect: str, price: Price | None = PRICE) -> Candidate:
    model = Model("m", context=8000, max_output=1000, price=price)
    return Candidate(Provider("vendor", dialect, "https://api.test/v1", "KEY", {"m": model}), model, "key")


def read(dialect: str, body: bytes, streamed: bool, price: Price | None = PRICE) -> Response:
    """Return the answer; a streamed one comes in pieces, and its deltas tell all of it."""
    adapter, who = ADAPTERS[dialect], candidate(dialect, price)
    if not streamed:
        return adapter.decode(HttpReply(200, {}, body), ASK, who, NOW)
    decoder, deltas = adapter.stream_decoder(ASK, who, NOW), []
    for start in range(0, len(body), 7):
        deltas += decoder.feed(body[start : start + 7])
    answer = decoder.finish()
    if body.endswith((b"\n\n", b"\r\r", b"\r\n\r\n")):  # else the last event is in no delta
        assert_told(deltas, answer)
    return answer


def sse(*events: Any, done: bool = True) -> bytes:
    """Return events; texts and bytes stand as they are."""
    said = [each if isinstance(each, bytes) else f"data: {json.dumps(each)}\n\n".encode() for each in events]
    return b"".join(said) + (b"data: [DONE]\n\n" if done else b"")


# ---- Chat Completions, whole


def whole(message: Any = None, finish: Any = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish, **({} if message is None else {"message": message})}
    return json.dumps({"choices": [choice], **more}).encode()


def function(name: Any = "f", arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def calls(*found: Any) -> bytes:
    return whole({"content": "4", "tool_calls": list(found)})


@dataclass(frozen=True)
class Said:
    """What is to come out: the text, the calls as (name, arguments), the finish, the thought."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = "stop"
    thought: str = ""


F = (("f", "{}"),)
WHOLE: dict[str, tuple[bytes, Said | type[ProviderError]]] = {
    "object as content": (whole({"content": {"a": "é"}}), Said('{"a":"é"}')),
    "array of objects as content": (whole({"content": [{"a": 1}, {"a": 2}]}), Said('[{"a":1},{"a":2}]')),
    "one part as content": (whole({"content": {"type": "text", "text": "x"}}), Said("x")),
    "parts, some null or unknown": (
        whole({"content": [None, {"type": "text", "text": "x"}, {"type": "new", "text": 7}, {"type": "text"}]}),
        Said("x"),
    ),
    "texts as parts": (whole({"content": ["x", "y"]}), Said("xy")),
    "output_text": (whole({"content": [{"type": "output_text", "text": "x"}]}), Said("x")),
    "a number as content": (whole({"content": 42}), Said("42")),
    "zero as content": (whole({"content": 0}), Said("0")),
    "an empty array as arguments": (calls(function("f", [])), Said("4", F, "tool_calls")),
    "an array as arguments": (calls(function("f", [1])), Said("4", (("f", "[1]"),), "tool_calls")),
    "call of empty texts and an empty array": (calls(function("", [])), Said("4")),
    "an error of nothing": (
        whole({"content": "x"}, error={"message": "", "type": "", "param": "", "code": None}), Said("x")
    ),
    "an error of nothing but a type": (whole({"content": "x"}, error={"message": "", "type": "boom"}), ServerFault),
    "content is NaN": (b'{"choices":[{"message":{"content":{"a":NaN}}}]}', BadReply),
    "azure: filtered, no message": (whole(None, "content_filter"), Declined),
    "filtered, message null": (b'{"choices":[{"message":null,"finish_reason":"content_filter"}]}', Declined),
    "filtered, content null": (whole({"content": None}, "content_filter"), Declined),
    "stopped, no message": (whole(None), BadReply),
    "message as text": (whole("x"), Said("x")),
    "delta in place of the message": (b'{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}', Said("x")),
    "old completion": (b'{"choices":[{"text":"x","finish_reason":"stop"}]}', Said("x")),
    "empty legacy call": (
        whole({"content": "4", "function_call": {"name": "", "arguments": ""}, "tool_calls": None}, ""),
        Said("4"),
    ),
    "legacy call": (
        whole({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        Said("", F, "tool_calls"),
    ),
    "empty call": (calls({}), Said("4")),
    "null call": (calls(None), Said("4")),
    "call of empty texts": (calls(function("", "")), Said("4")),
    "call of empty texts and an empty object": (calls(function("", {})), Said("4")),
    "call with empty function": (calls({"id": "a", "function": {}}), Said("4")),
    "call with null function": (calls({"id": "a", "function": None}), Said("4")),
    "empty call beside a sound one": (calls(function("", ""), function()), Said("4", F, "tool_calls")),
    "calls are an empty text": (whole({"content": "4", "tool_calls": ""}), Said("4")),
    "calls are an empty object": (whole({"content": "4", "tool_calls": {}}), Said("4")),
    "a call not in an array": (whole({"content": "4", "tool_calls": function()}), Said("4", F, "tool_calls")),
    "arguments without a name": (calls(function("", '{"a":1}')), BadReply),
    "flat call": (calls({"id": "a", "name": "f", "arguments": "{}"}), Said("4", F, "tool_calls")),
    "arguments as an object": (calls(function("f", {"a": [1]})), Said("4", (("f", '{"a":[1]}'),), "tool_calls")),
    "arguments null": (calls(function("f", None)), Said("4", (("f", ""),), "tool_calls")),
    "id is a number": (calls(function(id=7)), Said("4", F, "tool_calls")),
    "id is null": (calls(function(id=None)), Said("4", F, "tool_calls")),
    "two choices": (
        json.dumps({"choices": [{"index": i, "message": {"content": t}} for i, t in ((1, "b"), (0, "a"))]}).encode(),
        Said("a"),
    ),
    "a null choice first": (b'{"choices":[null,{"message":{"content":"x"}}]}', Said("x")),
    "only a null choice": (b'{"choices":[null]}', BadReply),
    "reasoning": (whole({"content": "x", "reasoning": "hm"}), Said("x", thought="hm")),
    "reasoning_content": (whole({"content": "x", "reasoning_content": "hm"}), Said("x", thought="hm")),
    "thinking": (whole({"content": "x", "thinking": "hm"}), Said("x", thought="hm")),
    "the same thought thrice": (
        whole({"content": "x", "thinking": "hm", "reasoning": "hm", "reasoning_content": "hm"}),
        Said("x", thought="hm"),
    ),
    "reasoning is an object": (whole({"content": "x", "reasoning": {"effort": "low"}}), Said("x")),
    "refusal false": (whole({"content": "x", "refusal": False}), Said("x")),
    "finish null": (whole({"content": "x"}, None), Said("x")),
    "finish empty": (whole({"content": "x"}, ""), Said("x")),
    "finish an object": (whole({"content": "x"}, {"type": "stop"}), Said("x")),
    "finish a number": (whole({"content": "x"}, 3), Said("x", finish="length")),
    "finish beside the content": (whole({"content": "x", "finish_reason": "length"}, None), Said("x", finish="length")),
    "finish unknown": (whole({"content": "x"}, "next_months_word"), Said("x", finish="length")),
    "finish unknown, empty": (whole({"content": ""}, "next_months_word"), BadReply),
    "aborted": (whole({"content": "half"}, "abort"), ServerFault),
    "engine error": (whole({"content": "half"}, "engine_error"), ServerFault),
    "no resources": (whole({"content": "half"}, "insufficient_system_resource"), ServerFault),
    "cancelled call": (whole({"tool_calls": [function()]}, "cancelled"), ServerFault),
    "refusal in part": (whole({"content": "half"}, "refusal"), Said("half", finish="content_filter")),
    "safety": (whole({"content": ""}, "SAFETY"), Declined),
    "under result": (b'{"result":{"choices":[{"message":{"content":"x"}}]},"success":true}', Said("x")),
    "in an array": (b'[{"choices":[{"message":{"content":"x"}}]}]', Said("x")),
    "byte order mark": (b"\xef\xbb\xbf" + whole({"content": "x"}), Said("x")),
    "error in an array": (b'[{"error":{"code":429,"message":"slow down"}}]', RateLimited),
    "error as words": (b'{"detail":"Internal failure"}', ServerFault),
    "error as message": (b'{"message":"something went wrong","code":"500"}', ServerFault),
    "error with empty choices": (b'{"choices":[],"error":{"message":"overloaded","code":503}}', Overloaded),
    "error as errors": (b'{"errors":[{"message":"boom"}]}', ServerFault),
    "error of another dialect": (b'{"type":"error","error":{"type":"api_error","message":"Internal"}}', ServerFault),
    "error in the choice": (
        whole({"content": "x"}, None).replace(b'"index": 0', b'"error": {"message": "m"}'), ServerFault
    ),
}  # fmt: skip


def assert_said(answer: Response, said: Said) -> None:
    assert answer.text == said.text
    assert tuple((call.name, call.arguments) for call in answer.tool_calls) == said.calls
    assert all(call.id for call in answer.tool_calls)
    assert answer.finish == said.finish
    assert "".join(part.text for part in answer.message.parts if isinstance(part, Reasoning)) == said.thought


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "where a stream was asked for"])
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_reply(name, streamed):
    body, expected = WHOLE[name]
    if isinstance(expected, Said):
        assert_said(read(CHAT, body, streamed), expected)
        return
    # Half a reading of a stream is a broken one.
    with pytest.raises((expected, StreamBroken) if streamed else expected):
        read(CHAT, body, streamed)


# ---- Chat Completions, streamed


def chunk(delta: Any = None, finish: Any = None, index: Any = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more}


def say(text: str, **more: Any) -> dict[str, Any]:
    return chunk({"content": text}, **more)


def call(name: Any = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    given = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return chunk({"tool_calls": [{**more, "function": given}]})


STOP = chunk({}, "stop")
CALLED = chunk({}, "tool_calls")
XY = Said("xy")
TWO = (("f", '{"a":1}'), ("g", '{"b":2}'))
STREAMED: dict[str, tuple[bytes, Said | type[ProviderError]]] = {
    # -- the framing
    "terminator with blanks": (sse(say("xy"), STOP, b"data: [DONE] \n\n", done=False), XY),
    "terminator with tabs": (sse(say("xy"), STOP, b"data:\t[DONE]\t\n\n", done=False), XY),
    "terminator without a blank": (sse(say("xy"), STOP, b"data:[DONE]\n\n", done=False), XY),
    "terminator without its blank line": (sse(say("xy"), STOP, b"data: [DONE]", done=False), XY),
    "terminator alone ends a text": (sse(say("xy")), XY),
    "terminator in other letters": (sse(say("xy"), STOP, b"data: [done]\n\n", done=False), XY),
    "terminator in quotes": (sse(say("xy"), STOP, b'data: "[DONE]"\n\n', done=False), XY),
    "empty data": (sse(b"data:\n\n", say("x"), b"data: \n\ndata\n\n", say("y"), STOP), XY),
    "signs of life as data": (
        sse(
            b"data: : keepalive\n\n", say("x"), b'data: ""\n\n', b"data: ping\n\ndata: keep-alive\n\n",
            b"event: ping\ndata: [HEARTBEAT]\n\n", say("y"), STOP,
        ),
        XY,
    ),
    "signs of life between events without blank lines": (
        sse(b"data: : keepalive\n", say("x"), b"data: : keepalive\n", say("y"), STOP).replace(b"\n\n", b"\n"), XY
    ),
    "the end of a thought first": (sse(say("</think>"), say("\n\nx"), say("y"), STOP), XY),
    "digits as numbers": (sse(say("[^"), say(1), say(0), say(2.5), say("]"), STOP), Said("[^102.5]")),
    "digits as numbers in arguments": (
        sse(call("f", '{"a":', index=0), call(None, 1, index=0), call(None, "}", index=0), CALLED),
        Said("", (("f", '{"a":1}'),), "tool_calls"),
    ),
    "an empty array as arguments": (sse(call("f", [], index=0), CALLED), Said("", F, "tool_calls")),
    "an empty object as text before the arguments": (
        sse(call("f", "{}", index=0, id="a"), call(None, '{"a":1}', index=0), CALLED), Said("", TWO[:1], "tool_calls")
    ),
    "an empty object as text within the arguments": (
        sse(call("f", '{"a":', index=0), call(None, "{}", index=0), call(None, "}", index=0), CALLED),
        Said("", (("f", '{"a":{}}'),), "tool_calls"),
    ),
    "an empty object behind the arguments": (
        sse(call("f", '{"a":1}', index=0), call(None, {}, index=0), CALLED), Said("", TWO[:1], "tool_calls")
    ),
    "calls without arguments, of one index and no id": (
        sse(call("f", "{}", index=0), call("g", "{}", index=0), CALLED),
        Said("", (("f", "{}"), ("g", "{}")), "tool_calls"),
    ),
    "a name with every piece, also behind the last": (
        sse(*[call("f", each, index=0) for each in ('{"a"', ":1", "}", "")], CALLED), Said("", TWO[:1], "tool_calls")
    ),
    "a name with every piece, an id with the first": (
        sse(
            call("f", '{"a"', index=0, id="a"), call("f", ":1}", index=0), call("f", "", index=0),
            call("g", '{"b"', index=1, id="b"), call("g", ":2}", index=1), call("g", "", index=1), CALLED,
        ),
        Said("", TWO, "tool_calls"),
    ),
    "an empty array before the arguments": (
        sse(call("f", [], index=0), call(None, '{"a":1}', index=0), CALLED), Said("", TWO[:1], "tool_calls")
    ),
    "an error of nothing": (sse(say("xy", error={"message": "", "code": None}), STOP), XY),
    "null as data": (sse(b"data: null\n\n", say("xy"), STOP), XY),
    "comments, ids, retries, names": (
        sse(b": hi\n\nretry: 3000\n\nid: 1\nevent: message\n", say("xy"), b":\n\nevent: ping\n\n", STOP),
        XY,
    ),
    "data over lines": (sse(b'data: {"choices": [{"delta":\ndata: {"content": "xy"}}]}\n\n', STOP), XY),
    "events without blank lines": (sse(say("x"), say("y"), STOP).replace(b"\n\n", b"\n"), XY),
    "carriage returns": (sse(say("x"), say("y"), STOP).replace(b"\n", b"\r"), XY),
    "both": (sse(say("x"), say("y"), STOP).replace(b"\n", b"\r\n"), XY),
    "byte order mark": (b"\xef\xbb\xbf" + sse(say("xy"), STOP), XY),
    "blank lines first": (b"\n \n\n" + sse(say("xy"), STOP), XY),
    "a last event without its blank line": (sse(say("x"), say("y", finish="stop"), done=False)[:-2], XY),
    "chunks in an array": (sse(b"data: [" + json.dumps(say("xy")).encode() + b"]\n\n", STOP), XY),
    "no events, an object a line": (
        b"\n".join(json.dumps(each).encode() for each in (say("x"), say("y"), STOP)) + b"\n", XY
    ),
    "a whole answer in an event": (sse(whole({"content": "xy"}).join((b"data: ", b"\n\n")), done=False), XY),
    "a whole answer behind its pieces": (
        sse(say("x"), say("y"), whole({"content": "xy"}).join((b"data: ", b"\n\n"))), XY
    ),
    "what comes behind the end": (sse(say("xy"), STOP) + b"data: {rubbish\n\n", XY),
    # -- choices
    "choices empty or null": (sse({"choices": []}, say("xy"), {"choices": None}, STOP, {"id": "x"}), XY),
    "delta null": (sse(chunk(None), say("xy"), chunk(None), STOP), XY),
    "no index": (sse({"choices": [{"delta": {"content": "xy"}}]}, STOP), XY),
    "an index that counts the chunks": (sse(say("x", index=0), say("y", index=1), chunk({}, "stop", 2)), XY),
    "a second choice in turns": (
        sse(
            chunk({"role": "assistant", "content": "x"}), chunk({"role": "assistant", "content": "other"}, index=1),
            say("y"), say(" words", index=1), chunk({}, "stop", 1), STOP,
        ),
        XY,
    ),
    "a second choice in each chunk": (
        sse(*({"choices": [say(t)["choices"][0], say("other", index=1)["choices"][0]]} for t in "xy"), STOP), XY
    ),
    "a second choice behind the first": (sse(say("xy"), STOP, say("other", index=1), chunk({}, "stop", 1)), XY),
    "two choices that nothing tells apart": (sse(say("x"), say("q", index=1), say("y"), STOP), BadReply),
    "only the second choice ends": (
        sse(chunk({"role": "assistant", "content": "x"}), chunk({"role": "a", "content": "q"}, "stop", 1), done=False),
        StreamBroken,
    ),
    "a text as delta": (sse(chunk("x"), chunk("y"), STOP), XY),
    "an old completion": (sse(*({"choices": [{"index": 0, "text": t}]} for t in "xy"), STOP), XY),
    "text beside the delta": (sse({"choices": [{"delta": {"content": "xy"}, "text": "xy"}]}, STOP), XY),
    "an object as content": (sse(chunk({"content": {"a": 1}}), STOP), Said('{"a":1}')),
    "parts as content": (sse(chunk({"content": [None, {"type": "text", "text": "xy"}]}), STOP), XY),
    "thinking": (sse(chunk({"thinking": "hm"}), say("xy"), STOP), Said("xy", thought="hm")),
    # -- calls
    "empty calls": (
        sse(call(), call("", "", index=0, id=""), call("", {}, index=0, id="a"), say("xy"), STOP), XY
    ),
    "an empty legacy call": (sse(chunk({"content": "xy", "function_call": {"name": "", "arguments": ""}}), STOP), XY),
    "a name in two": (
        sse(call("f", index=0, id="a"), call("oo", index=0), call(None, "{}", index=0), CALLED),
        Said("", (("foo", "{}"),), "tool_calls"),
    ),
    "a name in two, the second with its arguments": (
        sse(call("f", index=0, id="a"), call("oo", '{"a"', index=0), call(None, ":1}", index=0), CALLED),
        Said("", (("foo", '{"a":1}'),), "tool_calls"),
    ),
    "a name that grows": (
        sse(call("f", index=0, id="a"), call("foo", "", index=0, id="a"), call(None, "{}", index=0), CALLED),
        Said("", (("foo", "{}"),), "tool_calls"),
    ),
    "a name in each piece": (
        sse(call("f", '{"a"', index=0), call("f", ":1}", index=0), call("g", '{"b":2}', index=1), CALLED),
        Said("", TWO, "tool_calls"),
    ),
    "arguments as an object": (
        sse(call("f", {"a": 1}, index=0), call("g", {"b": 2}, index=1), CALLED), Said("", TWO, "tool_calls")
    ),
    "an empty object before the text": (
        sse(call("f", {}, index=0, id="a"), call(None, '{"a":1}', index=0), CALLED),
        Said("", TWO[:1], "tool_calls"),
    ),
    "nothing but an empty object": (sse(call("f", {}, index=0, id="a"), CALLED), Said("", F, "tool_calls")),
    "no index, other ids": (
        sse(call("f", '{"a":1}', id="a"), call("g", '{"b":2}', id="b"), CALLED), Said("", TWO, "tool_calls")
    ),
    "no index, in pieces": (
        sse(call("f", '{"a"', id="a"), call(None, ":1}"), call("g", '{"b"', id="b"), call(None, ":2}"), CALLED),
        Said("", TWO, "tool_calls"),
    ),
    "always 0, other ids": (
        sse(call("f", '{"a":1}', id="a", index=0), call("g", '{"b":2}', id="b", index=0), CALLED),
        Said("", TWO, "tool_calls"),
    ),
    "always 0, no ids": (
        sse(call("f", '{"a":1}', index=0), call("g", '{"b":2}', index=0), CALLED), Said("", TWO, "tool_calls")
    ),
    "an index that counts the pieces": (
        sse(call("f", '{"a"', id="a", index=0), call(None, ":1}", index=1), call("g", '{"b":2}', index=2), CALLED),
        Said("", TWO, "tool_calls"),
    ),
    "an index that counts the pieces, ids in each": (
        sse(call("f", '{"a"', id="a", index=0), call("f", ":1}", id="a", index=1), CALLED),
        Said("", TWO[:1], "tool_calls"),
    ),
    "an id before its name": (
        sse(call(None, "", id="a", index=0), call("f", "{}", index=0), CALLED), Said("", F, "tool_calls")
    ),
    "the whole call once more": (
        sse(call("f", '{"a"', id="a", index=0), call(None, ":1}"), call("f", '{"a":1}', id="a", index=0), CALLED),
        Said("", TWO[:1], "tool_calls"),
    ),
    "a flat call": (
        sse(chunk({"tool_calls": [{"index": 0, "id": "a", "name": "f", "arguments": "{}"}]}), CALLED),
        Said("", F, "tool_calls"),
    ),
    "a nameless call": (sse(call(None, '{"a":1}', index=0, id="a"), CALLED), BadReply),
    # -- the end
    "no terminator": (sse(say("xy"), STOP, done=False), XY),
    "neither": (sse(say("xy"), done=False), StreamBroken),
    "empty finish reasons": (sse(say("xy", finish=""), chunk({}, "")), XY),
    "a reason with each text, terminated": (sse(say("x", finish="stop"), say("y", finish="stop")), XY),
    "a reason with each text": (sse(say("x", finish="stop"), say("y", finish="stop"), done=False), StreamBroken),
    "a reason with a call": (
        sse(chunk(call("f", "{}", id="a", index=0)["choices"][0]["delta"], "tool_calls"), done=False), StreamBroken
    ),
    "a reason with a call, and usage": (
        sse(
            chunk(
                call("f", "{}", id="a", index=0)["choices"][0]["delta"], "tool_calls",
                usage={"prompt_tokens": 3, "completion_tokens": 2},
            ),
            done=False,
        ),
        Said("", F, "tool_calls"),
    ),
    "text behind the reason": (sse(say("x"), STOP, say("y"), done=False), StreamBroken),
    "a half event behind a reason with text": (
        sse(say("xy", finish="stop"), b'data: {"choices": [{"delta": {"cont', done=False), StreamBroken
    ),
    "half usage behind the reason": (sse(say("xy"), STOP, b'data: {"choices": [], "usa', done=False), XY),
    "half a call, terminated": (sse(call("f", '{"a":', id="a", index=0)), StreamBroken),
    "a whole call, terminated": (sse(call("f", '{"a":1}', id="a", index=0)), Said("", TWO[:1], "tool_calls")),
    "aborted": (sse(say("half"), chunk({}, "abort")), ServerFault),
    "no resources": (sse(say("half"), chunk({}, "insufficient_system_resource")), ServerFault),
    "timeout": (sse(say("half"), chunk(None, "timeout")), ServerFault),
    "unknown": (sse(say("xy"), chunk({}, "next_months_word")), Said("xy", finish="length")),
    "the reason in the delta": (
        sse(say("xy"), chunk({"finish_reason": "length"}), done=False), Said("xy", finish="length")
    ),
    "max_tokens": (sse(say("xy"), chunk({}, "MAX_TOKENS")), Said("xy", finish="length")),
    "azure: filtered": (sse({"choices": []}, {"choices": [{"index": 0, "finish_reason": "content_filter"}]}), Declined),
    # -- errors
    "an error behind text": (sse(say("half"), {"error": {"message": "slow down", "code": 429}}), RateLimited),
    "an error as text": (sse(say("half"), {"error": "boom"}), ServerFault),
    "an error as an event of words": (sse(say("half"), b"event: error\ndata: upstream died\n\n"), ServerFault),
    "an error as detail": (sse(say("half"), {"detail": "boom"}), ServerFault),
    "an error as message": (sse(say("half"), {"object": "error", "message": "boom"}), ServerFault),
    "an error in the choice": (sse(say("half"), {"choices": [{"delta": {}, "error": {"message": "m"}}]}), ServerFault),
    "an error in an array": (sse(say("half"), b'data: [{"error": {"message": "slow", "code": 429}}]\n\n'), RateLimited),
    "an error outside of events": (
        sse(say("half"), b'{"error": {"message": "slow down", "code": 429}}\n', done=False), RateLimited
    ),
    "words as data": (sse(say("half"), b"data: Internal Server Error\n\n"), BadReply),
    "a page": (b"<html>busy</html>", BadReply),
}  # fmt: skip


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "where a whole answer was asked for"])
@pytest.mark.parametrize("name", STREAMED)
def test_a_streamed_reply(name, streamed):
    body, expected = STREAMED[name]
    if not streamed and not body.startswith((b"data", b":", b"event", b"\xef", b"\n")):
        pytest.skip("no event stream")
    if isinstance(expected, Said):
        assert_said(read(CHAT, body, streamed), expected)
        return
    with pytest.raises(expected):
        read(CHAT, body, streamed)


def test_the_first_delta_of_a_call_has_its_whole_name():
    pieces = (
        call("look_", id="a", index=0),
        call("up", "", index=0),
        call(None, '{"q":1}', index=0),
        call("g", "{}", id="b", index=1),
    )
    decoder = ADAPTERS[CHAT].stream_decoder(ASK, candidate(CHAT), NOW)
    assert decoder.feed(sse(*pieces, CALLED)) == [
        ToolCallDelta(0, "a", "look_up"),
        ToolCallDelta(0, arguments='{"q":1}'),
        ToolCallDelta(1, "b", "g", "{}"),
    ]


# ---- Anthropic and Gemini


def message(*content: Any, stop: Any = "end_turn", **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 5, "output_tokens": 2}
    return {"type": "message", "content": list(content), "stop_reason": stop, "usage": usage, **more}


def block(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


def events(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a stream that says a message."""
    said: list[dict[str, Any]] = [{"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}]
    for index, each in enumerate(body["content"]):
        said += [
            {"type": "content_block_start", "index": index, "content_block": each},
            {"type": "content_block_stop", "index": index},
        ]
    late = {"type": "message_delta", "delta": {"stop_reason": body["stop_reason"]}, "usage": {"output_tokens": 2}}
    return [*said, late, {"type": "message_stop"}]


def candidate_of(*parts: Any, finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": finish, **more}]}


def numbered(text: str, index: int) -> dict[str, Any]:
    return {**candidate_of({"text": text})["candidates"][0], "index": index}


def as_json(body: Any) -> bytes:
    return json.dumps(body).encode()


HI = block("text", text="xy")
HI_STREAM = events(message(HI))


def in_one_block(start: dict[str, Any], *deltas: dict[str, Any], stop: str = "end_turn") -> bytes:
    """Return a stream of one block, in which all `deltas` come."""
    first, begin, end, late, over = events(message(start, stop=stop))
    said = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    return sse(first, begin, *said, end, late, over, done=False)


TEXT_X, TEXT_Y = ({"type": "text_delta", "text": text} for text in "xy")
THINKS = {"type": "thinking_delta", "thinking": "hm"}
GIVES = [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"a":', "1}")]
OTHERS: dict[str, tuple[str, bytes, bool, Said | type[ProviderError]]] = {
    "content as text": (MESSAGES, as_json({**message(), "content": "xy"}), False, XY),
    "content as one block": (MESSAGES, as_json({**message(), "content": HI}), False, XY),
    "content as texts": (MESSAGES, as_json(message("x", "y")), False, XY),
    "null blocks": (MESSAGES, as_json(message(None, HI)), False, XY),
    "an unknown block": (MESSAGES, as_json(message(block("new"), HI)), False, XY),
    "an empty call": (MESSAGES, as_json(message(HI, block("tool_use", id="", name="", input={}))), False, XY),
    "a thought within a text's block": (
        MESSAGES, in_one_block(block("text", text=""), THINKS, TEXT_X, TEXT_Y), True, Said("xy", thought="hm")
    ),
    "a text within a block of a new kind": (MESSAGES, in_one_block(block("new"), TEXT_X), True, BadReply),
    "a text within a call's block": (
        MESSAGES,
        in_one_block(block("tool_use", id="a", name="f"), GIVES[0], TEXT_X, GIVES[1], TEXT_Y, stop="tool_use"),
        True,
        Said("xy", TWO[:1], "tool_calls"),
    ),
    "the start of the message twice": (
        MESSAGES,
        sse(*[each for each in events(message(HI, id="m1")) for _ in range(1 + (each["type"] == "message_start"))]),
        True,
        XY,
    ),
    "the start of the message again, behind the first block": (
        MESSAGES, sse(*events(message(HI, id="m1"))[:2], *events(message(id="m1"))[:1], *HI_STREAM[2:]), True, XY
    ),
    "another message begins": (
        MESSAGES,
        sse(*events(message(HI, id="m1"))[:2], *events(message(id="m2"))[:1], *HI_STREAM[2:]),
        True,
        StreamBroken,
    ),
    "input as an empty array": (
        MESSAGES, as_json(message(block("tool_use", id="a", name="f", input=[]))), False, Said("", F, "tool_calls")
    ),
    "input as an empty array, streamed": (
        MESSAGES,
        sse(*events(message(block("tool_use", id="a", name="f", input=[]))), done=False),
        True,
        Said("", F, "tool_calls"),
    ),
    "an error of nothing": (MESSAGES, as_json(message(HI, error={"type": "", "message": ""})), False, XY),
    "args as an empty array": (
        GEMINI, as_json(candidate_of({"functionCall": {"name": "f", "args": []}})), False, Said("", F, "tool_calls")
    ),
    "an error of nothing, gemini": (
        GEMINI, as_json({**candidate_of({"text": "xy"}), "error": {"message": "", "code": 0}}), False, XY
    ),
    "signs of life, gemini": (GEMINI, sse(b"data: : ping\n\n", candidate_of({"text": "xy"}), done=False), True, XY),
    "signs of life, anthropic": (
        MESSAGES, sse(b'event: ping\ndata: ""\n\ndata: : keepalive\n\n', *HI_STREAM, done=False), True, XY
    ),
    "a nameless call": (MESSAGES, as_json(message(HI, block("tool_use", id="a", input={"a": 1}))), False, BadReply),
    "unknown stop": (MESSAGES, as_json(message(HI, stop="new")), False, Said("xy", finish="length")),
    "aborted": (MESSAGES, as_json(message(HI, stop="abort")), False, ServerFault),
    "aborted stream": (MESSAGES, sse(*events(message(HI, stop="engine_error")), done=False), True, ServerFault),
    "unknown stop of a stream": (MESSAGES, sse(*events(message(HI, stop="new"))), True, Said("xy", finish="length")),
    "a stream with OpenAI's end": (MESSAGES, sse(*HI_STREAM[:-1], b"data: [DONE] \n\n", HI_STREAM[-1]), True, XY),
    "a message where a stream was asked": (MESSAGES, as_json(message(HI)), True, XY),
    "a message with a call where a stream was asked": (
        MESSAGES, as_json(message(block("tool_use", id="a", name="f", input={}))), True, Said("", F, "tool_calls")
    ),
    "a stream where a message was asked": (MESSAGES, sse(*HI_STREAM), False, XY),
    "an error where a stream was asked": (
        MESSAGES, as_json({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}), True, Overloaded
    ),
    "a second start at once": (MESSAGES, sse(HI_STREAM[0], *HI_STREAM), True, XY),
    "a second start behind words": (MESSAGES, sse(*HI_STREAM[:2], *HI_STREAM), True, StreamBroken),
    "empty data, nulls, comments": (MESSAGES, sse(b"data:\n\ndata: null\n\n: hi\n\n", *HI_STREAM), True, XY),
    "a stream cut before its stop": (MESSAGES, sse(*HI_STREAM[:-2], done=False), True, StreamBroken),
    "an error as detail": (MESSAGES, sse(*HI_STREAM[:3], {"detail": "died"}), True, ServerFault),
    "an error as message": (MESSAGES, as_json({"message": "died", "status": 500}), False, ServerFault),
    "delta null": (MESSAGES, sse({"type": "content_block_delta", "index": 0, "delta": None}, *HI_STREAM), True, XY),
    "gemini: an error as detail": (
        GEMINI, sse(candidate_of({"text": "x"}, finish=None), {"detail": "died"}), True, ServerFault
    ),
    "an error of words": (MESSAGES, sse(*HI_STREAM[:3], b"event: error\ndata: died\n\n"), True, ServerFault),
    "null parts": (GEMINI, as_json(candidate_of(None, {"text": "xy"})), False, XY),
    "empty call part": (GEMINI, as_json(candidate_of({"text": "xy"}, {"functionCall": {}})), False, XY),
    "a null candidate": (GEMINI, as_json({"candidates": [None, numbered("xy", 0)]}), False, XY),
    "args as text": (
        GEMINI,
        as_json(candidate_of({"functionCall": {"name": "f", "args": '{"a":1}'}})),
        False,
        Said("", TWO[:1], "tool_calls"),
    ),
    "unknown part": (GEMINI, as_json(candidate_of({"new": 1}, {"text": "xy"})), False, XY),
    "unknown finish": (GEMINI, as_json(candidate_of({"text": "xy"}, finish="NEW")), False, Said("xy", finish="length")),
    "max": (GEMINI, as_json(candidate_of({"text": "xy"}, finish="MAX_TOTAL")), False, Said("xy", finish="length")),
    "a new filter": (GEMINI, as_json(candidate_of(finish="NEW_SAFETY")), False, Declined),
    "broke off": (GEMINI, as_json(candidate_of({"text": "xy"}, finish="OTHER")), False, BadReply),
    "failed": (GEMINI, as_json(candidate_of({"text": "xy"}, finish="INTERNAL_ERROR")), False, BadReply),
    "a second candidate": (
        GEMINI,
        as_json({"candidates": [numbered("q", 1), numbered("xy", 0)]}),
        False,
        XY,
    ),
    "a stream where a reply was asked": (GEMINI, sse(candidate_of({"text": "xy"})), False, XY),
    "a reply where a stream was asked": (GEMINI, as_json(candidate_of({"text": "xy"})), True, XY),
    "gemini: odd events": (
        GEMINI, sse(b"data:\n\n: hi\n\ndata: null\n\n", candidate_of({"text": "xy"}), b"data: [DONE] \n\n"), True, XY
    ),
    "gemini: goes on without a reason": (
        GEMINI, sse(candidate_of({"text": "x"}), candidate_of({"text": "y"}, finish=None)), True, StreamBroken
    ),
    "gemini: an error of words": (
        GEMINI, sse(candidate_of({"text": "x"}, finish=None), b"event: error\ndata: died\n\n"), True, ServerFault
    ),
    "gemini: half an event behind the finish": (
        GEMINI, sse(candidate_of({"text": "x"}), b'data: {"candidates": [', done=False), True, StreamBroken
    ),
    "gemini: no finish": (GEMINI, sse(candidate_of({"text": "xy"}, finish=None)), True, StreamBroken),
    "gemini: wrong language": (GEMINI, as_json(candidate_of(finish="LANGUAGE")), False, Unsupported),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_a_reply_of_the_other_dialects(name):
    dialect, body, streamed, expected = OTHERS[name]
    if isinstance(expected, Said):
        assert_said(read(dialect, body, streamed), expected)
        return
    with pytest.raises(expected):
        read(dialect, body, streamed)


# ---- usage


COUNTS = {
    CHAT: ("prompt_tokens", "completion_tokens", "total_tokens"),
    MESSAGES: ("input_tokens", "output_tokens", "cache_read_input_tokens"),
    GEMINI: ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"),
}
ODD: dict[str, Any] = {
    "negative": (-3, 2),
    "text": ("3", "2"),
    "words": ("many", "few"),
    "arrays": ([3], [2]),
    "objects": ({"n": 3}, {"n": 2}),
    "halves": (3.5, 2.5),
    "booleans": (True, True),
    "huge": (10**15, 2),
    "huge output": (3, 10**12),
    "beyond numbers": (3, float("inf")),
    "not a number": (float("nan"), 2),
    "zeros": (0, 0),
    "nulls": (None, None),
    "no input": (0, 2),
    "no output": (3, 0),
    "null output": (3, None),
    "negative output": (3, -2),
    "third is text": (3, 2, "1"),
    "third is negative": (3, 2, -1),
}  # fmt: skip


def with_usage(dialect: str, usage: Any, streamed: bool) -> bytes:
    """Return an answer `xy` with such a usage; a usage of `...` is missing."""
    given = {} if usage is ... else {"usage": usage}
    if dialect == CHAT:
        return sse(say("xy"), {**STOP, **given}) if streamed else whole({"content": "xy"}, **given)
    if dialect == GEMINI:
        body = {**candidate_of({"text": "xy"}), **({} if usage is ... else {"usageMetadata": usage})}
        return sse(body, done=False) if streamed else as_json(body)
    body = message(HI)
    del body["usage"]
    if not streamed:
        return as_json({**body, **given})
    said = events(body)
    del said[-2]["usage"]
    return sse(*said[:-2], {**said[-2], **given}, said[-1], done=False)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ODD)
def test_odd_figures_are_unknown_and_the_answer_stays(name, dialect, streamed):
    usage = dict(zip(COUNTS[dialect], ODD[name], strict=False))
    for price, cost in ((Price(1.0, 2.0), None), (Price(0, 0), 0), (None, None)):
        answer = read(dialect, with_usage(dialect, usage, streamed), streamed, price)
        assert (answer.text, answer.finish, answer.usage, answer.cost) == ("xy", FinishReason.STOP, Usage(), cost)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "usage",
    [..., None, {}, [], "none", 7, True, [3, 2], {"input": 3, "output": 2}, {"prompt_eval_count": 3, "eval_count": 2}],
    ids=str,
)
def test_usage_of_another_shape_is_unknown(usage, dialect, streamed):
    answer = read(dialect, with_usage(dialect, usage, streamed), streamed)
    assert (answer.text, answer.usage, answer.cost) == ("xy", Usage(), None)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 3, "output_tokens": 2},
        {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 4},
        {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": -5},
        {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
        {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": "2"}},
        {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": [2]},
        {"prompt_tokens": 3, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": -1}},
        {"prompt_tokens": 3, "completion_tokens": 2, "completion_tokens_details": "none"},
        {"total_tokens": 5},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_their_whole_are_unknown(usage):
    for streamed in (False, True):
        answer = read(CHAT, with_usage(CHAT, usage, streamed), streamed)
        assert (answer.text, answer.usage, answer.cost) == ("xy", Usage(), None)


def test_whole_numbers_may_be_written_with_a_point():
    assert read(CHAT, with_usage(CHAT, {"prompt_tokens": 3.0, "completion_tokens": 2.0}, False), False).cost == 7


def test_zeros_behind_figures_say_nothing_and_odd_ones_make_them_unknown():
    sound, zeros, odd = (dict(zip(COUNTS[CHAT], n, strict=False)) for n in ((3, 2), (0, 0, 0), (-3, 2)))
    for last, usage in ((zeros, Usage(3, output=2)), (odd, Usage())):
        body = sse(say("xy"), {**STOP, "usage": sound}, {"choices": [], "usage": last})
        assert read(CHAT, body, True).usage == usage
    start, *rest = events(message(HI))
    body = sse(start, *rest[:-2], {**rest[-2], "usage": {"input_tokens": 0, "output_tokens": 2}}, rest[-1])
    assert read(MESSAGES, body, True).usage == Usage(5, output=2)


def test_usage_in_the_choice_counts():
    body = sse(
        say("xy"),
        {"choices": [{"delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}]},
    )
    assert read(CHAT, body, True).usage == Usage(3, output=2)


@pytest.mark.parametrize("cost", [0, 0.0, -1, "0.1", True, [1], 1e9, float("nan"), None], ids=str)
def test_a_cost_that_cannot_be_is_the_price(cost):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "cost": cost}
    assert read(CHAT, with_usage(CHAT, usage, False), False).cost == 3 + 4


def test_a_cost_that_can_be_counts_also_without_tokens():
    answer = read(CHAT, with_usage(CHAT, {"prompt_tokens": "3", "cost": 0.0125}, True), True)
    assert (answer.usage, answer.cost) == (Usage(), 12_500)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_that_would_not_do_says_that_it_came_though_its_figures_are_odd(dialect):
    empty = {CHAT: whole({"content": ""}), MESSAGES: as_json(message()), GEMINI: as_json(candidate_of())}[dialect]
    with pytest.raises(BadReply) as failed:
        read(dialect, empty.replace(b'"input_tokens": 5', b'"input_tokens": -5'), False)
    assert failed.value.usage == Usage()


# ---- what stands beside the checkout

CASES = FOLDER.parent / "cases" / "wire"
KINDS = ("decode_", "tolerance_", "finish_", "cut_")
WANTED: dict[str, Said | type[ProviderError]] = {
    "cut_openrouter_finish_on_each_chunk": StreamBroken,
    "decode_anthropic_spliced_message_start": StreamBroken,
    "decode_azure_content_filter_no_message": Declined,
    "decode_cloudflare_content_object": Said('{"title":"Apples are tasty","author":"Hadley Wickham"}'),
    "decode_snowflake_empty_function_call": Said("4"),
    "finish_deepseek_insufficient_system_resource": ServerFault,
    "tolerance_done_with_space": Said("a"),
    "tolerance_empty_tool_call_entry": Said("4"),
    "tolerance_usage_strings": Said("a"),
}


@pytest.mark.parametrize("name", WANTED)
def test_a_case_comes_out_as_wanted(name):
    if not CASES.is_dir():
        pytest.skip("the cases are not beside this checkout")
    case, expected = json.loads((CASES / f"{name}.json").read_text("utf-8")), WANTED[name]
    body = case["body"].encode()[: case["cut_at"]]
    if isinstance(expected, Said):
        answer = read(case["dialect"], body, case["streamed"])
        assert_said(answer, expected)
        assert "unknown" not in case["want"] or answer.usage == Usage()
        return
    with pytest.raises(expected):
        read(case["dialect"], body, case["streamed"])


def test_no_case_is_left_out():
    if not CASES.is_dir():
        pytest.skip("the cases are not beside this checkout")
    assert {path.stem for path in CASES.glob("*.json") if path.stem.startswith(KINDS)} == WANTED.keys()


STREAMS = [each for each in recordings() if each.streamed and each.status == 200] if FOLDER.is_dir() else []
each_stream = pytest.mark.parametrize("recording", STREAMS or [None], ids=[r.name[:60] for r in STREAMS] or ["absent"])
PADDING = (
    b": ping\n\n",
    b"\n",
    b"data:\n\n",
    b"data: null\n\n",
    b"event: ping\n\n",
    b"id: 7\nretry: 10\n\n",
    b":\r\n\r\n",
)


def outcome(recording: Recording, pieces: list[bytes]) -> Any:
    decoder = recording.adapter.stream_decoder(ASK, recording.candidate(), NOW)
    try:
        for piece in pieces:
            decoder.feed(piece)
        return decoder.finish()
    except ProviderError as error:
        return type(error)


@each_stream
def test_padding_anywhere_between_events_changes_nothing(recording):
    if recording is None:
        pytest.skip(ABSENT)
    rng, whole_answer = Random(recording.name), outcome(recording, [recording.body])
    bare = recording.body.lstrip()[:1] in (b"{", b"[")
    parts = (
        [recording.body] if bare else [part + b"\n\n" for part in recording.body.replace(b"\r\n", b"\n").split(b"\n\n")]
    )
    for _ in range(5):
        padded = b"".join(part for each in parts for part in (each, b"" if bare else rng.choice(PADDING)))
        edges = sorted({0, len(padded), *(rng.randrange(len(padded)) for _ in range(60))})
        pieces = [padded[start:end] for start, end in pairwise(edges)]
        assert outcome(recording, pieces) == whole_answer


@pytest.mark.few(6)
@each_stream
def test_a_cut_anywhere_is_no_silent_loss(recording):
    if recording is None:
        pytest.skip(ABSENT)
    whole_answer = outcome(recording, [recording.body])
    size = len(recording.body)
    for cut in sorted({*range(0, size, 1 + size // 150), *range(max(0, size - 40), size)}):
        found = outcome(recording, [recording.body[:cut]])
        if isinstance(found, Response):
            assert (found.text, found.tool_calls, found.finish) == (
                whole_answer.text, whole_answer.tool_calls, whole_answer.finish
            )  # fmt: skip
