"""Whatever generateContent answers, whole or streamed, ends as an answer or as one of our errors."""

from __future__ import annotations

import copy
import json
import math
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.adapters.gemini.encode import Gemini
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.errors import (
    AuthFailed,
    BadReply,
    Declined,
    Overloaded,
    ProviderError,
    RateLimited,
    ServerFault,
    StreamBroken,
    Unsupported,
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

NOW = 1_800_000_000.0
MODEL = Model("gemini-x", context=8000, max_output=1000, price=Price(1.0, 2.0, cache_read=0.1))
GEMINI = Gemini()
ASK = Request((user("hi"),))


def candidate(model: Model = MODEL) -> Candidate:
    return Candidate(Provider("home", "gemini", "https://api.test/v1beta", "KEY", {model.name: model}), model, "key")


def chunk(*parts: dict, finish: str | None = "STOP", **more) -> dict:
    found = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    return {"candidates": [{**found, "finishReason": finish} if finish else found], **more}


def call(name: str = "look", args: object = None, **more) -> dict:
    return {"functionCall": {"name": name, "args": {} if args is None else args, **more}}


def decode(body: object, who: Candidate | None = None, request: Request = ASK):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return GEMINI.decode(HttpReply(200, {}, data), request, who or candidate(), NOW)


def sse(*chunks: dict, end: bytes = b"\r\n\r\n") -> bytes:
    return b"".join(b"data: " + json.dumps(each, ensure_ascii=False).encode() + end for each in chunks)


def stream(*pieces: bytes):
    """Return the deltas and the answer. Raises what the decoder raises."""
    decoder = GEMINI.stream_decoder(ASK, candidate(), NOW)
    deltas = [delta for piece in pieces for delta in decoder.feed(piece)]
    return deltas, decoder.finish()


# --- whole answers


def test_text_thoughts_and_calls_keep_their_order_and_their_signatures():
    answer = decode(
        chunk(
            {"text": "pl", "thought": True},
            {"text": "an", "thought": True, "thoughtSignature": "T"},
            {"text": "I "},
            {"text": "look.", "thoughtSignature": "S"},
            {**call(args={"at": "é"}), "thoughtSignature": "C"},
            call(id="own"),
            {"executableCode": {"code": "1"}},
        )
    )
    first, second = answer.tool_calls
    assert answer.message.parts == (
        Reasoning("plan", "T", "home/gemini-x"),
        Text("I look."),
        Reasoning("", "S", "home/gemini-x"),
        ToolCall(first.id, "look", '{"at":"é"}', "C", "home/gemini-x"),
        ToolCall("own", "look", "{}", None, "home/gemini-x"),
    )
    assert second.parse() == {}
    assert (answer.finish, answer.provider, answer.model) == (FinishReason.TOOL_CALLS, "home", "gemini-x")


def test_ids_are_made_up_the_same_for_the_same_reply_and_differ_between_calls_and_turns():
    body = chunk(call(), call(), call(id="x"), call(id="x"), responseId="r1")
    ids = [each.id for each in decode(body).tool_calls]
    assert ids == [each.id for each in decode(body).tool_calls]
    assert len(set(ids)) == 4
    assert ids[2] == "x"
    later = decode(body, request=Request((user("hi"), user("there")))).tool_calls
    assert {each.id for each in later} & set(ids) == {"x"}
    assert all(each.made_by is None for each in decode(chunk(call())).tool_calls)


def test_usage_is_a_disjoint_ledger_that_sums_to_the_total():
    raw = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 30,
        "toolUsePromptTokenCount": 7,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 11,
        "totalTokenCount": 123,
    }
    answer = decode(chunk({"text": "x"}, usageMetadata=raw))
    assert answer.usage == Usage(input=77, cache_read=30, output=5, reasoning=11)
    assert answer.usage.total == raw["totalTokenCount"]
    assert answer.cost == math.ceil(77 + 3 + 32)
    del raw["candidatesTokenCount"]
    assert decode(chunk({"text": "x"}, usageMetadata=raw)).usage == answer.usage


@pytest.mark.parametrize(
    "usage",
    [
        {"promptTokenCount": -1},
        {"promptTokenCount": "1", "candidatesTokenCount": "2"},
        {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 1e300},
        {"promptTokenCount": 4, "candidatesTokenCount": 2, "cachedContentTokenCount": 9},
        {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 3},
        {"promptTokenCount": 4},
        {"candidatesTokenCount": 4},
        [],
        [4],
        "4",
    ],
)
def test_a_usage_that_cannot_be_is_unknown_and_the_answer_stays(usage):
    answer = decode(chunk({"text": "x"}, usageMetadata=usage))
    assert (answer.text, answer.usage, answer.cost) == ("x", Usage(), None)


