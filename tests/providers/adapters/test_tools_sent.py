"""Tools as every dialect sends them, and their calls as they come back: names, parameters, descriptions, how many."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from providers.adapters import Adapter, HttpReply
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.gemini.encode import Gemini
from providers.adapters.gemini.schema import fitted
from providers.adapters.openai.encode import OpenAIChat
from providers.adapters.tools import description, object_root, wire_name
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate, Model, Provider
from providers.catalog.quirks import Quirks
from providers.errors import Unsupported
from providers.messages import (
    OutputSchema,
    Request,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolSpec,
    assistant,
    tool,
    user,
)

ADAPTERS: dict[str, Adapter] = {
    "openai-chat": OpenAIChat(),
    "anthropic-messages": AnthropicMessages(),
    "gemini": Gemini(),
}
ROW = Model("m", 8000, 1000)
ODD = [
    "weather.get",
    "weather/get",
    "weather get",
    "weather:get",
    "weather_get.",
    "3d_render",
    "-dash",
    "天気",
    "天",
    "naïve",
    "n" * 65,
    "n" * 70,
    "n" * 64 + ".",
    "",
    ".",
    "👩‍🚀",
    "a\ud83d",
    "a\ud83e",
    "a\x00b",
    "mcp.server/weather.get_current_conditions_for_a_city_and_for_the_next_week_too",
]
PLAIN = ["weather_get", "now", "_x", "get-now", "n" * 64]


def candidate(dialect: str, **quirks: Any) -> Candidate:
    return Candidate(Provider("v", dialect, "https://api.test/v1", None, {"m": ROW}, Quirks(**quirks)), ROW)


def sent(dialect: str, request: Request, **quirks: Any) -> Any:
    return json.loads(ADAPTERS[dialect].encode(request, candidate(dialect, **quirks), stream=False).body)


def tools_in(body: Any) -> list[tuple[str, str, Any]]:
    """Return name, description and parameters of each tool."""
    found = []
    for each in body["tools"][0].get("functionDeclarations", body["tools"]):
        spec = each.get("function", each)
        schemas = [spec[key] for key in ("parameters", "input_schema", "parametersJsonSchema") if key in spec]
        found.append((spec["name"], spec.get("description", ""), schemas[0] if schemas else None))
    return found


def names_in(value: Any) -> list[str]:
    """Return the names of the calls and results of a history."""
    if isinstance(value, list):
        return [name for item in value for name in names_in(item)]
    if not isinstance(value, dict):
        return []
    own = [value[key]["name"] for key in ("functionCall", "functionResponse", "function") if key in value]
    own += [value["name"]] if value.get("type") == "tool_use" else []
    return own + [name for key, item in value.items() if key not in ("tools", "function") for name in names_in(item)]


class TestNames:
    @pytest.mark.parametrize("dialect", ADAPTERS)
    def test_all_are_legal_told_apart_and_those_that_are_stay(self, dialect: str) -> None:
        tools = tuple(ToolSpec(name, "") for name in ODD + PLAIN)
        wire = [name for name, _, _ in tools_in(sent(dialect, Request((user("go"),), tools)))]
        assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in wire)
        assert len(set(wire)) == len(tools)
        assert wire[len(ODD) :] == PLAIN

    @pytest.mark.parametrize("dialect", ADAPTERS)
    @pytest.mark.parametrize("name", ODD)
    def test_choice_history_and_tools_agree_on_a_name_in_every_turn(self, dialect: str, name: str) -> None:
        tools = (ToolSpec("weather_get", ""), ToolSpec(name, ""))
        history = [user("go")]
        seen = set()
        for turn in range(3):
            request = Request(tuple(history), tools if turn else tools[::-1], tool_choice=name)
            body = sent(dialect, request)
            seen |= {told for told, _, _ in tools_in(body)} - {"weather_get"} | set(names_in(body))
            choice = json.dumps(body.get("tool_choice") or body["toolConfig"])
            assert json.dumps(wire_name(name)) in choice
            call = ToolCall(f"c{turn}", name, "{}")
            history += [assistant(call), tool(ToolResult(call.id, name, "ok"))]
        assert seen == {wire_name(name)}

    @pytest.mark.parametrize("dialect", ADAPTERS)
    @pytest.mark.parametrize("name", ["weather.get", "天気", "n" * 70, "3d_render"])
    def test_answers_get_the_tools_own_name_back(self, dialect: str, name: str) -> None:
        request = Request((user("go"),), (ToolSpec(name, ""), ToolSpec("now", "")))
        wire = wire_name(name)
        marked = (f"functions.{wire}", f"{wire}<|channel|>commentary", wire.upper())
        for said, meant in (
            (wire, name), ("now", "now"), ("else", "else"), (name, name), *((each, name) for each in marked)
        ):  # fmt: skip
            reply = HttpReply(200, {}, json.dumps(REPLIES[dialect](said)).encode())
            answer = ADAPTERS[dialect].decode(reply, request, candidate(dialect), 0.0)
            assert [call.name for call in answer.tool_calls] == [meant]
            decoder = ADAPTERS[dialect].stream_decoder(request, candidate(dialect), 0.0)
            deltas = decoder.feed(STREAMS[dialect](said))
            assert [delta.name for delta in deltas if isinstance(delta, ToolCallDelta) and delta.name] == [meant]
            assert decoder.ended or decoder.whole
            assert [call.name for call in decoder.finish().tool_calls] == [meant]

    @pytest.mark.parametrize("dialect", ADAPTERS)
    def test_a_message_serves_requests_with_and_without_the_tool(self, dialect: str) -> None:
        history = (user("go"), assistant(ToolCall("1", "weather.get", "{}")), tool(ToolResult("1", "weather.get", "x")))
        for _ in range(2):
            assert set(names_in(sent(dialect, Request(history, (ToolSpec("weather.get", ""),))))) == {
                wire_name("weather.get")
            }
            foreign = names_in(sent(dialect, Request(history)))
            assert foreign
            assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", name) for name in foreign)

    @given(st.lists(st.text(max_size=80), unique=True, max_size=6))
    def test_any_names_are_legal_and_told_apart(self, names: list[str]) -> None:
        wire = [wire_name(name) for name in names]
        assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", name) for name in wire)
        assert len(set(wire)) == len(names)
        assert [wire_name(name) for name in names] == wire

    def test_two_tools_of_one_wire_name_are_refused(self) -> None:
        tools = (ToolSpec("a.b", ""), ToolSpec(wire_name("a.b"), ""))
        with pytest.raises(Unsupported, match="one name"):
            sent("openai-chat", Request((user("go"),), tools))


def _chat(name: str) -> Any:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return {"choices": [{"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}]}


def _chat_stream(name: str) -> bytes:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"


def _message(name: str) -> Any:
    return {"content": [{"type": "tool_use", "id": "c", "name": name, "input": {}}], "stop_reason": "tool_use"}


def _message_stream(name: str) -> bytes:
    block = {"type": "tool_use", "id": "c", "name": name, "input": {}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def _content(name: str) -> Any:
    part = {"functionCall": {"name": name, "args": {}}}
    return {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}


REPLIES = {"openai-chat": _chat, "anthropic-messages": _message, "gemini": _content}
STREAMS = {
    "openai-chat": _chat_stream,
    "anthropic-messages": _message_stream,
    "gemini": lambda name: b"data: " + json.dumps(_content(name)).encode() + b"\n\n",
}


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
POINT = {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}, "required": ["x", "y"]}
TREE = {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "properties": {"of": {"$ref": "#/$defs/T"}}}}}
ROOTS: list[tuple[Any, set[str], list[str]]] = [
    ({}, set(), []),
    ({"type": "object"}, set(), []),
    ({"type": "object", "properties": None}, set(), []),
    ({"properties": {"a": {}}}, {"a"}, []),
    ({"type": ["object", "null"], "properties": {"a": {}}}, {"a"}, []),
    ({"$ref": "#/$defs/C", "$defs": {"C": CITY}}, {"city"}, ["city"]),
    ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": CITY}}, {"city"}, ["city"]),
    ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": CITY}}, {"city"}, ["city"]),
    ({"$ref": "#/$defs/none"}, set(), []),
    ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, set(), []),
    (TREE, {"of"}, []),
    ({"anyOf": [CITY, POINT]}, {"city", "x", "y"}, []),
    ({"oneOf": [CITY, {"type": "null"}]}, {"city"}, ["city"]),
    ({"anyOf": [{"$ref": "#/$defs/C"}, POINT], "$defs": {"C": CITY}}, {"city", "x", "y"}, []),
    ({"allOf": [CITY, POINT]}, {"city", "x", "y"}, ["city", "x", "y"]),
    ({"type": "object", "properties": {"a": {}}, "required": ["a"], "oneOf": [CITY, POINT]}, {*"axy", "city"}, ["a"]),
    ({**CITY, "not": {"required": ["x"]}, "if": {}, "then": {}}, {"city"}, ["city"]),
    ({"anyOf": [{**CITY, "additionalProperties": False}, POINT], "additionalProperties": False}, {*"xy", "city"}, []),
]  # fmt: skip
SAMPLES = [
    {},
    {"city": "x"},
    {"x": 1, "y": 2},
    {"city": "x", "x": 1, "y": 2},
    {"a": 1, "city": "x"},
    {"of": {"of": {}}},
]


class TestParameters:
    @pytest.mark.parametrize("dialect", ADAPTERS)
    @pytest.mark.parametrize(("schema", "properties", "required"), ROOTS)
    def test_the_root_is_one_object(self, dialect: str, schema: Any, properties: set[str], required: list[str]) -> None:
        [(_, _, root)] = tools_in(sent(dialect, Request((user("go"),), (ToolSpec("f", "d", schema),))))
        if dialect == "gemini" and not properties:
            assert root is None, "it refuses an object without properties"
            return
        assert root["type"] == "object"
        assert set(root["properties"]) == properties
        assert root.get("required", []) == required
        assert not root.keys() & {"$ref", "anyOf", "oneOf", "allOf", "not", "enum", "if"}

    @pytest.mark.parametrize("schema", [schema for schema, _, _ in ROOTS if schema.get("properties", {}) is not None])
    def test_what_satisfies_the_tools_own_schema_satisfies_what_is_sent(self, schema: Any) -> None:
        try:
            own = [sample for sample in SAMPLES if Draft202012Validator(schema).is_valid(sample)]
        except Exception:  # noqa: BLE001  # a reference to nothing has no samples
            own = []
        for root in (object_root(schema), fitted(object_root(schema))):
            Draft202012Validator.check_schema(root)
            assert [sample for sample in own if not Draft202012Validator(root).is_valid(sample)] == []

    def test_a_sound_root_stays_as_it_is(self) -> None:
        for schema in (CITY, {"properties": {}, "type": "object", "description": "d"}):
            assert json.dumps(object_root(schema)) == json.dumps(schema)

    def test_gemini_gets_definitions_in_their_places(self) -> None:
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "kind": {"const": "city"},
                "one": {"$ref": "#/$defs/C", "description": "which", "title": "One"},
                "more": {"type": "array", "items": {"$ref": "#/$defs/C"}},
                "none": {"type": "object", "properties": {}},
                "const": {"type": "string"},
            },
            "$defs": {"C": CITY},
        }
        assert fitted(schema) == {
            "type": "object",
            "properties": {
                "kind": {"enum": ["city"]},
                "one": {**CITY, "description": "which", "title": "One"},
                "more": {"type": "array", "items": CITY},
                "none": {"type": "object"},
                "const": {"type": "string"},
            },
        }

    def test_gemini_gets_a_reference_where_a_schema_refers_to_itself_or_would_grow(self) -> None:
        tree = {"type": "object", "properties": {"of": {"$ref": "#/$defs/T", "title": "Of"}}, "$defs": TREE["$defs"]}
        made = fitted(tree)
        assert made["properties"]["of"]["properties"]["of"] == {"$ref": "#/$defs/T"}
        assert made["$defs"]["T"]["properties"]["of"] == {"$ref": "#/$defs/T"}
        wide = {f"d{i}": {"type": "object", "properties": {f"p{j}": {"$ref": f"#/$defs/d{i + 1}"} for j in range(9)}}
                for i in range(9)}  # fmt: skip
        grown = fitted({"$ref": "#/$defs/d0", "$defs": {**wide, "d9": CITY}})
        assert len(json.dumps(grown)) < 20_000
        Draft202012Validator.check_schema(grown)

    @pytest.mark.parametrize(
        ("schema", "native"),
        [
            (CITY, True),
            ({"$ref": "#/$defs/C", "$defs": {"C": CITY}}, True),
            ({"properties": {"a": {"type": "string"}}}, True),
            (TREE, True),
            ({"type": "array", "items": {"type": "string"}}, False),
            ({"type": "string"}, False),
            ({"anyOf": [CITY, POINT]}, False),
            ({}, False),
        ],
    )
    def test_an_answer_that_is_no_object_is_asked_for_in_words_by_openais_rules(
        self, schema: Any, native: bool
    ) -> None:
        for quirks in ({}, {"json_mode": "object"}):
            body = sent("openai-chat", Request((user("go"),), output_schema=OutputSchema(schema)), **quirks)
            assert ("response_format" in body) is native
            if native and not quirks:
                root = body["response_format"]["json_schema"]["schema"]
                assert root["type"] == "object"
                assert "$ref" not in root
            if not native:
                assert "JSON Schema" in body["messages"][0]["content"]
        assert "response_format" in sent(
            "openai-chat", Request((user("go"),), output_schema=OutputSchema(schema)), any_root=True
        )


class TestDescriptions:
    SENTENCES = "It looks out of the window. " * 60

    def test_one_is_cut_behind_a_sentence_at_the_vendors_limit(self) -> None:
        openai = load_catalog().providers["openai"]
        row = Candidate(openai, openai.models["gpt-6-luna"], "k")
        request = Request((user("go"),), (ToolSpec("f", self.SENTENCES),))
        [(_, told, _)] = tools_in(json.loads(ADAPTERS["openai-chat"].encode(request, row, stream=False).body))
        assert 900 < len(told) <= 1024
        assert told.endswith("window.")
        [(_, whole, _)] = tools_in(sent("openai-chat", request, description_limit=None))
        assert whole == self.SENTENCES

    @pytest.mark.parametrize("dialect", ["anthropic-messages", "gemini"])
    def test_elsewhere_it_goes_out_whole(self, dialect: str) -> None:
        [(_, told, _)] = tools_in(sent(dialect, Request((user("go"),), (ToolSpec("f", self.SENTENCES),))))
        assert told == self.SENTENCES

    @pytest.mark.parametrize(
        ("text", "limit", "cut"),
        [
            ("short", 5, "short"),
            ("word " * 10, 12, "word word…"),
            ("x" * 30, 10, "x" * 9 + "…"),
            ("One. Two. Three and more", 12, "One. Two."),
            ("一つ。二つ。三つ", 7, "一つ。二つ。"),
            ("👩‍👩‍👧‍👦" * 3, 8, "👩‍👩‍👧‍👦…"),
        ],
    )
    def test_a_cut(self, text: str, limit: int, cut: str) -> None:
        assert description(text, limit) == cut

    @given(st.text(max_size=60), st.integers(8, 40))
    def test_any_cut_fits_and_splits_no_cluster(self, text: str, limit: int) -> None:
        cut = description(text, limit)
        assert len(cut) <= limit
        cut.encode()
        whole = regex.findall(r"\X", description(text, None))
        kept = regex.findall(r"\X", cut.removesuffix("…") if len(description(text, None)) > limit else cut)
        assert whole[: len(kept)] == kept or "".join(whole).startswith("".join(kept))


class TestHowMany:
    @pytest.mark.parametrize("dialect", ADAPTERS)
    def test_more_than_the_vendor_takes_are_refused_before_anything_is_sent(self, dialect: str) -> None:
        tools = tuple(ToolSpec(f"t{i}", "") for i in range(129))
        assert len(tools_in(sent(dialect, Request((user("go"),), tools[:128])))) == 128
        with pytest.raises(Unsupported, match="128 tools, not 129"):
            sent(dialect, Request((user("go"),), tools))
        assert len(tools_in(sent(dialect, Request((user("go"),), tools), max_tools=None))) == 129


def test_schemas_are_not_changed_by_being_sent() -> None:
    schema: Mapping[str, Any] = {"$ref": "#/$defs/C", "$defs": {"C": CITY}}
    before = json.dumps(schema)
    for dialect in ADAPTERS:
        sent(dialect, Request((user("go"),), (ToolSpec("f", "", schema),), output_schema=OutputSchema(schema)))
    assert json.dumps(schema) == before
