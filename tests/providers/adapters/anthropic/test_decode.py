"""The Messages dialect: what comes back, whole and as a stream."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.adapters.anthropic.decode import REDACTED
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.errors import BadReply, Declined, Overloaded, ProviderError, RateLimited, StreamBroken
from providers.messages import (
    FinishReason,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    user,
)
from tests.told import assert_told

CHAT = AnthropicMessages()
NOW = 1_800_000_000.0
MODEL = Model("m", 8000, 1000, price=Price(1.0, 5.0, cache_read=0.1, cache_write=1.25))
HERE = Candidate(Provider("here", "anthropic-messages", "https://here.test/v1", None, {"m": MODEL}), MODEL)
ASK = Request((user("hi"),))

THINKING = {"type": "thinking", "thinking": "Rain?", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "ZGF0YQ"}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rain"}}
PAGE = {"type": "web_search_result", "title": "Rain", "url": "https://rain.test", "encrypted_content": "eA=="}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [PAGE]}
LOOK = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "Firenze ☔", "n": 1.5}}
NOTHING = {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}
USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 30,
    "output_tokens_details": {"thinking_tokens": 12},
    "service_tier": "standard",
}
WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-20260101",
    "content": [
        THINKING,
        HIDDEN,
        {"type": "text", "text": "I will ", "citations": None},
        SEARCH,
        FOUND,
        {"type": "text", "text": "look. 👩‍👩‍👧"},
        LOOK,
        NOTHING,
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}
ANSWER = (
    Reasoning("Rain?", "c2ln", "here/m"),
    Reasoning("", REDACTED + "ZGF0YQ", "here/m"),
    Text("I will look. 👩‍👩‍👧"),
    ToolCall("toolu_1", "look", '{"at":"Firenze ☔","n":1.5}'),
    ToolCall("toolu_2", "now", "{}"),
)


def decode(body: Any, model: Model = MODEL) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return CHAT.decode(HttpReply(200, {}, data), ASK, replace(HERE, model=model), NOW)


def message(*content: dict, stop: Any = "end_turn", **more) -> dict:
    return {
        "type": "message",
        "role": "assistant",
        "content": list(content),
        "stop_reason": stop,
        "usage": USAGE,
        **more,
    }


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def pieces(block: dict) -> tuple[dict, list[dict]]:
    """Return a block's start and deltas, as the vendor cuts it."""
    match block:
        case {"type": "text", "text": words}:
            return text(""), [{"type": "text_delta", "text": piece} for piece in halves(words)]
        case {"type": "thinking", "thinking": words, "signature": signature}:
            start = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in halves(words)]
            return start, [*deltas, {"type": "signature_delta", "signature": signature}]
        case {"type": "tool_use" | "server_tool_use", "input": given}:
            words = json.dumps(given, ensure_ascii=False, separators=(",", ":"))
            start = {**block, "input": {}}
            return start, [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *halves(words)]]
        case _:
            return block, []


def halves(words: str) -> list[str]:
    middle = len(words) // 2
    return [words[:middle], words[middle:]]


def events(whole: dict) -> list[dict]:
    """Return the events that stream `whole`."""
    usage = {**whole["usage"], "output_tokens": 1, "output_tokens_details": None}
    found = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None, "usage": usage}}]
    for index, block in enumerate(whole["content"]):
        start, deltas = pieces(block)
        found.append({"type": "content_block_start", "index": index, "content_block": start})
        found.append({"type": "ping"})
        found += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        found.append({"type": "content_block_stop", "index": index})
    late = {key: whole["usage"].get(key) for key in ("output_tokens", "output_tokens_details", "input_tokens")}
    stop = {key: whole.get(key) for key in ("stop_reason", "stop_sequence", "stop_details")}
    found.append({"type": "message_delta", "delta": stop, "usage": late})
    return [*found, {"type": "message_stop"}]


def framed(*chunks: dict, end: str = "\n") -> bytes:
    lines = [f"event: {c['type']}{end}data: {json.dumps(c, ensure_ascii=False)}   {end}{end}" for c in chunks]
    return "".join(lines).encode()


def streamed(body: bytes, *cuts: int) -> tuple[list, Response]:
    decoder = CHAT.stream_decoder(ASK, HERE, NOW)
    edges = [0, *sorted(cuts), len(body)]
    deltas = []
    for start, stop in pairwise(edges):
        deltas += decoder.feed(body[start:stop])
    return deltas, decoder.finish()


STREAM = framed(*events(WHOLE))