def test_without_usage_the_cost_is_unknown_unless_free():
    assert decode(chunk({"text": "x"})).cost is None
    assert decode(chunk({"text": "x"}), candidate(replace(MODEL, price=Price(0, 0)))).cost == 0
    assert decode(chunk({"text": "x"}), candidate(replace(MODEL, price=None))).cost is None


@pytest.mark.parametrize(
    ("finish", "parts", "expected"),
    [
        ("STOP", [{"text": "x"}], FinishReason.STOP),
        ("STOP", [call()], FinishReason.TOOL_CALLS),
        ("MAX_TOKENS", [{"text": "x"}], FinishReason.LENGTH),
        ("SAFETY", [{"text": "half"}], FinishReason.CONTENT_FILTER),
        ("RECITATION", [{"text": "half"}], FinishReason.CONTENT_FILTER),
        ("SOMETHING_NEW", [{"text": "half"}], FinishReason.LENGTH),
    ],
)
def test_finish_reasons_become_ours(finish, parts, expected):
    assert decode(chunk(*parts, finish=finish)).finish is expected


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"])
@pytest.mark.parametrize("content", [{}, {"content": {}}, {"content": {"role": "model"}}, {"content": None}])
def test_a_withheld_answer_is_declined_with_its_category(reason, content):
    with pytest.raises(Declined) as failed:
        decode({"candidates": [{**content, "finishReason": reason, "finishMessage": "why"}]})
    assert failed.value.category == reason.lower()
    assert "why" in failed.value.message


@pytest.mark.parametrize("more", [{}, {"candidates": []}, {"usageMetadata": {"promptTokenCount": 4}}])
def test_a_refused_prompt_is_declined(more):
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **more}
    for ask in (lambda: decode(body), lambda: stream(sse(body))):
        with pytest.raises(Declined) as failed:
            ask()
        assert failed.value.category == "prohibited_content"


def test_a_refusal_behind_what_was_said_leaves_a_withheld_rest():
    refused = {"promptFeedback": {"blockReason": "OTHER"}}
    rated = {"promptFeedback": {"safetyRatings": []}}
    answer = stream(sse(chunk({"text": "half"}, finish=None), refused, rated))[1]
    assert (answer.text, answer.finish) == ("half", FinishReason.CONTENT_FILTER)


def test_a_prompt_that_was_only_rated_is_answered():
    assert decode(chunk({"text": "x"}, promptFeedback={"safetyRatings": []})).text == "x"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("MALFORMED_FUNCTION_CALL", BadReply),
        ("UNEXPECTED_TOOL_CALL", BadReply),
        ("TOO_MANY_TOOL_CALLS", BadReply),
        ("MALFORMED_RESPONSE", BadReply),
        ("OTHER", BadReply),
        ("MISSING_THOUGHT_SIGNATURE", Unsupported),
        ("FINISH_REASON_UNSPECIFIED", BadReply),
        (None, BadReply),
    ],
)
def test_an_answer_that_broke_off_is_never_taken_for_whole(reason, kind):
    with pytest.raises(kind):
        decode(chunk({"text": "I will now"}, finish=reason))


def test_a_language_that_the_model_lacks_is_for_another_model():
    with pytest.raises(Unsupported):
        decode(chunk(finish="LANGUAGE"))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"candidates": []},
        chunk(),
        chunk({"text": ""}),
        chunk({"text": " \n"}),
        chunk({"text": "only thought", "thought": True}, finish="MAX_TOKENS"),
        chunk({"functionCall": {"args": {}}}),
        chunk({"functionCall": {"name": ""}}),
        chunk(call(args=[1])),
        chunk({"text": 1}),
        chunk({"text": "x", "thoughtSignature": 1}),
        {"candidates": {"content": 1}},
        {"candidates": ["x"]},
        {"candidates": [{"content": {"parts": {"text": "x"}}, "finishReason": "STOP"}]},
        [],
        [1],
        "x",
        b"",
        b"<html>502</html>",
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":NaN}}}]},"finishReason":"STOP"}]}',
        b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1e999}}}]},"finishReason":"STOP"}]}',
        b'{"candidates":' + b"[" * 100_000,
        b'{"candidates":[],"usageMetadata":{"promptTokenCount":' + b"9" * 5000 + b"}}",
    ],
)
def test_what_is_no_answer_is_a_bad_reply(body):
    with pytest.raises(BadReply):
        decode(body)


