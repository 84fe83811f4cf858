"""Any transcript becomes messages that the dialect takes, with every word in them once."""

from __future__ import annotations

import json
import re
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from providers.adapters.anthropic.decode import REDACTED
from providers.adapters.anthropic.encode import AnthropicMessages
from providers.adapters.anthropic.transcript import BEGIN, GO_ON, MEDIA_TYPES
from providers.adapters.encoding import NO_RESULT
from providers.catalog.model import Candidate, Model, Provider
from providers.messages import (
    Capability,
    Image,
    Message,
    Needs,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    tool,
    user,
)

CHAT = AnthropicMessages()
ROW = Model("m", 8000, 1000)
HERE = Candidate(Provider("here", "anthropic-messages", "https://here.test/v1", None, {"m": ROW}), ROW)

IDS = ["toolu_1", "call_0", "call_0_2", "functions.look:0", "é", "", "a" * 80, "call_0\x00"]
NAMES = ["look", "web.search", "", "größe", "x" * 100]
ARGUMENTS = ['{"m": "%s"}', '{"m": "%s", "n": NaN}', '["%s"]', "%s{", '{"m": "%s", "n": 1e999, "n": "\\ud83d"}']


@st.composite
def transcripts(draw):
    """Return messages in which every word is a mark of its own, the marks of all words, and of those that may go."""
    marks = map("⟦{}⟧".format, count())
    free: set[str] = set()
    words: list[str] = []

    def mark() -> str:
        words.append(next(marks))
        return words[-1]

    def part(role: str):
        kinds = ["text", "text", "blank", "call", "result", "thought"] + ["image"] * (role != "assistant")
        match draw(st.sampled_from(kinds)):
            case "text":
                return Text(draw(st.sampled_from(["%s", " %s\n", "\ud83d%s", "%s \x00"])) % mark())
            case "blank":
                return Text(draw(st.sampled_from(["", " ", "\n\t", "\x00", "\ufeff"])))
            case "call":
                arguments = draw(st.sampled_from(ARGUMENTS)) % mark() if draw(st.booleans()) else ""
                return ToolCall(draw(st.sampled_from(IDS)), draw(st.sampled_from(NAMES)), arguments)
            case "result":
                content = mark() if draw(st.booleans()) else draw(st.sampled_from(["", " "]))
                return ToolResult(draw(st.sampled_from(IDS)), "look", content, draw(st.booleans()))
            case "thought":
                opaque = draw(st.sampled_from([None, "c2lnbmF0dXJl", REDACTED + "ZGF0YQ=="]))
                free.add(thought := mark())
                return Reasoning(thought, opaque, draw(st.sampled_from(["here/m", "here/n", "elsewhere/m", None])))
            case _:
                return Image("image/png", b"\x89PNG")

    messages = []
    for role in draw(st.lists(st.sampled_from(["user", "assistant", "tool"]), max_size=8)):
        parts = tuple(part(role) for _ in range(draw(st.integers(0, 4))))
        messages.append(Message(role, parts, draw(st.sampled_from([None, "Ada"]))))
    return tuple(messages), words, free


def body(*messages: Message) -> dict:
    return json.loads(CHAT.encode(Request(messages), HERE, stream=False).body)


def strings(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [string for item in values for string in strings(item)]


def assert_valid(turns: list[dict]) -> None:
    """Assert the rules of the dialect, as far as they are known."""
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2) + ["user"]
    waiting: list[str] = []
    used: set[str] = set()
    for turn in turns:
        blocks, said_by_assistant = turn["content"], turn["role"] == "assistant"
        assert blocks
        kinds = [block["type"] for block in blocks]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert kinds[: len(results)] == ["tool_result"] * len(results)
        assert sorted(results) == sorted(waiting)
        assert kinds[-1] not in ("thinking", "redacted_thinking")
        for block in blocks:
            assert_block(block, said_by_assistant)
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        assert len(set(waiting)) == len(waiting)
        assert used.isdisjoint(waiting)
        used |= set(waiting)
    assert waiting == []


def assert_block(block: dict, said_by_assistant: bool) -> None:
    match block:
        case {"type": "text", "text": text, **rest}:
            assert text.strip()
            assert not rest
        case {"type": "tool_use", "id": call_id, "name": name, "input": dict(), **rest}:
            assert said_by_assistant
            assert re.fullmatch(r"[a-zA-Z0-9_-]+", call_id)
            assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)
            assert not rest
        case {"type": "tool_result", **rest}:
            assert not said_by_assistant
            assert "content" not in rest or rest["content"].strip()
            assert rest.get("is_error") in (None, True)
        case {"type": "thinking", "thinking": _, "signature": signature}:
            assert said_by_assistant
            assert signature
        case {"type": "redacted_thinking", "data": data}:
            assert said_by_assistant
            assert data
        case {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}:
            assert not said_by_assistant
            assert media_type in MEDIA_TYPES
            assert data
        case _:
            raise AssertionError(block)