def test_an_answer_is_read():
    answer = decode(WHOLE)
    assert answer.message.parts == ANSWER
    assert answer.finish is FinishReason.TOOL_CALLS
    assert answer.usage == Usage(input=10, cache_read=100, cache_write=20, output=18, reasoning=12)
    assert answer.cost == 195  # 10 + 10 + 25 + 150
    assert (answer.provider, answer.model) == ("here", "m")
    assert [part.made_by for part in answer.message.parts[:2]] == ["here/m", "here/m"]
    assert "c2ln" not in repr(answer)


def test_a_streamed_answer_is_the_same():
    deltas, answer = streamed(STREAM)
    assert answer == decode(WHOLE)
    assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == "I will look. 👩‍👩‍👧"
    assert "".join(d.text for d in deltas if isinstance(d, ReasoningDelta)) == "Rain?"
    calls: dict[int, list[str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            joined = calls.setdefault(delta.index, ["", "", ""])
            calls[delta.index] = [a + b for a, b in zip(joined, (delta.id, delta.name, delta.arguments), strict=True)]
    assert [tuple(call) for call in calls.values()] == [(c.id, c.name, c.arguments) for c in answer.tool_calls]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_of_the_bytes_gives_the_same(cuts):
    assert streamed(STREAM, *cuts) == streamed(STREAM)


def test_bytes_one_by_one_and_other_line_ends_give_the_same():
    assert streamed(STREAM, *range(len(STREAM))) == streamed(STREAM)
    for end in ("\r\n", "\r"):
        assert streamed(framed(*events(WHOLE), end=end)) == streamed(STREAM)


@pytest.mark.long
def test_a_stream_that_is_cut_anywhere_is_broken_or_whole():
    answer = decode(WHOLE)
    said = STREAM.rindex(b"}", 0, STREAM.rindex(b"event: message_stop")) + 1  # why it ended, and what it cost
    for cut in range(len(STREAM)):
        decoder = CHAT.stream_decoder(ASK, HERE, NOW)
        try:
            decoder.feed(STREAM[:cut])
            ended = decoder.finish()
        except StreamBroken:
            assert cut < said
        else:
            assert ended == answer
            assert cut >= said


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("pause_turn", FinishReason.LENGTH),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("what comes next year", FinishReason.LENGTH),
        (None, FinishReason.STOP),
    ],
)
def test_stop_reasons(stop, finish):
    assert decode(message(text("hi"), stop=stop)).finish is finish


def test_a_call_with_another_stop_reason():
    assert decode(message(LOOK, stop="end_turn")).finish is FinishReason.TOOL_CALLS
    assert decode(message(LOOK, stop="max_tokens")).finish is FinishReason.LENGTH


REFUSAL = {"type": "refusal", "category": "cyber", "explanation": "Blocked.", "recommended_model": "other"}


def test_a_refusal_is_declined_where_nothing_else_was_said():
    for body in (message(stop="refusal", stop_details=REFUSAL), message(THINKING, LOOK, stop="refusal")):
        for read in (decode, lambda whole: streamed(framed(*events(whole)))):
            with pytest.raises(Declined) as declined:
                read(body)
    assert declined.value.category == "refusal"
    with pytest.raises(Declined, match=r"Blocked\.") as declined:
        decode(message(stop="refusal", stop_details=REFUSAL))
    assert declined.value.category == "cyber"


def test_a_refusal_behind_text_keeps_the_text_and_drops_the_call():
    answer = decode(message(text("Well, "), LOOK, stop="refusal", stop_details=REFUSAL))
    assert (answer.text, answer.tool_calls, answer.finish) == ("Well, ", (), FinishReason.CONTENT_FILTER)


@pytest.mark.parametrize("content", [(), (text(" \n"),), (THINKING,), (SEARCH, FOUND)])
def test_an_empty_answer_is_a_bad_reply(content):
    with pytest.raises(BadReply, match="empty"):
        decode(message(*content))


def test_input_that_comes_whole_or_as_text_is_taken():
    start = {"type": "content_block_start", "index": 0, "content_block": LOOK}
    head, *_, late, stop = events(WHOLE)
    deltas, answer = streamed(framed(head, start, {"type": "content_block_stop", "index": 0}, late, stop))
    assert "".join(d.arguments for d in deltas) == answer.tool_calls[0].arguments == '{"at":"Firenze ☔","n":1.5}'
    assert decode(message({**LOOK, "input": '{"n": 1}'})).tool_calls[0].arguments == '{"n": 1}'
    assert decode(message({**LOOK, "input": None})).tool_calls[0].arguments == "{}"


def test_a_proxy_that_opens_no_blocks_is_understood():
    head, *_, late, stop = events(WHOLE)
    late = {**late, "delta": {"stop_reason": "end_turn"}}
    hi = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
    deltas, answer = streamed(framed(head, hi, hi, late, stop))
    assert deltas == [TextDelta("hi"), TextDelta("hi")]
    assert answer.text == "hihi"