def test_an_error_under_status_200_is_that_error():
    with pytest.raises(RateLimited) as failed:
        decode({"error": {"code": 429, "message": "slow", "details": [{"retryDelay": "7s"}]}})
    assert failed.value.retry_at == NOW + 7
    with pytest.raises(AuthFailed):
        decode([{"error": {"status": "UNAUTHENTICATED", "message": "no"}}])


def test_text_is_made_safe():
    halves = rb'{"text":"\ud83d\u0000a"},{"text":"\ud83d\ude00"}'
    parts = halves + rb',{"functionCall":{"name":"f\u0000","args":{"k\ud800":"\ud83d"}}}'
    answer = decode(b'{"candidates":[{"content":{"parts":[%s]},"finishReason":"STOP"}]}' % parts)
    assert answer.text == "\ufffda😀"
    assert answer.tool_calls[0].name == "f"
    assert answer.tool_calls[0].parse() == {"k\ufffd": "\ufffd"}


# --- streams

LIVE = sse(
    chunk({"text": "**Hm**", "thought": True}, finish=None, usageMetadata={"promptTokenCount": 4}, responseId="r"),
    chunk({"text": "Grüße, "}, finish=None),
    chunk({"text": "שלום 👩‍👩‍👧‍👦!"}, finish=None),
    chunk({**call(args={"at": "é"}), "thoughtSignature": "C"}, finish=None),
    chunk(
        {"text": "", "thoughtSignature": "S"},
        usageMetadata={"promptTokenCount": 4, "candidatesTokenCount": 6, "totalTokenCount": 10},
    ),
)


def test_a_stream_says_what_the_whole_answer_would():
    deltas, answer = stream(LIVE)
    made_up = answer.tool_calls[0]
    assert deltas == [
        ReasoningDelta("**Hm**"),
        TextDelta("Grüße, "),
        TextDelta("שלום 👩‍👩‍👧‍👦!"),
        ToolCallDelta(0, made_up.id, "look", '{"at":"é"}'),
    ]
    assert answer.message.parts == (
        Reasoning("**Hm**", None, "home/gemini-x"),
        Text("Grüße, שלום 👩‍👩‍👧‍👦!"),
        ToolCall(made_up.id, "look", '{"at":"é"}', "C", "home/gemini-x"),
        Reasoning("", "S", "home/gemini-x"),
    )
    assert answer.usage == Usage(input=4, output=6)
    assert answer.finish is FinishReason.TOOL_CALLS


ARRAY = b"[" + b",\r\n".join(line[6:] for line in LIVE.split(b"\r\n") if line) + b"]"
FRAMINGS = [
    LIVE,
    LIVE.replace(b"\r\n", b"\n"),
    b"\xef\xbb\xbf" + LIVE,
    LIVE + b"data: [DONE]\n\n",
    b": hi\r\n\r\n" + LIVE,
]
FRAMINGS += [ARRAY, b" \n" + ARRAY, ARRAY[1:-1].replace(b",\r\n{", b"\n{")]


@pytest.mark.parametrize("body", FRAMINGS)
def test_any_framing_in_any_pieces_is_the_same(body):
    expected = stream(LIVE)
    assert stream(body) == expected
    assert stream(*(body[i : i + 1] for i in range(len(body)))) == expected


@given(st.sampled_from(FRAMINGS), st.lists(st.integers(0, len(LIVE)), max_size=12))
def test_any_pieces_are_the_same(body, cuts):
    pieces = [body[a:b] for a, b in pairwise([0, *sorted(cuts), len(body)])]
    assert stream(*pieces) == stream(LIVE)


@pytest.mark.parametrize("body", [LIVE, ARRAY])
def test_a_stream_that_is_cut_is_whole_or_broken(body):
    whole = stream(LIVE)[1]
    ends = set()
    for at in range(len(body)):
        try:
            assert stream(body[:at])[1] == whole
        except (StreamBroken, BadReply) as error:
            ends.add(type(error))
    assert StreamBroken in ends


