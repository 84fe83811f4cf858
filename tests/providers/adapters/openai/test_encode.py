"""The Chat Completions dialect: what is sent."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Price, Provider
from providers.catalog.quirks import Quirks
from providers.documents.unicode import clean
from providers.errors import (
    AuthFailed,
    Unsupported,
)
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

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
MODEL = Model("small-1", context=8000, max_output=1000, price=Price(1.0, 2.0))
CHAT = OpenAIChat()
ASK = Request((user("hi"),))
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def candidate(model: Model = MODEL, key: str | None = "sk-secret", **quirks) -> Candidate:
    provider = Provider(
        "vendor", "openai-chat", "https://api.test/v1/", "KEY", {model.name: model}, quirks=Quirks(**quirks)
    )
    return Candidate(provider, model, key)


def sent(request: Request, stream: bool = False, **quirks) -> dict:
    return json.loads(CHAT.encode(request, candidate(**quirks), stream=stream).body)


def messages(*transcript: Message, **quirks) -> list:
    return sent(Request(transcript), **quirks)["messages"]


def test_a_request_names_model_place_and_key():
    http = CHAT.encode(ASK, candidate(extra_headers={"x-title": "squad"}), stream=False)
    assert (http.method, http.url) == ("POST", "https://api.test/v1/chat/completions")
    assert http.headers["authorization"] == "Bearer sk-secret"
    assert http.headers["x-title"] == "squad"
    asked = {"model": "small-1", "stream": False, "messages": [{"role": "user", "content": "hi"}]}
    assert json.loads(http.body) == asked
    assert "secret" not in repr(http)


def test_no_key_sends_no_authorization():
    assert "authorization" not in CHAT.encode(ASK, candidate(key=None), stream=False).headers


@pytest.mark.parametrize("key", ["sk-a\nb", "sk–typographic", "sk-\x00"])
def test_a_key_that_no_header_takes_is_refused_without_showing_it(key):
    with pytest.raises(AuthFailed) as failed:
        CHAT.encode(ASK, candidate(key=key), stream=False)
    assert key not in str(failed.value)
    assert "KEY" in str(failed.value)


def test_all_that_a_request_may_ask_for():
    request = Request(
        (system("be brief"), user("hi")),
        tools=(ToolSpec("add", "adds", CLOSED),),
        tool_choice="add",
        output_schema=OutputSchema(CLOSED, name="my answer"),
        max_output_tokens=5000,
        temperature=0.5,
        stop=("END",),
        seed=7,
    )
    assert sent(request, stream=True) == {
        "model": "small-1",
        "max_completion_tokens": 1000,  # the model's own cap
        "temperature": 0.5,
        "stop": ["END"],
        "seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "tools": [{"type": "function", "function": {"name": "add", "description": "adds", "parameters": CLOSED}}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "my_answer", "schema": CLOSED, "strict": True},
        },
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
    }


def test_quirks_change_what_is_sent():
    request = Request((system("s"), user("hi")), temperature=1.0, seed=7)
    quirks = {
        "max_tokens_field": "max_tokens",
        "default_max_tokens": 400,
        "seed_field": "random_seed",
        "sampling": False,
        "stream_options": False,
        "system_role": "developer",
    }
    assert sent(request, stream=True, **quirks) == {
        "model": "small-1",
        "max_tokens": 400,
        "random_seed": 7,
        "stream": True,
        "messages": [{"role": "developer", "content": "s"}, {"role": "user", "content": "hi"}],
    }


def test_one_message_serves_vendors_of_different_quirks():
    said = system("s")
    roles = [messages(said, system_role=role)[0]["role"] for role in ("system", "developer", "system")]
    assert roles == ["system", "developer", "system"]


@pytest.mark.parametrize("choice", ["none", "required"])
def test_tool_choice_by_word(choice):
    assert sent(Request((user("x"),), tools=(ToolSpec("f", ""),), tool_choice=choice))["tool_choice"] == choice


def test_tool_choice_must_name_a_tool_and_is_left_out_without_tools():
    with pytest.raises(Unsupported):
        sent(Request((user("x"),), tools=(ToolSpec("f", ""),), tool_choice="g"))
    assert "tool_choice" not in sent(Request((user("x"),), tool_choice="required"))


def test_an_open_schema_is_not_sent_as_strict():
    open_schema = {"type": "object", "properties": {"a": CLOSED, "b": {"type": "array", "items": {"type": "object"}}}}
    schema = {**open_schema, "required": ["a", "b"], "additionalProperties": False}
    request = replace(ASK, output_schema=OutputSchema(schema))
    assert sent(request)["response_format"]["json_schema"]["strict"] is False


def closed(**properties) -> dict:
    return {**CLOSED, "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (closed(default={"type": "string"}, oneOf=CLOSED), True),  # names of properties are no keywords
        (closed(a={"type": "array", "items": CLOSED}), True),
        (closed(a={"anyOf": [CLOSED, {"type": "null"}]}), True),
        ({**closed(a={"$ref": "#/$defs/b"}), "$defs": {"b": CLOSED}}, True),
        (closed(a={"type": "string", "default": "x"}), False),
        (closed(a={"oneOf": [CLOSED]}), False),
        (closed(a={"$ref": "#/$defs/b", "description": "x"}), False),
        ({**CLOSED, "$defs": {"b": {"type": "object"}}}, False),
        ({**CLOSED, "required": []}, False),
        (closed(a={"type": "string", "format": "date-time", "pattern": "^x(?:y|z)$"}), True),
        (closed(a={"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 3}), True),
        (closed(a={"type": "string", "format": "uri"}), False),  # pydantic's HttpUrl, zod's url()
        (closed(a={"type": "string", "minLength": 1}), False),
        (closed(a={"type": "string", "maxLength": 9}), False),
        (closed(a={"type": "string", "pattern": "^(?!x)"}), False),
        (closed(a={"type": "string", "pattern": "(?<=x)y"}), False),
        (closed(a={"type": "array", "items": {"type": "string"}, "uniqueItems": True}), False),  # pydantic's set
        (closed(a={"type": "array", "items": {"type": "string"}, "contains": {"const": "x"}}), False),
        (closed(a={"type": "array"}), False),
        (closed(a={"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "string"}}), False),
        (closed(a={**CLOSED, "propertyNames": {"pattern": "x"}}), False),
        (closed(a={**CLOSED, "maxProperties": 2}), False),
        (closed(a={}), False),  # "schema must have a 'type' key"
        (closed(a={"description": "anything"}), False),
    ],
)
def test_only_what_strict_mode_takes_is_sent_as_strict(schema, strict):
    request = replace(ASK, output_schema=OutputSchema(schema))
    assert sent(request)["response_format"]["json_schema"]["strict"] is strict


@pytest.mark.parametrize("mode", ["object", "prompt"])
def test_where_schemas_are_not_taken_they_are_said_in_words(mode):
    request = Request((system("a"), system("b"), user("hi")), output_schema=OutputSchema(CLOSED))
    body = sent(request, json_mode=mode)
    assert body.get("response_format") == ({"type": "json_object"} if mode == "object" else None)
    contents = [m["content"] for m in body["messages"]]
    assert contents[:2] == ["a", "b"]
    assert contents[3] == "hi"
    assert "JSON" in contents[2]
    assert json.dumps(CLOSED, separators=(",", ":")) in contents[2]


def test_calls_and_results_keep_their_raw_arguments():
    call = ToolCall("call_1", "add", '{"a": 1,\n "b": 2}')
    assert messages(user("x"), assistant(call), tool(ToolResult("call_1", "add", "3"))) == [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1,\n "b": 2}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
    ]


def test_where_null_is_refused_a_call_stands_beside_an_empty_text():
    said = assistant(ToolCall("a", "f", "{}"))
    contents = [messages(said, null_content=taken)[0]["content"] for taken in (True, False, True)]
    assert contents == [None, "", None]


def test_several_results_are_several_messages_and_a_failed_one_says_so():
    calls = assistant("two", ToolCall("a", "f", ""), ToolCall("b", "f", "{}"))
    out = messages(calls, tool(ToolResult("a", "f", ""), ToolResult("b", "f", "no such file", is_error=True)))
    assert out[0]["content"] == "two"
    assert [c["function"]["arguments"] for c in out[0]["tool_calls"]] == ["{}", "{}"]
    assert [(m["tool_call_id"], m["content"]) for m in out[1:]] == [("a", "(empty)"), ("b", "error: no such file")]


def test_a_call_without_a_result_is_answered_for():
    cut_short = assistant(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    out = messages(cut_short, tool(ToolResult("b", "f", "ok")), user("go on"), assistant(ToolCall("c", "f", "{}")))
    assert [m["role"] for m in out] == ["assistant", "tool", "tool", "user", "assistant", "tool"]
    assert [m.get("tool_call_id") for m in out] == [None, "b", "a", None, None, "c"]


@pytest.mark.parametrize("foreign", ["call_abc", "toolu_01", "ee61e87d-25d8-4bad-8e47-02939eb234c5", "ünï", ""])
def test_mistral_takes_nine_letters_or_digits_only(foreign):
    call, result = messages(
        assistant(ToolCall(foreign, "f", "{}")), tool(ToolResult(foreign, "f", "x")), tool_ids="alnum9"
    )
    mapped = call["tool_calls"][0]["id"]
    assert mapped == result["tool_call_id"]
    assert len(mapped) == 9
    assert mapped.isascii()
    assert mapped.isalnum()


@pytest.mark.parametrize(
    ("own", "wire"),
    [
        ("aB3dE6gH9", r"aB3dE6gH9"),
        ("functions.now:0", r"functions\.now:0"),
        ("chatcmpl-tool-c9ZCzB9b9NikK5kjPBXpFG", r"[A-Za-z0-9]{9}"),
        ("call_1", r"[A-Za-z0-9]{9}"),
    ],
)
def test_chat_templates_get_ids_that_mistrals_and_kimis_take(own, wire):
    call, result = messages(assistant(ToolCall(own, "f", "{}")), tool(ToolResult(own, "f", "x")), tool_ids="template")
    assert re.fullmatch(wire, call["tool_calls"][0]["id"])
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]


def test_an_id_that_fits_is_left_alone():
    out = messages(assistant(ToolCall("aB3dE6gH9", "f", "{}")), tool_ids="alnum9")
    assert out[0]["tool_calls"][0]["id"] == "aB3dE6gH9"


def test_speakers_images_and_empty_content():
    image = Image("image/png", b"\x89PNG")
    assert messages(user("hello", name="Ana"), Message("user", (Text("see"), image)), user(""), assistant("")) == [
        {"role": "user", "content": "Ana: hello"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
            ],
        },
        {"role": "user", "content": "(empty)"},
        {"role": "assistant", "content": "(empty)"},
    ]
    with pytest.raises(Unsupported):
        messages(Message("system", (image,)))


@pytest.mark.parametrize("blank", ["", " ", "\n\n", "\u3000"])
def test_no_content_is_white_space_alone(blank):
    """Anthropic behind aggregators: "text content blocks must contain non-whitespace text"."""
    image = Message("user", (Text(blank), Image("image/png", b"\x89PNG")))
    called = (assistant(blank, ToolCall("a", "f", "{}")), tool(ToolResult("a", "f", blank)))
    out = messages(system(blank), user(blank), assistant(blank), image, *called)
    assert [said["content"] for said in out[:3]] == ["(empty)"] * 3
    assert [part["type"] for part in out[3]["content"]] == ["image_url"]
    assert [said["content"] for said in out[4:]] == [None, "(empty)"]
    turns = messages(user(blank), user("x"), assistant(blank), assistant("y"), user(blank), image, strict_turns=True)
    assert [said["content"] for said in turns[:2]] == ["x", "y"]
    assert [part["type"] for part in turns[2]["content"]] == ["image_url"]


def test_reasoning_goes_back_only_to_its_maker_and_only_where_asked():
    said = assistant(Reasoning("mine", made_by="vendor/small-1"), Reasoning("foreign", made_by="other"), "done")
    assert messages(said) == [{"role": "assistant", "content": "done"}]
    assert messages(said, reasoning_field="reasoning_content")[0]["reasoning_content"] == "mine"


def test_a_transcript_is_encoded_once():
    class Watched(Text):
        __slots__ = ()
        reads = 0

        def __getattribute__(self, name):
            Watched.reads += name == "text"
            return super().__getattribute__(name)

    request = Request((Message("user", (Watched("hello"),)),))
    first = CHAT.encode(request, candidate(), stream=False).body
    reads = Watched.reads
    again = CHAT.encode(replace(request, seed=1), candidate(), stream=True).body
    assert first[first.index(b'"messages"') :] == again[again.index(b'"messages"') :]
    assert Watched.reads == reads


@given(st.text(st.one_of(st.characters(exclude_categories=()), st.characters(categories=["Cs", "Cc"]))))
def test_no_text_breaks_the_body(text):
    request = Request(
        (
            system(text),
            user(text, name=text),
            assistant(text, ToolCall(text, text, json.dumps({"a": text}))),
            tool(ToolResult(text, text, text)),
        ),
        tools=(ToolSpec("f", text, {"type": "object", "description": text}),),
        output_schema=OutputSchema({"title": text}, name=text),
        stop=(text,),
    )
    body = json.loads(CHAT.encode(request, candidate(json_mode="object"), stream=False).body.decode("utf-8"))
    assert body["messages"][0]["content"] == (clean(text) if clean(text).strip() else "(empty)")
    arguments = json.loads(body["messages"][3]["tool_calls"][0]["function"]["arguments"])
    json.dumps(arguments, ensure_ascii=False).encode("utf-8")