def test_halves_of_surrogate_pairs_are_joined_or_replaced():
    head, *_, late, stop = events(WHOLE)

    def chunk(field: str, piece: str) -> bytes:
        kind = {"text": "text_delta", "partial_json": "input_json_delta"}[field]
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: piece}}
        return b"data: " + json.dumps(delta).encode() + b"\n\n"  # ASCII: the halves are escapes

    end = {"type": "content_block_stop", "index": 0}
    body = framed(head) + chunk("text", "a\ud83d") + chunk("text", "\ude00\ud83d") + framed(end, late, stop)
    deltas, answer = streamed(body)
    assert answer.text == "".join(d.text for d in deltas) == "a😀\ufffd"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", BadReply),
        (b"<html>Bad gateway</html>", BadReply),
        (b"[]", BadReply),
        (b"{}", BadReply),
        (b'{"content": NaN}', BadReply),
        (b'{"type":"message","content":[{"type":"tool_use","id":"a","name":"b","input":[1]}]}', BadReply),
        (b'{"type":"message","content":[{"type":"tool_use","id":"a","name":"b","input":{"n":1e999}}]}', BadReply),
        (b'{"type":"message","content":[{"type":"tool_use","id":"a","input":{}}]}', BadReply),
        (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', Overloaded),
        (b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}', RateLimited),
        (b"[" * 100_000, BadReply),
    ],
)
def test_what_is_no_answer_is_a_typed_error(body, error):
    with pytest.raises(error):
        decode(body)
    with pytest.raises((error, StreamBroken)):
        streamed(body)


def test_without_usage_only_a_free_model_has_a_cost():
    bare = {**message(text("hi")), "usage": None}
    assert decode(bare).usage == Usage()
    assert decode(bare).cost is None
    assert decode(bare, replace(MODEL, price=Price(0, 0))).cost == 0
    assert decode(message(text("hi")), replace(MODEL, price=None)).cost is None


