"""The generateContent dialect: what is sent."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters import HttpReply
from providers.adapters.gemini.encode import BEGIN, CONTINUE, Gemini
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.catalog.quirks import Quirks
from providers.documents.unicode import clean
from providers.errors import AuthFailed, Unsupported
from providers.messages import (
    Image,
    Message,
    OutputSchema,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    assistant,
    system,
    tool,
    user,
)

MODEL = Model("gemini-x", context=8000, max_output=1000, price=Price(1.0, 2.0))
GEMINI = Gemini()
ASK = Request((user("hi"),))
SHAPE = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
STAND_IN = "skip_thought_signature_validator"


def candidate(model: Model = MODEL, key: str | None = "AIza-secret", **quirks) -> Candidate:
    provider = Provider("home", "gemini", "https://api.test/v1beta/", "KEY", {model.name: model}, Quirks(**quirks))
    return Candidate(provider, model, key)


def sent(request: Request, **quirks) -> dict:
    return json.loads(GEMINI.encode(request, candidate(**quirks), stream=False).body)


def contents(*transcript: Message, **quirks) -> list:
    return sent(Request(transcript), **quirks)["contents"]


def said(text: str) -> dict:
    return {"role": "user", "parts": [{"text": text}]}


def test_a_request_names_model_place_and_key():
    http = GEMINI.encode(ASK, candidate(extra_headers={"x-title": "squad"}), stream=False)
    assert (http.method, http.url) == ("POST", "https://api.test/v1beta/models/gemini-x:generateContent")
    assert http.headers["x-goog-api-key"] == "AIza-secret"
    assert http.headers["x-title"] == "squad"
    assert json.loads(http.body) == {"contents": [said("hi")]}
    assert "secret" not in repr(http)
    streamed = GEMINI.encode(ASK, candidate(), stream=True)
    assert streamed.url == "https://api.test/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
    assert streamed.headers["accept"] == "text/event-stream"
    assert streamed.body == http.body


def test_a_model_may_name_its_collection_and_nothing_else_of_the_address():
    tuned = GEMINI.encode(ASK, candidate(replace(MODEL, name="tunedModels/mine")), stream=False)
    assert tuned.url == "https://api.test/v1beta/tunedModels/mine:generateContent"
    odd = GEMINI.encode(ASK, candidate(replace(MODEL, name="x?key=1#y")), stream=False)
    assert odd.url == "https://api.test/v1beta/models/x%3Fkey%3D1%23y:generateContent"


def test_the_key_is_optional_and_must_be_one():
    assert "x-goog-api-key" not in GEMINI.encode(ASK, candidate(key=None), stream=False).headers
    with pytest.raises(AuthFailed):
        GEMINI.encode(ASK, candidate(key="AIza\nb"), stream=False)


def test_all_that_a_request_may_ask_for():
    request = Request(
        (system("be brief"), user("hi"), system("be kind")),
        tools=(ToolSpec("add", "adds", SHAPE),),
        tool_choice="add",
        output_schema=OutputSchema(SHAPE),
        max_output_tokens=5000,
        temperature=0.5,
        stop=("END", ""),
        seed=2**31 + 7,
    )
    assert sent(request) == {
        "systemInstruction": {"parts": [{"text": "be brief"}, {"text": "be kind"}]},
        "contents": [said("hi")],
        "tools": [{"functionDeclarations": [{"name": "add", "description": "adds", "parametersJsonSchema": SHAPE}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["add"]}},
        "generationConfig": {
            "maxOutputTokens": 1000,  # the model's own cap
            "temperature": 0.5,
            "stopSequences": ["END"],
            "seed": 7,
            "responseMimeType": "application/json",
            "responseJsonSchema": SHAPE,
        },
    }


def test_quirks_change_what_is_sent():
    request = Request((user("hi"),), temperature=1.0)
    assert sent(request, sampling=False, default_max_tokens=400)["generationConfig"] == {"maxOutputTokens": 400}


@pytest.mark.parametrize(("mode", "config"), [("object", {"responseMimeType": "application/json"}), ("prompt", None)])
def test_a_schema_that_the_model_does_not_take_is_asked_for_in_words(mode, config):
    body = sent(Request((system("s"), user("hi")), output_schema=OutputSchema(SHAPE)), json_mode=mode)
    first, second = body["systemInstruction"]["parts"]
    assert first == {"text": "s"}
    assert json.loads(second["text"].partition("\n")[2]) == SHAPE
    assert body.get("generationConfig") == config


@pytest.mark.parametrize(("choice", "mode"), [("none", "NONE"), ("required", "ANY")])
def test_tool_choice_by_word(choice, mode):
    body = sent(Request((user("x"),), tools=(ToolSpec("f", ""),), tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": mode}}


def test_what_the_dialect_cannot_say_is_refused():
    for request in (
        Request((user("x"),), tools=(ToolSpec("f", ""),), tool_choice="g"),
        Request((user("x"),), stop=tuple("abcdef")),
        Request((Message("system", (Image("image/png", b"x"),)), user("x"))),
    ):
        with pytest.raises(Unsupported):
            sent(request)
    assert "toolConfig" not in sent(Request((user("x"),), tool_choice="required"))


def test_images_go_in_line():
    parts = contents(Message("user", (Image("image/png", b"\xfb\xff"), Text("what is it?"))))[0]["parts"]
    assert parts == [{"inlineData": {"mimeType": "image/png", "data": "+/8="}}, {"text": "what is it?"}]


def test_turns_alternate_and_begin_and_end_with_the_user():
    got = contents(assistant("a"), assistant("b"), user("c", name="Ann"), user("d"), assistant("e"))
    assert got == [
        said(BEGIN),
        {"role": "model", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "user", "parts": [{"text": "Ann: c"}, {"text": "d"}]},
        {"role": "model", "parts": [{"text": "e"}]},
        said(CONTINUE),
    ]


def test_what_says_nothing_is_left_out():
    empty = [user(""), Message("user", ()), assistant(), assistant(Reasoning("hm", made_by="other")), assistant("")]
    assert contents(user("a"), *empty, user("b")) == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]
    assert contents(*empty) == contents() == [said(BEGIN)]
    assert sent(Request((system(""), user("x")))) == {"contents": [said("x")]}


CALLS = assistant("let me see", ToolCall("1", "look", '{"at":"é"}'), ToolCall("2", "look", "{}"))


def response(name: str, **outcome: str) -> dict:
    return {"functionResponse": {"name": name, "response": outcome}}


def test_results_stand_in_the_order_of_their_calls():
    got = contents(
        user("go"),
        CALLS,
        tool(ToolResult("2", "other name", "two")),
        tool(ToolResult("1", "look", "one", is_error=True)),
    )
    assert got[1]["parts"][1:] == [
        {"functionCall": {"name": "look", "args": {"at": "é"}}},
        {"functionCall": {"name": "look", "args": {}}},
    ]
    assert got[2] == {"role": "user", "parts": [response("look", error="one"), response("look", output="two")]}


def test_calls_without_an_answer_get_one_and_results_without_a_call_become_text():
    lost = {"error": "(no result: the call was not carried out)"}
    twice = tool(ToolResult("1", "look", "one"), ToolResult("1", "look", "again"), ToolResult("9", "", "stray"))
    assert contents(user("go"), CALLS, user("well?"), twice, assistant("so"))[2] == {
        "role": "user",
        "parts": [
            response("look", output="one"),
            response("look", **lost),
            {"text": "well?"},
            {"text": "result of look: again"},
            {"text": "result of a tool: stray"},
        ],
    }
    assert contents(user("go"), CALLS)[2]["parts"] == [response("look", **lost)] * 2
    late = contents(user("go"), CALLS, user("a"), assistant("b"), tool(ToolResult("1", "look", "late")))
    assert late[-1] == said("result of look: late")


@pytest.mark.parametrize("arguments", ["nope", "[1]", '{"a":NaN}', '{"a":1e999}', '"x"', "[" * 5000, '{"a":' * 5000])
def test_arguments_that_are_no_object_still_go_out(arguments):
    got = contents(user("go"), assistant(ToolCall("1", "f", arguments)))
    assert got[1]["parts"] == [{"functionCall": {"name": "f", "args": {"arguments": arguments}}}]


def test_signatures_go_back_to_their_maker_on_the_part_they_came_with():
    mine = assistant(
        Reasoning("hm", opaque="T", made_by="home/gemini-x"),
        "text",
        Reasoning("", opaque="S", made_by="home/gemini-x"),
        ToolCall("local_1", "f", "{}", opaque="C", made_by="home/gemini-x"),
        ToolCall("fc-2", "f", "{}", made_by="home/gemini-x"),
    )
    assert contents(user("go"), mine, stand_in_signature=STAND_IN)[1]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "T"},
        {"text": "text", "thoughtSignature": "S"},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "C"},
        {"functionCall": {"id": "fc-2", "name": "f", "args": {}}},
    ]
    answers = contents(user("go"), mine, tool(ToolResult("fc-2", "f", "x"), ToolResult("local_1", "f", "y")))[2]
    assert [part["functionResponse"].get("id") for part in answers["parts"]] == [None, "fc-2"]


def test_foreign_history_gets_the_documented_stand_in_where_the_vendor_needs_one():
    foreign = assistant(
        Reasoning("hm", opaque="T", made_by="other"),
        ToolCall("toolu_1", "f", "{}", opaque="C", made_by="other"),
        ToolCall("toolu_2", "f", "{}"),
    )
    bare = {"functionCall": {"name": "f", "args": {}}}
    assert contents(user("go"), foreign)[1]["parts"] == [bare, bare]
    assert contents(user("go"), foreign, stand_in_signature=STAND_IN)[1]["parts"] == [
        {**bare, "thoughtSignature": STAND_IN},
        bare,
    ]


def test_a_lonely_signature_is_dropped():
    odd = assistant(
        Reasoning("", opaque="S", made_by="home/gemini-x"), "text", Reasoning("only", made_by="home/gemini-x")
    )
    assert contents(user("go"), odd)[1]["parts"] == [{"text": "text"}, {"text": "only", "thought": True}]
    assert contents(user("go"), assistant(Reasoning("only", made_by="home/gemini-x"))) == [said("go")]
    behind = assistant(ToolCall("1", "f", "{}"), Reasoning("", opaque="S", made_by="home/gemini-x"))
    assert contents(user("go"), behind)[1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]


def test_a_call_without_a_signature_digests_as_it_always_did():
    plain = assistant(ToolCall("1", "f", "{}"))
    assert plain.digest.hex() == "c85755d8107bba204ae45ba7be2e330c267eefb3a0c71dcdc6ef651f62251f12"
    signed = [assistant(ToolCall("1", "f", "{}", opaque, "home/gemini-x")) for opaque in (None, "A", "B")]
    assert len({plain.digest, *(message.digest for message in signed)}) == 4


def test_a_message_is_encoded_once_for_each_maker():
    message = assistant("x", Reasoning("", opaque="S", made_by="home/gemini-x"))
    for _ in range(2):
        assert contents(user("go"), message)[1]["parts"] == [{"text": "x", "thoughtSignature": "S"}]
        elsewhere = replace(candidate(), provider=replace(candidate().provider, name="away"))
        body = GEMINI.encode(Request((user("go"), message)), elsewhere, stream=False).body
        assert json.loads(body)["contents"][1]["parts"] == [{"text": "x"}]
    made = []
    message.memo("gemini None home/gemini-x", made.append)
    assert made == []


def test_the_catalog_row_speaks_it():
    row = load_catalog().providers["gemini"]
    assert (row.dialect, row.quirks.stand_in_signature) == ("gemini", STAND_IN)
    http = GEMINI.encode(ASK, Candidate(row, row.models["gemini-3.8-flash"], "k"), stream=False)
    host = "https://generativelanguage.googleapis.com/v1beta"
    assert http.url == f"{host}/models/gemini-3.8-flash:generateContent"


# Any transcript at all, also one that began at another vendor: each text is a word of its own, so that what was lost or
# said twice is found by counting.

ids = st.sampled_from(["call_1", "call_2", "toolu_01", "local_ab", "", "\ud800"])
makers = st.sampled_from([None, "home/gemini-x", "anthropic"])
names = st.sampled_from(["look", "add", "\x00"])
arguments = st.sampled_from(["{}", '{"a": 1}', '{"b": "\\ud83d"}', "broken", "[]", ""])
opaques = st.sampled_from([None, "", "SIGNATURE"])


@st.composite
def transcripts(draw) -> list[Message]:
    count = iter(range(10_000))

    def word() -> str:
        return draw(st.sampled_from(["", "w{}.", "é{}.\ud83d", "<{}>\x00", " "])).format(next(count))

    def part(kind: str):
        match kind:
            case "text":
                return Text(word())
            case "thought":
                return Reasoning(word(), draw(opaques), draw(makers))
            case "call":
                return ToolCall(draw(ids), draw(names), draw(arguments), draw(opaques), draw(makers))
            case "result":
                return ToolResult(draw(ids), draw(names), word(), draw(st.booleans()))
        return Image("image/png", draw(st.sampled_from([b"", b"x"])))

    def message() -> Message:
        role = draw(st.sampled_from(["system", "user", "assistant", "assistant", "tool", "tool"]))
        kinds = ["text", "thought", "call", "result"] + ["image"] * (role != "system")
        parts = [part(kind) for kind in draw(st.lists(st.sampled_from(kinds), max_size=4))]
        return Message(role, tuple(parts), draw(st.sampled_from([None, "Ann"])))

    return [message() for _ in range(draw(st.integers(0, 8)))]


@given(transcripts(), st.sampled_from([None, STAND_IN]))
def test_any_transcript_becomes_a_valid_request(transcript, stand_in):
    body = sent(Request(tuple(transcript)), stand_in_signature=stand_in)
    turns = body["contents"]
    assert [turn["role"] for turn in turns] == ["user", "model"] * (len(turns) // 2) + ["user"]
    for turn in [*turns, body.get("systemInstruction", {"parts": ["it may be missing"]})]:
        assert turn["parts"]
        assert all(part != {} and part.get("text") != "" for part in turn["parts"] if isinstance(part, dict))
    asked: list[dict] = []
    for turn in turns:
        answers = [part["functionResponse"] for part in turn["parts"] if "functionResponse" in part]
        assert [(a["name"], a.get("id")) for a in answers] == [(c["name"], c.get("id")) for c in asked]
        assert turn["parts"][: len(answers)] == [{"functionResponse": answer} for answer in answers]
        calls = [part for part in turn["parts"] if "functionCall" in part]
        assert not (calls and turn["role"] == "user")
        assert not (calls and stand_in) or calls[0]["thoughtSignature"]
        asked = [part["functionCall"] for part in calls]
        assert all(isinstance(call["args"], dict) and call["name"] for call in asked)
    assert not asked


@given(transcripts())
def test_nothing_said_is_lost_or_said_twice(transcript):
    body = json.dumps(sent(Request(tuple(transcript))), ensure_ascii=False)
    for message in transcript:
        for part in message.parts:
            if isinstance(part, Text) and part.text.strip():
                assert body.count(clean(part.text)) == 1
            if isinstance(part, ToolResult) and part.content.strip():
                assert body.count(clean(part.content)) == 1
    calls = sum(len(message.tool_calls) for message in transcript)
    assert body.count('"functionCall"') + body.count("call of ") == calls


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
def test_every_string_that_leaves_is_clean(text, other):
    request = Request(
        (system(text), user(text, other or None), assistant(text, ToolCall("1", other, json.dumps({other: text})))),
        tools=(ToolSpec(other, text, {"type": "object", "description": text}),),
        stop=(text,),
    )
    body = json.loads(GEMINI.encode(request, candidate(), stream=False).body.decode())

    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key, item in value.items():
                yield key
                yield from strings(item)
        elif isinstance(value, list):
            for item in value:
                yield from strings(item)

    assert all(clean(each) == each for each in strings(body))


def test_an_answer_and_its_signatures_survive_the_round_trip():
    """What the endpoint sent goes back to it byte for byte, and to no other."""
    parts = [
        {"text": "plan", "thought": True},
        {"text": "I look.", "thoughtSignature": base64.b64encode(b"1").decode()},
        {"functionCall": {"name": "look", "args": {"at": "x"}}, "thoughtSignature": base64.b64encode(b"2").decode()},
        {"functionCall": {"id": "own", "name": "look", "args": {}}},
    ]
    reply = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}
    answer = GEMINI.decode(HttpReply(200, {}, json.dumps(reply).encode()), ASK, candidate(), 0.0)
    assert contents(user("hi"), answer.message)[1]["parts"] == parts