@given(transcripts())
def test_any_transcript_becomes_a_valid_one(drawn):
    messages, words, free = drawn
    turns = body(*messages)["messages"]
    assert_valid(turns)
    everything = "".join(strings(turns))
    for word in words:
        assert everything.count(word) <= 1
        assert word in free or word in everything
    assert "elsewhere" not in everything
    texts = [w for m in messages for p in m.parts if isinstance(p, Text) for w in re.findall("⟦.*?⟧", p.text)]
    places = [everything.index(word) for word in texts]
    assert places == sorted(places)


@given(transcripts())
def test_a_transcript_that_grows_keeps_its_beginning(drawn):
    messages, _, _ = drawn
    before = body(*messages, user("one"))["messages"]
    after = body(*messages, user("one"), assistant("two"), user("three"))["messages"]
    assert after[: len(before)] == before


def said(*blocks) -> dict:
    return {"role": "user", "content": list(blocks)}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def test_roles_that_follow_each_other_are_one_turn():
    assert body(user("a"), user("b", name="Ada"), assistant("c"), assistant("d"), user("e"))["messages"] == [
        said(text("a"), text("Ada: b")),
        {"role": "assistant", "content": [text("c"), text("d")]},
        said(text("e")),
    ]


def test_the_user_speaks_first_and_last():
    assert body()["messages"] == [said(text(BEGIN))]
    assert body(assistant("I am here. "))["messages"] == [
        said(text(BEGIN)),
        {"role": "assistant", "content": [text("I am here. ")]},
        said(text(GO_ON)),
    ]


def test_an_answer_that_is_to_be_gone_on_with_stands_last():
    begun = Request((user("a"), assistant("It is")), needs=Needs(capabilities=frozenset({Capability.PREFILL})))
    messages = json.loads(CHAT.encode(begun, HERE, stream=True).body)["messages"]
    assert messages == [said(text("a")), {"role": "assistant", "content": [text("It is")]}]


def test_results_stand_first_and_right_behind_their_calls():
    calls = assistant("Looking.", ToolCall("toolu_a", "look", '{"at": 1.50}'), ToolCall("toolu_b", "look", ""))
    answered = body(user("go"), calls, user("hurry"), tool(ToolResult("toolu_b", "look", "b", is_error=True)))
    assert answered["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                text("Looking."),
                {"type": "tool_use", "id": "toolu_a", "name": "look", "input": {"at": 1.5}},
                {"type": "tool_use", "id": "toolu_b", "name": "look", "input": {}},
            ],
        },
        said(
            {"type": "tool_result", "tool_use_id": "toolu_b", "content": "b", "is_error": True},
            {"type": "tool_result", "tool_use_id": "toolu_a", "content": NO_RESULT, "is_error": True},
            text("hurry"),
        ),
    ]


def test_arguments_go_back_as_they_were_written():
    raw = b'{"at":  1.50, "big": 123456789012345678901234567890}'
    request = Request((user("go"), assistant(ToolCall("toolu_a", "look", raw.decode()))))
    assert raw in CHAT.encode(request, HERE, stream=False).body


def test_a_result_without_a_call_is_told():
    late = body(user("go"), tool(ToolResult("gone", "look", "it rains", is_error=True)))["messages"]
    assert late == [said(text("go"), text("Result of look (failed): it rains"))]


def test_ids_that_vendors_count_from_zero_are_told_apart():
    first, second = ToolCall("call_0", "look", '{"n": 1}'), ToolCall("call_0", "look", '{"n": 2}')
    turns = body(
        user("go"),
        assistant(first, second),
        tool(ToolResult("call_0", "look", "one"), ToolResult("call_0", "look", "two")),
        assistant(first),
        tool(ToolResult("call_0", "look", "three")),
    )["messages"]
    assert_valid(turns)
    assert [(b["tool_use_id"], b["content"]) for turn in turns[2::2] for b in turn["content"]] == [
        ("call_0", "one"),
        ("call_0_2", "two"),
        ("call_0_3", "three"),
    ]


def test_thinking_goes_back_unchanged_and_only_to_its_maker():
    thoughts = (
        Reasoning("hm", "c2ln", "here/m"),
        Reasoning("", REDACTED + "ZGF0YQ", "here/m"),
        Reasoning("no", "eA", "x"),
    )
    turns = body(user("go"), assistant(*thoughts, "done", Reasoning("unsigned", None, "here/m")), user("more"))[
        "messages"
    ]
    assert turns[1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZGF0YQ"},
        text("done"),
    ]


def test_a_message_serves_two_endpoints():
    spoken = assistant(Reasoning("hm", "c2ln", "here/m"), "done")
    there = Candidate(Provider("there", "anthropic-messages", "https://there.test", None, {"m": ROW}), ROW)
    request = Request((user("go"), spoken, user("more")))
    for _ in range(2):
        assert b"c2ln" in CHAT.encode(request, HERE, stream=False).body
        assert b"c2ln" not in CHAT.encode(request, there, stream=False).body