@pytest.mark.parametrize(
    "error",
    [{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, {"error": "Overloaded"}],
)
def test_an_error_inside_a_stream_is_raised_behind_its_deltas(error):
    said = framed(*events(message(text("hi"))))[:-60]
    said = said[: said.rindex(b"event: message_delta")]
    decoder = CHAT.stream_decoder(ASK, HERE, NOW)
    deltas = decoder.feed(said + b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n")
    assert "".join(d.text for d in deltas) == "hi"
    with pytest.raises(ProviderError, match="Overloaded"):
        decoder.finish()


@pytest.mark.parametrize("missing", ["message_delta", "content_block_stop"])
def test_a_stream_without_its_end_is_broken(missing):
    left_out = {missing, "message_stop"}
    with pytest.raises(StreamBroken):
        streamed(framed(*(event for event in events(WHOLE) if event["type"] not in left_out)))
    if missing == "message_delta":
        with pytest.raises(StreamBroken):
            streamed(framed(*(event for event in events(WHOLE) if event["type"] != missing)))


def test_a_stop_reason_ends_an_answer_whose_message_stop_is_left_out():
    kept = [event for event in events(WHOLE) if event["type"] != "message_stop"]
    assert streamed(framed(*kept)) == streamed(framed(*kept, {"type": "ping"})) == streamed(STREAM)


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
)


def places(value: Any, path: tuple = ()) -> list[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def put(value: Any, path: tuple, new: Any) -> Any:
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


@given(st.sampled_from(places(WHOLE)), json_values)
def test_a_wrong_shape_at_any_level_is_a_typed_error_or_a_sound_answer(path, new):
    try:
        answer = decode(put(WHOLE, path, new))
    except ProviderError:
        return
    assert_sound(answer)


@given(st.sampled_from(places(events(WHOLE), ())[1:]), json_values)
@example((12, "index"), 0)
@example((3, "index"), 1)
@example((29, "index"), 8)
@example((35, "content_block", "name"), None)
@example((29, "content_block", "name"), "")
def test_a_wrong_shape_in_any_event_is_a_typed_error_or_a_sound_answer(path, new):
    changed = put(events(WHOLE), path, new)
    body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in changed)
    try:
        deltas, answer = streamed(body)
    except ProviderError:
        return
    assert_sound(answer)
    assert_told(deltas, answer)


HEAD, *_, LATE, STOP = events(WHOLE)


def begin(index: int, block: dict) -> dict:
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, kind: str, words: str) -> dict:
    return {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", FIELDS[kind]: words}}


def over(index: int) -> dict:
    return {"type": "content_block_stop", "index": index}


FIELDS = {"text": "text", "thinking": "thinking", "input_json": "partial_json", "signature": "signature"}
THOUGHT = {"type": "thinking", "thinking": "", "signature": ""}
CALL = {**LOOK, "input": {}}


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        (
            [begin(0, text("")), begin(1, text("")), *(piece(i, "text", w) for i, w in [(0, "a"), (1, "b"), (0, "c")])],
            (Text("abc"),),
        ),
        ([begin(0, text("")), piece(0, "text", "a"), begin(0, text("b")), piece(0, "text", "c")], (Text("abc"),)),
        ([begin(0, text("a")), over(0), piece(0, "text", "b"), piece(7, "text", "c")], (Text("abc"),)),
        (
            [begin(0, text("a\ud83d")), begin(1, text("b")), piece(0, "text", "\ude00")],
            (Text("a\ufffdb\ufffd"),),
        ),
        (
            [
                *(begin(0, THOUGHT), piece(0, "thinking", "a"), piece(1, "text", "b")),
                *(piece(0, "thinking", "c"), piece(0, "signature", "s")),
            ],
            (Reasoning("a", None, "here/m"), Text("b"), Reasoning("c", None, "here/m")),
        ),
        (
            [begin(0, THOUGHT), piece(0, "thinking", "a"), piece(0, "signature", "s"), begin(1, text("b"))],
            (Reasoning("a", "s", "here/m"), Text("b")),
        ),
        (
            [
                *(begin(0, CALL), begin(1, {**CALL, "id": "b"})),
                *(piece(0, "input_json", "{"), piece(1, "input_json", "{")),
                *(piece(0, "input_json", '"n":1}'), piece(1, "input_json", "}")),
            ],
            (ToolCall("toolu_1", "look", '{"n":1}'), ToolCall("b", "look", "{}")),
        ),
        ([begin(0, text("a")), begin(1, LOOK)], (Text("a"), ANSWER[3])),
        ([begin(0, LOOK), begin(0, NOTHING)], ANSWER[3:]),
        (
            [begin(0, LOOK), over(0), begin(1, {**NOTHING, "id": "toolu_1"})],
            (ANSWER[3], ToolCall("toolu_1_1", "now", "{}")),
        ),
    ],
)
def test_blocks_that_share_an_index_or_interleave_are_told_in_the_order_in_which_they_come(chunks, parts):
    body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in [HEAD, *chunks, LATE, STOP])
    deltas, answer = streamed(body)
    assert answer.message.parts == parts
    assert_told(deltas, answer)


@pytest.mark.parametrize(
    "chunks",
    [
        [begin(0, CALL), begin(0, CALL), piece(0, "input_json", "{}")],
        [begin(0, CALL), piece(1, "input_json", '{"n":1}')],
        [begin(0, CALL), over(0), piece(0, "input_json", '{"n":1}')],
    ],
)
def test_a_call_whose_arguments_cannot_be_told_breaks_the_stream(chunks):
    with pytest.raises(StreamBroken):
        streamed(framed(HEAD, *chunks, LATE, STOP))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["text", "thinking", "call", "over", "a", "b", "\ud83d"])))
)
def test_whatever_the_order_of_blocks_the_deltas_are_the_answer(steps):
    chunks, kinds = [], {}
    for at, (index, step) in enumerate(steps):
        match step:
            case "over":
                chunks.append(over(index))
            case "text" | "thinking" | "call":
                kinds[index] = "input_json" if step == "call" else step
                block = {"text": text(""), "thinking": THOUGHT, "call": {**CALL, "id": f"c{at}"}}[step]
                chunks.append(begin(index, block))
            case words:
                chunks.append(piece(index, kinds.get(index, "text"), words))
    body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in [HEAD, *chunks, LATE, STOP])
    try:
        deltas, answer = streamed(body)
    except ProviderError:
        return
    assert_told(deltas, answer)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_garbage_is_a_typed_error(head, tail):
    for body in (head, STREAM[:300] + head, b"data: " + head + b"\n\n" + tail):
        with pytest.raises(ProviderError):
            streamed(body)


def assert_sound(answer: Response) -> None:
    assert answer.text.strip() or answer.tool_calls
    assert all(call.id and call.name for call in answer.tool_calls)
    assert (answer.finish is FinishReason.TOOL_CALLS) <= bool(answer.tool_calls)
    figures = answer.usage
    assert min(figures.input, figures.cache_read, figures.cache_write, figures.output, figures.reasoning) >= 0
    json.dumps([part.text for part in answer.message.parts if isinstance(part, Text)], ensure_ascii=False).encode()
