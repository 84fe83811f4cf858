"""Whatever a Chat Completions endpoint answers, whole or streamed, ends as an answer or as one of our errors."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.documents.unicode import clean
from providers.errors import (
    BadReply,
    Declined,
    Overloaded,
    ProviderError,
    RateLimited,
    ServerFault,
    StreamBroken,
)
from providers.messages import (
    FinishReason,
    Reasoning,
    ReasoningDelta,
    Request,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    user,
)
from tests.told import assert_told

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
MODEL = Model("small-1", context=8000, max_output=1000, price=Price(1.0, 2.0))
CHAT = OpenAIChat()
ASK = Request((user("hi"),))
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def candidate(model: Model = MODEL) -> Candidate:
    return Candidate(Provider("vendor", "openai-chat", "https://api.test/v1", "KEY", {model.name: model}), model, "key")


def reply(message: dict, finish: str | None = "stop", **more) -> dict:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


def decode(body: object, who: Candidate | None = None, prefix: bytes = b""):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CHAT.decode(HttpReply(200, {}, prefix + data), ASK, who or candidate(), NOW)


def test_a_plain_answer():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    answer = decode(reply({"role": "assistant", "content": "hello"}, usage=usage), prefix=b"\n   \n\n")
    assert (answer.text, answer.finish) == ("hello", FinishReason.STOP)
    assert (answer.provider, answer.model) == ("vendor", "small-1")
    assert answer.usage == Usage(input=30, cache_read=60, cache_write=10, output=30, reasoning=20)
    assert answer.cost == 100 * 1 + 50 * 2


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_cache_hit_tokens": 4}, 4),
        ({"num_cached_tokens": 5}, 5),
        ({"cached_tokens": 6}, 6),
        ({"prompt_tokens_details": None}, 0),
    ],
)
def test_cached_tokens_stand_in_many_places(usage, read):
    answer = decode(reply({"content": "x"}, usage={"prompt_tokens": 10, "completion_tokens": 1, **usage}))
    assert answer.usage == Usage(input=10 - read, cache_read=read, output=1)


def test_llama_cpp_counts_its_cache_in_the_timings():
    body = reply({"content": "x"}, usage={"prompt_tokens": 10, "completion_tokens": 1}, timings={"cache_n": 7})
    assert decode(body).usage == Usage(input=3, cache_read=7, output=1)
    assert decode({**body, "timings": {"cache_n": -1}}).usage == Usage(input=10, output=1)


def test_reasoning_beside_the_completion_is_found_in_the_total():
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45}
    assert decode(reply({"content": "x"}, usage=usage)).usage == Usage(input=10, output=35)
    usage["completion_tokens_details"] = {"reasoning_tokens": 30}
    assert decode(reply({"content": "x"}, usage=usage)).usage == Usage(input=10, output=5, reasoning=30)


def test_more_reasoning_than_output_never_makes_a_negative_count():
    usage = {"prompt_tokens": 1, "completion_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 11}}
    assert decode(reply({"content": "x"}, usage=usage)).usage == Usage(input=1, reasoning=10)


@pytest.mark.parametrize(
    ("usage", "price", "cost"),
    [
        ({"prompt_tokens": 1, "cost": 0.000241}, Price(9, 9), 241),
        (
            {"prompt_tokens": 1, "cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}},
            None,
            500_000,
        ),
        ({"prompt_tokens": 3, "completion_tokens": 1}, Price(1, 1), 4),
        ({"prompt_tokens": 3, "completion_tokens": 1}, None, None),
        (None, Price(1, 1), None),
        (None, Price(0, 0), 0),
        ({"prompt_tokens": 3, "completion_tokens": 1, "cost": "much"}, Price(1, 1), 4),
        ({"prompt_tokens": 3, "completion_tokens": 1, "cost": 0}, Price(1, 1), 4),
        ({"prompt_tokens": 3, "completion_tokens": 1, "cost": 0}, Price(0, 0), 0),
        ({"prompt_tokens": 3, "completion_tokens": 1, "cost": 0}, None, 0),
        ({"prompt_tokens": 3, "completion_tokens": 1, "cost": 0, "is_byok": True}, Price(1, 1), 4),
        ({"prompt_tokens": 3, "completion_tokens": 1, "cost": 0, "is_byok": True}, None, None),
        ({"cost": 0}, Price(1, 1), None),
        ({"cost": 0.5}, Price(1, 1), 500_000),
    ],
)
def test_cost_is_the_providers_figure_else_the_price_else_unknown(usage, price, cost):
    assert decode(reply({"content": "x"}, usage=usage), candidate(replace(MODEL, price=price))).cost == cost


def test_tool_calls_with_arguments_as_text_or_object():
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": "\\ud83d"}'}},
        {"function": {"name": "g", "arguments": {"y": "é"}}},
        {"id": "c", "function": {"name": "h", "arguments": None}},
    ]
    answer = decode(reply({"content": None, "tool_calls": calls}, finish="stop"))
    assert answer.finish is FinishReason.TOOL_CALLS
    assert answer.tool_calls == (
        ToolCall("a", "f", '{"x":"\ufffd"}'),
        ToolCall("call_1", "g", '{"y":"é"}'),
        ToolCall("c", "h", ""),
    )


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "hm", "content": "x"},
        {"reasoning": "hm", "content": "x"},
        {"reasoning": "hm", "reasoning_content": "hm", "content": "x"},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "x"},
            ]
        },
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "reference"}, {"type": "text", "text": "x"}]},
    ],
)
def test_reasoning_is_found_once_wherever_it_stands(message):
    answer = decode(reply(message))
    assert answer.message.parts == (Reasoning("hm", made_by="vendor/small-1"), Text("x"))


DETAILS = [
    {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "\u00e9==", "id": None, "index": 1},
]


def test_reasoning_details_are_kept_as_they_came():
    for message in ({"content": "x", "reasoning_details": DETAILS, "reasoning": "hm"}, {"reasoning_details": DETAILS}):
        thought = decode(reply({"content": "x", **message})).message.parts[0]
        assert (thought.text, thought.made_by) == ("hm", "vendor/small-1")
        assert json.loads(thought.opaque) == DETAILS
    silent = decode(reply({"content": "x", "reasoning_details": DETAILS[1:]})).message.parts[0]
    assert (silent.text, json.loads(silent.opaque)) == ("", DETAILS[1:])


@pytest.mark.parametrize("odd", [None, [], "hm", {"type": "reasoning.text"}, [7]])
def test_details_of_another_shape_are_padding(odd):
    assert decode(reply({"content": "x", "reasoning_details": odd})).message.parts == (Text("x"),)


TAGGED = [
    ("<think>\nhm\n</think>\n\nx", "hm\n", "x"),
    (" \n<think>hm</think>x", "hm", "x"),
    ("<think>\n\n</think>\n\nx", "", "x"),
    ("<think>a<think>b</think>c</think>", "a<think>b", "c</think>"),
    ("<think></thin</think></think>x", "</thin", "</think>x"),
    ("<thinking>hm</thinking>", "", "<thinking>hm</thinking>"),
    (" x <think>hm</think>", "", " x <think>hm</think>"),
    ("<think", "", "<think"),
    ("<", "", "<"),
    ("a < b", "", "a < b"),
    ("\n\nx", "", "\n\nx"),
    ("<think>a</think> <think>b</think>", "a", "<think>b</think>"),
    (" " * 65 + "<think>a</think>", "", " " * 65 + "<think>a</think>"),
]


@pytest.mark.parametrize(("content", "thought", "text"), TAGGED)
def test_a_thought_in_tags_at_the_very_start_is_reasoning(content, thought, text):
    parts = decode(reply({"content": content})).message.parts
    assert parts == (*([Reasoning(thought, made_by="vendor/small-1")] if thought else []), Text(text))


CLOSED_ONLY = [
    ("Okay, hm.\n</think>\n\nx", "Okay, hm.\n", "x"),
    ("hm</think>x </think> y", "hm", "x </think> y"),
    ("</think>\n\nx", "", "x"),
    ("x</think>", "", "x</think>"),  # nothing is left to be the answer
    ("Close it by `</think>` there", "", "Close it by `</think>` there"),
    ('{"tag": "</think>"}', "", '{"tag": "</think>"}'),
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "in one piece"])
@pytest.mark.parametrize(("content", "thought", "text"), CLOSED_ONLY)
def test_a_thought_whose_first_tag_the_template_has_is_reasoning(content, thought, text, streamed):
    """Qwen's and DeepSeek's thinking models as vLLM serves them without a parser."""
    if streamed:
        decoder = CHAT.stream_decoder(ASK, candidate(), 0.0)
        decoder.feed(f"data: {json.dumps({'choices': [{'delta': {'content': content}}]})}\n\ndata: [DONE]\n\n".encode())
        parts = decoder.finish().message.parts
    else:
        parts = decode(reply({"content": content})).message.parts
    assert parts == (*([Reasoning(thought, made_by="vendor/small-1")] if thought else []), Text(text))


@given(st.sampled_from(TAGGED), st.lists(st.integers(0, 30)))
def test_a_thought_in_tags_is_the_same_however_the_stream_is_cut(tagged, cuts):
    content, thought, text = tagged
    edges = sorted({0, len(content), *(c for c in cuts if c < len(content))})
    deltas, answer = run(sse(*(chunk({"content": content[a:b]}) for a, b in pairwise(edges)), chunk(finish="stop")))
    assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == answer.text == text
    assert "".join(d.text for d in deltas if isinstance(d, ReasoningDelta)) == thought


def test_a_thought_that_is_never_closed_is_no_answer():
    with pytest.raises(BadReply, match="only reasoning"):
        decode(reply({"content": "<think>so long"}, finish="length"))
    _, outcome = run(sse(chunk({"content": "<think>so long</thi"}), chunk(finish="length")))
    assert outcome[0] is BadReply


def test_the_dialects_first_form_of_a_call():
    legacy = {"name": "f", "arguments": '{"x":1}'}
    call = ToolCall("call_0", "f", '{"x":1}')
    answer = decode(reply({"content": None, "function_call": legacy}, finish="function_call"))
    assert (answer.tool_calls, answer.finish) == ((call,), FinishReason.TOOL_CALLS)
    pieces = [{"name": "f", "arguments": ""}, {"arguments": '{"x":'}, {"arguments": "1}"}]
    _, streamed = run(sse(*(chunk({"function_call": piece}) for piece in pieces), chunk(finish="function_call")))
    assert streamed.tool_calls == (call,)


def test_calls_that_share_an_id_are_told_apart():
    calls = [{"id": "a", "function": {"name": name}} for name in "fgh"]
    assert [call.id for call in decode(reply({"tool_calls": calls})).tool_calls] == ["a", "a_1", "a_2"]


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        (None, "stop"),
        ("never heard of", "length"),
        ("tool_calls", "stop"),
    ],
)
def test_finish_reasons_have_one_name(word, finish):
    assert decode(reply({"content": "x"}, finish=word)).finish == finish


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (reply({"content": ""}), BadReply),
        (reply({"content": " \n"}), BadReply),
        (reply({"content": "\x00\x1b"}), BadReply),
        (reply({"content": None, "reasoning": "long thoughts"}, finish="length"), BadReply),
        (reply({"content": None, "refusal": "I won't"}), Declined),
        (reply({"content": ""}, finish="content_filter"), Declined),
        (reply({"content": "half"}, finish="error"), ServerFault),
        ({"error": {"message": "rate", "code": 429}}, RateLimited),
        ({"error": {"message": "boom", "type": "server_error"}, "status_code": 503}, Overloaded),
        ({"error": "text only"}, ServerFault),
        ({"success": False, "errors": [{"code": 3040, "message": "No more data centers"}]}, ServerFault),
        ({"choices": [{"error": {"code": 502, "message": "upstream died"}, "message": {"content": "x"}}]}, ServerFault),
        ({"choices": []}, BadReply),
        ({"choices": None}, BadReply),
        ({}, BadReply),
        ([], BadReply),
        (b"", BadReply),
        (b"<html>hi</html>", BadReply),
        (b'{"choices":', BadReply),
        (b"[" * 100_000, BadReply),
        (b'{"choices": NaN}', BadReply),
        (b"1" * 10_000, BadReply),
        (b"\xff\xfe\x00", BadReply),
        (reply({"content": "x", "tool_calls": [{"function": {"name": "", "arguments": '{"a":1}'}}]}), BadReply),
    ],
)
def test_a_200_that_is_no_answer(body, error):
    with pytest.raises(error):
        decode(body)


FULL = reply(
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "x"}, {"type": "thinking", "thinking": [{"type": "text", "text": "y"}]}],
        "reasoning": "r",
        "reasoning_details": DETAILS,
        "function_call": {"name": "f", "arguments": "{}"},
        "refusal": None,
        "tool_calls": [{"id": "a", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    usage={
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "cost": 0.1,
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": 1},
        "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
    timings={"cache_n": 1},
    x_groq={"usage": None},
    error=None,
)

HUGE = "a number of 5,000 digits"
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.just(HUGE),
        st.floats(),
        st.text(st.one_of(st.characters(), st.characters(categories=["Cs", "Cc"]))),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


def broken(value, path, new):
    if not path:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


def on_the_wire(value) -> bytes:
    """Return `value` as JSON, with NaN as Python writes it, and a number that Python refuses to read."""
    return json.dumps(value).replace(f'"{HUGE}"', "1" + "0" * 5000).encode()


def assert_sound(answer) -> None:
    assert answer.text.strip() or answer.tool_calls
    for part in answer.message.parts:
        for slot in part.__slots__:
            value = getattr(part, slot)
            assert value is None or clean(value) == value
    usage = answer.usage
    assert all(type(n) is int and n >= 0 for n in (usage.input, usage.cache_read, usage.output, usage.reasoning))


@given(st.sampled_from(list(places(FULL))), json_values)
def test_whatever_stands_wrong_in_a_reply_it_is_an_answer_or_our_error(path, new):
    data = on_the_wire(broken(FULL, path, new))
    with suppress(ProviderError):
        assert_sound(decode(data))


def chunk(delta: dict | None = None, finish: str | None = None, **more) -> dict:
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def sse(*events: object, end: str = "\n", done: bool = True) -> bytes:
    texts = [e if isinstance(e, str) else f"data: {json.dumps(e, ensure_ascii=False)}" for e in events]
    return "".join(f"{text}{end}{end}" for text in [*texts, *(["data: [DONE]"] if done else [])]).encode()


def run(data: bytes, cuts: list[int] = ()) -> tuple[list, object]:
    """Return the deltas, and the answer or the error."""
    decoder = CHAT.stream_decoder(ASK, candidate(), NOW)
    edges = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    deltas: list = []
    try:
        for start, end in pairwise(edges):
            deltas += decoder.feed(data[start:end])
        return deltas, decoder.finish()
    except ProviderError as error:
        return deltas, (type(error), str(error))


LONG = sse(
    ": PROCESSING",
    chunk({"role": "assistant", "content": "", "reasoning": "hm", "reasoning_content": "hm"}),
    "event: ping\ndata: {}",
    chunk({"content": "Grüße "}),
    'data: {"choices": [{"delta":\ndata: {"content": "\U0001f468\u200d\U0001f469"}}]}',
    'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}',
    'data: {"choices":[{"delta":{"content":"\\ude00!"}}]}',
    chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}, obfuscation="xx"),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"name": "g"}}]}),
    chunk(finish="tool_calls", usage={"prompt_tokens": 1, "completion_tokens": 1}),
    {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
)


def test_a_stream_becomes_deltas_and_one_answer():
    deltas, answer = run(LONG)
    assert deltas == [
        ReasoningDelta("hm"),
        TextDelta("Grüße "),
        TextDelta("\U0001f468\u200d\U0001f469"),
        TextDelta("\U0001f600!"),
        ToolCallDelta(0, "a", "f"),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, name="g"),
    ]
    assert answer.message.parts == (
        Reasoning("hm", made_by="vendor/small-1"),
        Text("Grüße \U0001f468\u200d\U0001f469\U0001f600!"),
        ToolCall("a", "f", '{"x":1}'),
        ToolCall("call_1", "g", ""),
    )
    assert answer.finish is FinishReason.TOOL_CALLS
    assert answer.usage == Usage(input=5, output=7)  # the last figure counts
    assert answer.cost == 5 + 14


BROKEN = sse(chunk({"content": "half"}), {"error": {"code": 429, "message": "slow down"}}, chunk({"content": "lost"}))


@given(
    st.sampled_from([LONG, LONG.replace(b"\n", b"\r\n"), LONG.replace(b"\n", b"\r"), BROKEN]),
    st.lists(st.integers(0, 2000)),
)
def test_any_split_of_the_bytes_gives_the_same(data, cuts):
    assert run(data, cuts) == run(data)


def test_a_stream_cut_anywhere_before_its_finish_is_broken():
    for length in range(LONG.index(b'"finish_reason": "tool_calls"')):
        assert run(LONG[:length])[1][0] is StreamBroken, length


def test_a_byte_at_a_time():
    for end in (b"\n", b"\r\n", b"\r"):
        data = LONG.replace(b"\n", end)
        assert run(data, list(range(len(data)))) == run(LONG)


def test_an_error_in_the_stream_loses_no_delta():
    deltas, error = run(BROKEN)
    assert deltas == [TextDelta("half")]
    assert error[0] is RateLimited


@pytest.mark.parametrize(
    ("events", "error"),
    [
        (["event: error\n" + 'data: {"error":{"message":"m","code":"tool_use_failed","status_code":400}}'], BadReply),
        (['event: error\ndata: {"message":"flat"}'], ServerFault),
        ([{"error": {"message": "An error occurred", "type": "server_error"}, "status_code": 500}], ServerFault),
        (
            [chunk({"content": "x"}), {**chunk(finish="error"), "error": {"code": 502, "message": "upstream"}}],
            ServerFault,
        ),
        ([{"choices": [{"delta": {}, "finish_reason": "error", "error": {"code": 503, "message": "x"}}]}], Overloaded),
        ([chunk({"content": "x"}, finish="error")], ServerFault),
        ([chunk({"refusal": "no"}), chunk(finish="stop")], Declined),
        ([chunk(finish="stop")], BadReply),
        ([chunk(finish="content_filter")], Declined),
        (["data: {"], BadReply),
        (["data: []"], BadReply),
        ([chunk({"tool_calls": [{"index": "0", "function": {"name": "f"}}]})], BadReply),
    ],
)
def test_streams_that_fail(events, error):
    assert run(sse(*events))[1][0] is error


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", StreamBroken),
        (b": ping\n\n", StreamBroken),
        (sse(done=True), StreamBroken),
        (sse(chunk({"content": "half"}), done=False), StreamBroken),
        (b'{"error": {"message": "quota", "code": 429}}', RateLimited),
        (b'{\n  "error": "bad"\n}\n', ServerFault),
        (b"<html>maintenance</html>\n", BadReply),
        (b'{"message":{"content":"He"},"done":false}\n', BadReply),
    ],
)
def test_what_is_no_whole_stream_is_no_answer(data, error):
    assert run(data)[1][0] is error


@pytest.mark.parametrize(
    "data",
    [
        sse(chunk({"content": "hi"}, finish="stop"), done=False),
        sse(chunk({"content": "hi"}), done=True),
        sse(chunk({"content": "hi"}, finish="stop"))[:-2],
        b"\xef\xbb\xbf" + sse(chunk({"content": "hi"}, finish="stop")),
        sse(chunk({"content": "hi"}, finish="stop")) + b"data: trailing rubbish\n\n",
        sse(chunk({"content": "hi"}), chunk(finish="stop"), chunk(finish=""), {"choices": []}),
        sse(chunk({"content": "hi"}, finish="stop")).replace(b"data: ", b"data:"),
    ],
)
def test_either_sign_of_completeness_is_enough(data):
    deltas, answer = run(data)
    assert (deltas, answer.text, answer.finish) == ([TextDelta("hi")], "hi", FinishReason.STOP)


@pytest.mark.parametrize(
    "pieces",
    [
        # Mistral: whole calls, no index. Some: 0 for all. Some: id and name in every piece.
        [
            {"id": "a", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "function": {"name": "f", "arguments": "{}"}},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
            {"index": 0, "id": "b", "function": {"name": "f", "arguments": "{}"}},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}},
            {"index": 1, "id": "b", "function": {"name": "f", "arguments": {}}},
        ],
        [
            {"index": 1, "id": "a", "function": {"name": "f", "arguments": "{"}},
            {"index": 7, "id": "b", "function": {"name": "f", "arguments": "{"}},
            {"index": 1, "function": {"arguments": "}"}},
            {"index": 7, "id": "other", "function": {"arguments": "}"}},
        ],
    ],
)
def test_calls_are_told_apart_however_they_are_numbered(pieces):
    _, answer = run(sse(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk(finish="tool_calls")))
    assert answer.tool_calls == (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))


def test_the_pieces_of_a_detail_are_joined_by_type_and_index():
    pieces = [
        {"type": "reasoning.text", "text": "Let", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.text", "text": " me", "signature": None, "index": 0},
        {"type": "reasoning.summary", "summary": "in", "index": 2},
        {"type": "reasoning.text", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "id": "a", "data": "x", "index": 1},
        {"type": "reasoning.encrypted", "id": "b", "data": "y", "index": 1},
        {"type": "reasoning.summary", "summary": " short", "index": 2},
    ]
    deltas, answer = run(
        sse(*(chunk({"reasoning_details": [piece]}) for piece in pieces), chunk({"content": "x"}, finish="stop"))
    )
    assert [delta.text for delta in deltas] == ["Let", " me", "in", " short", "x"]
    thought = answer.message.parts[0]
    assert thought.text == "Let mein short"
    assert json.loads(thought.opaque) == [
        {"type": "reasoning.text", "text": "Let me", "format": "anthropic-claude-v1", "index": 0, "signature": "s"},
        {"type": "reasoning.summary", "summary": "in short", "index": 2},
        {"type": "reasoning.encrypted", "id": "a", "data": "x", "index": 1},
        {"type": "reasoning.encrypted", "id": "b", "data": "y", "index": 1},
    ]


def test_a_last_event_without_its_blank_line_belongs_to_the_answer():
    deltas, answer = run(sse(chunk({"content": "a"}), chunk({"content": "b"}, finish="stop"), done=False)[:-2])
    assert deltas == [TextDelta("a")]
    assert answer.text == "ab"


def test_groq_and_cerebras_put_usage_in_the_finish_chunk():
    _, answer = run(
        sse(
            chunk({"content": "x"}),
            chunk(finish="stop", x_groq={"usage": {"prompt_tokens": 3, "completion_tokens": 1}}),
        )
    )
    assert answer.usage == Usage(input=3, output=1)


STREAMED = {
    "choices": [
        {
            "index": 0,
            "delta": {
                "content": [{"type": "text", "text": "x"}],
                "reasoning": "r",
                "reasoning_details": DETAILS,
                "function_call": {"name": "f", "arguments": "{}"},
                "refusal": None,
                "tool_calls": [{"id": "a", "index": 0, "function": {"name": "f", "arguments": "{}"}}],
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}},
    "error": None,
}


@given(st.sampled_from(list(places(STREAMED))), json_values)
def test_whatever_stands_wrong_in_a_chunk_it_is_an_answer_or_our_error(path, new):
    data = b"data: " + on_the_wire(broken(STREAMED, path, new)) + b"\n\ndata: [DONE]\n\n"
    deltas, outcome = run(data)
    if not isinstance(outcome, tuple):
        assert_sound(outcome)
        assert_told(deltas, outcome)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, 0, 1, 5]), st.sampled_from(["", "a", "b"]), st.sampled_from(["", "f"]),
            st.sampled_from(["", "{", "}", "\ud83d", "\ude00"]), st.sampled_from(["", "x", "\ud83d", "<thi", "nk>"])
        ),
        max_size=8,
    ),
    st.sampled_from([None, "stop"]),
)  # fmt: skip
def test_however_calls_are_numbered_the_deltas_are_the_answer(pieces, finish):
    chunks = [
        chunk({"content": text, "tool_calls": [{"index": i, "id": a, "function": {"name": f, "arguments": more}}]})
        for i, a, f, more, text in pieces
    ]
    body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in [*chunks, chunk(finish=finish)])
    deltas, outcome = run(body + b"data: [DONE]\n\n")
    if not isinstance(outcome, tuple):
        assert_told(deltas, outcome)


def test_what_was_held_back_is_told_at_the_end_also_without_a_finish_reason():
    body = b"".join(
        b"data: " + json.dumps(each).encode() + b"\n\n"
        for each in (chunk({"content": "a<"}), chunk({"content": "\ud83d"}))
    )
    deltas, answer = run(body + b"data: [DONE]\n\n")
    assert answer.text == "a<\ufffd"
    assert_told(deltas, answer)


@given(
    st.lists(st.one_of(st.binary(), st.sampled_from([b"data: ", b"\n", b"\n\n", b"[DONE]", b"{}", b"event: error\n"])))
)
def test_no_bytes_break_the_decoder(pieces):
    _, outcome = run(b"".join(pieces))
    if not isinstance(outcome, tuple):
        assert_sound(outcome)


def test_a_line_without_end_is_bounded():
    decoder = CHAT.stream_decoder(ASK, candidate(), NOW)
    for _ in range(16):
        decoder.feed(b"x" * 2**20)
    with pytest.raises(BadReply):
        decoder.feed(b"x")