def test_a_pair_of_surrogates_may_be_split_between_chunks():
    halves = [
        b'data: {"candidates":[{"content":{"parts":[{"text":"%s"}]}}]}\n\n' % half
        for half in (rb"a\ud83d", rb"\ude00b")
    ]
    deltas, answer = stream(*halves, sse(chunk()))
    assert answer.text == "a😀b" == "".join(delta.text for delta in deltas)


@given(
    st.lists(
        st.sampled_from(
            [
                {"text": "a"},
                {"text": "\ud83d"},
                {"text": "\ude00", "thought": True},
                {"text": "\ud83d", "thought": True},
                {"text": "", "thoughtSignature": "S"},
                {"functionCall": {"name": "f", "id": "x", "args": {"k": "\ud83d"}}},
            ]
        ),
        max_size=8,
    )
)
@example([{"text": "a\ud83d"}, {"text": "b", "thought": True}, {"text": "c"}])
@example([{"text": "a\ud83d"}, {"functionCall": {"name": "f"}}, {"text": "c"}])
def test_whatever_the_order_of_parts_the_deltas_are_the_answer(parts):
    chunks = [chunk(part, finish=None) for part in parts] + [chunk({"text": "."})]
    deltas, answer = stream(b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks))
    assert_told(deltas, answer)


def test_an_error_inside_a_stream_comes_after_what_was_said():
    overloaded = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    decoder = GEMINI.stream_decoder(ASK, candidate(), NOW)
    assert decoder.feed(sse(chunk({"text": "a"}, finish=None), overloaded)) == [TextDelta("a")]
    for again in (decoder.finish, lambda: decoder.feed(b"")):
        with pytest.raises(Overloaded):
            again()
    with pytest.raises(ServerFault):
        stream(json.dumps([{"error": {"code": 500, "message": "Internal"}}]).encode())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", StreamBroken),
        (b" \r\n", StreamBroken),
        (b": ping\n\n", StreamBroken),
        (b"[]", StreamBroken),
        (b"<html>502</html>", BadReply),
        (b"data: {\n\n", BadReply),
        (b"data: 1\n\n", BadReply),
        (b"[{]}", BadReply),
        (sse({"usageMetadata": {}}), StreamBroken),
        (sse(chunk({"text": "half"}, finish=None)), StreamBroken),
    ],
)
def test_what_is_no_stream_is_one_of_our_errors(body, kind):
    with pytest.raises(kind):
        stream(body)


def test_an_object_without_end_does_not_fill_the_memory():
    decoder = GEMINI.stream_decoder(ASK, candidate(), NOW)
    megabyte = b'{"a":"' + b"x" * 2**20
    with pytest.raises(BadReply):
        any(decoder.feed(megabyte) for _ in range(40))


# --- anything at all

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SOUND = chunk(
    {"text": "a", "thought": True},
    {"text": "b", "thoughtSignature": "S"},
    call(args={"a": 1}, id="x"),
    usageMetadata={"promptTokenCount": 4, "candidatesTokenCount": 1, "cachedContentTokenCount": 1},
    promptFeedback={"blockReason": "SAFETY", "safetyRatings": [{"category": "x"}]},
    error={
        "code": 429,
        "message": "m",
        "status": "s",
        "details": [{"retryDelay": "1s", "violations": [{"quotaId": "q"}]}],
    },
    responseId="r",
)


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def put(body, path, value):
    if not path:
        return value
    body = copy.deepcopy(body)
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return body


WITHOUT_ERROR = {key: value for key, value in SOUND.items() if key != "error"}


@given(st.sampled_from([(b, p) for b in (SOUND, WITHOUT_ERROR) for p in places(b)]), json_values)
def test_a_wrong_shape_anywhere_ends_in_an_answer_or_one_of_our_errors(place, value):
    body = put(*place, value)
    data = json.dumps(body).encode()
    with suppress(ProviderError):
        decode(data)
    with suppress(ProviderError):
        stream(b"data: " + data + b"\r\n\r\n")
    with suppress(ProviderError):
        stream(data)
    error = GEMINI.classify(HttpReply(429, {}, data), candidate(), NOW)
    assert error.message
    assert error.retry_at is None or NOW <= error.retry_at <= NOW + 31 * 86400


@given(st.binary(max_size=60) | st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_end_in_one_of_our_errors(body):
    with pytest.raises(ProviderError):
        decode(body)
    with pytest.raises(ProviderError):
        stream(body)
