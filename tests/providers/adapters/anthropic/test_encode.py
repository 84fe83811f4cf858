"""The Messages dialect: what is sent. How a transcript is told stands in test_anthropic_turns.py."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters.anthropic.encode import CACHED, MAX_TOKENS, AnthropicMessages
from providers.catalog.model import Candidate, Model, Provider
from providers.catalog.quirks import Quirks
from providers.documents.unicode import clean
from providers.errors import AuthFailed, Unsupported
from providers.messages import (
    Capability,
    Image,
    Message,
    OutputSchema,
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

CHAT = AnthropicMessages()
MODEL = Model("small-1", context=8000, max_output=1000, capabilities=frozenset({Capability.JSON_SCHEMA}))
PLAIN = Model("plain-1", context=8000, max_output=0)
ASK = Request((user("hi"),))
ADD = ToolSpec("add", "adds", {"properties": {"n": {"type": "integer"}}})
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
OPEN_MAP = {"type": "object", "additionalProperties": {"type": "integer"}}
MARK = {"type": "ephemeral"}


def candidate(
    model: Model = MODEL, key: str | None = "sk-secret", base: str = "https://api.test/v1", **quirks
) -> Candidate:
    provider = Provider("vendor", "anthropic-messages", base, "KEY", {model.name: model}, quirks=Quirks(**quirks))
    return Candidate(provider, model, key)


def sent(request: Request, *, stream: bool = False, model: Model = MODEL, **quirks) -> dict:
    return json.loads(CHAT.encode(request, candidate(model, **quirks), stream=stream).body)


def text(words: str, **more) -> dict:
    return {"type": "text", "text": words, **more}


def test_a_request_names_model_place_version_and_key():
    http = CHAT.encode(ASK, candidate(), stream=False)
    assert (http.method, http.url) == ("POST", "https://api.test/v1/messages")
    assert http.headers["x-api-key"] == "sk-secret"
    assert http.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in http.headers
    assert json.loads(http.body) == {
        "model": "small-1",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }
    assert "secret" not in repr(http)


@pytest.mark.parametrize(
    "base", ["https://api.test", "https://api.test/", "https://api.test/v1", "https://api.test/v1/"]
)
def test_a_base_url_may_have_the_version_or_not(base):
    assert CHAT.encode(ASK, candidate(base=base), stream=False).url == "https://api.test/v1/messages"


def test_the_version_is_a_quirk():
    newer = candidate(extra_headers={"anthropic-version": "2026-10-21"})
    assert CHAT.encode(ASK, newer, stream=False).headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize("key", ["sk-a\nb", "sk–typographic"])
def test_a_key_that_no_header_takes_is_refused_without_showing_it(key):
    with pytest.raises(AuthFailed) as failed:
        CHAT.encode(ASK, candidate(key=key), stream=False)
    assert key not in str(failed.value)


def test_no_key_sends_none():
    assert "x-api-key" not in CHAT.encode(ASK, candidate(key=None), stream=False).headers


def test_all_that_a_request_may_ask_for():
    request = Request(
        (system("be brief"), user("hi"), system("be kind")),
        tools=(ADD, ToolSpec("now", " ")),
        tool_choice="add",
        output_schema=OutputSchema(CLOSED),
        max_output_tokens=5000,
        temperature=1.7,
        stop=("END", "\n"),
        seed=7,
    )
    assert sent(request, stream=True) == {
        "model": "small-1",
        "max_tokens": 1000,  # the model's own cap
        "temperature": 1.0,  # the dialect's highest
        "stop_sequences": ["END"],
        "stream": True,
        "tool_choice": {"type": "tool", "name": "add"},
        "tools": [
            {"name": "add", "description": "adds", "input_schema": {"type": "object", **ADD.parameters}},
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
        ],
        "output_config": {"format": {"type": "json_schema", "schema": CLOSED}},
        "system": [text("be brief"), text("be kind")],
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


def test_sampling_is_left_out_where_it_is_a_400():
    assert "temperature" not in sent(Request(ASK.messages, temperature=0.5), sampling=False)


@pytest.mark.parametrize(
    ("asked", "row", "cap"), [(None, None, MAX_TOKENS), (None, 4096, 4096), (300, 4096, 300), (90_000, None, 90_000)]
)
def test_there_is_always_a_cap(asked, row, cap):
    request = Request(ASK.messages, max_output_tokens=asked)
    assert sent(request, model=PLAIN, default_max_tokens=row)["max_tokens"] == cap


@pytest.mark.parametrize(
    ("choice", "parallel", "wanted"),
    [
        ("auto", True, None),
        ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", True, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
        ("add", False, {"type": "tool", "name": "add", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice(choice, parallel, wanted):
    request = Request(ASK.messages, tools=(ADD,), tool_choice=choice)
    assert sent(request, parallel_calls=parallel).get("tool_choice") == wanted
    assert "tool_choice" not in sent(Request(ASK.messages, tool_choice="none"))


def test_tool_choice_must_name_a_tool():
    with pytest.raises(Unsupported, match="subtract"):
        sent(Request(ASK.messages, tools=(ADD,), tool_choice="subtract"))


@pytest.mark.parametrize(
    ("schema", "model", "mode"),
    [(OPEN_MAP, MODEL, "schema"), (CLOSED, PLAIN, "schema"), (CLOSED, MODEL, "prompt")],
    ids=["not in the subset", "not this model", "not this vendor"],
)
def test_a_schema_that_can_not_be_sent_is_said_in_words(schema, model, mode):
    body = sent(
        Request((system("be brief"), user("hi")), output_schema=OutputSchema(schema)), model=model, json_mode=mode
    )
    assert "output_config" not in body
    assert body["system"][0] == text("be brief")
    assert json.dumps(schema, separators=(",", ":")) in body["system"][1]["text"]


def test_images_are_the_users():
    data = b"\x89PNG\x00"
    body = sent(Request((Message("user", (Image("image/png", data), Text(" "))),)))
    assert body["messages"][0]["content"] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data).decode()},
        }
    ]


@pytest.mark.parametrize(
    "message",
    [
        Message("assistant", (Image("image/png", b"x"),)),
        Message("system", (Image("image/png", b"x"),)),
        Message("user", (Image("image/tiff", b"x"),)),
        Message("user", (Image("image/png", b""),)),
    ],
)
def test_an_image_that_can_not_be_sent_is_refused(message):
    with pytest.raises(Unsupported, match="image"):
        sent(Request((message, user("hi"))))


def test_blank_instructions_are_left_out():
    assert "system" not in sent(Request((system(" \n"), user("hi"))))


LONG = (
    system("be brief"),
    system("be kind"),
    user("hi"),
    assistant(ToolCall("toolu_a", "look", "{}")),
    tool(ToolResult("toolu_a", "look", "x" * 3000)),
)


def test_a_long_transcript_is_marked_for_the_cache_where_asked():
    body = sent(Request(LONG), cache_from=1000)
    assert body["system"] == [text("be brief"), text("be kind", cache_control=MARK)]
    assert body["messages"][-1]["content"][-1]["cache_control"] == MARK
    assert json.dumps(body).count("cache_control") == 2


def test_a_short_transcript_and_a_vendor_that_was_not_asked_are_not():
    assert CACHED not in CHAT.encode(Request(LONG), candidate(cache_from=2000), stream=False).body
    assert CACHED not in CHAT.encode(Request(LONG), candidate(), stream=False).body


def test_a_transcript_is_encoded_once():
    seen: list[str] = []

    class Watched(str):
        __slots__ = ()

        def isprintable(self) -> bool:  # the first thing that cleaning asks
            seen.append(self)
            return super().isprintable()

    messages = tuple(user(Watched(f"line {n}")) for n in range(3))
    first = CHAT.encode(Request(messages), candidate(), stream=False).body
    before = len(seen)
    assert CHAT.encode(Request(messages), candidate(), stream=False).body == first
    assert len(seen) == before


@given(st.text(st.one_of(st.characters(exclude_categories=()), st.characters(categories=["Cs", "Cc"]))))
def test_no_text_breaks_the_body(words):
    request = Request(
        (
            system(words),
            user(words, name=words),
            assistant(words, ToolCall(words, words, json.dumps({"k": words}))),
            tool(ToolResult(words, words, words)),
        ),
        tools=(ToolSpec("add", words, {"properties": {words: {"description": words}}}),),
        stop=(words,),
        output_schema=OutputSchema({**CLOSED, "description": words}),
    )
    body = sent(request)
    assert body["tools"][0].get("description", "").strip() == (clean(words).strip() if words.strip() else "")
    results = [b for turn in body["messages"] for b in turn["content"] if b["type"] == "tool_result"]
    assert [result.get("content", "").strip() for result in results] == [clean(words).strip()]


def test_calls_of_the_past_are_declared_where_no_tool_is_offered_any_more():
    said = (user("q"), assistant(ToolCall("1", "look", "{}")), tool(ToolResult("1", "look", "blue")), user("answer"))
    body = sent(Request(said, tool_choice="none"))
    assert [one["name"] for one in body["tools"]] == ["look"]
    assert body["tool_choice"] == {"type": "none"}
    assert "tools" not in sent(Request((user("q"),), tool_choice="none"))
