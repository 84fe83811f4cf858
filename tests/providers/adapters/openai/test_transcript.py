"""Any transcript becomes one that a Chat Completions endpoint takes: no word lost or doubled, every call paired."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.model import Candidate, Model, Provider
from providers.catalog.quirks import Quirks
from providers.errors import Unsupported
from providers.messages import (
    Capability,
    Image,
    Message,
    Needs,
    OutputSchema,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    system,
    tool,
    user,
)

CHAT = OpenAIChat()
MODEL = Model("small-1", 8000, 1000)


def sent(*transcript: Message, name: str = "vendor", schema: OutputSchema | None = None, **quirks) -> list[dict]:
    provider = Provider(name, "openai-chat", "https://api.test/v1", None, {MODEL.name: MODEL}, quirks=Quirks(**quirks))
    request = Request(transcript, output_schema=schema)
    return json.loads(CHAT.encode(request, Candidate(provider, MODEL), stream=False).body)["messages"]


def roles(messages: list[dict]) -> list[str]:
    return [message["role"] for message in messages]


# ---- calls and results


def test_a_result_without_its_call_is_told_as_the_users_words():
    out = sent(user("x"), tool(ToolResult("gone", "look", "42")), assistant("ok"))
    assert out[1] == {"role": "user", "content": "Result of the tool look: 42"}


def test_a_result_that_comes_too_late_is_told_behind_its_stand_in():
    out = sent(assistant(ToolCall("a", "f", "{}")), user("and?"), tool(ToolResult("a", "f", "42")))
    assert roles(out) == ["assistant", "tool", "user", "user"]
    assert out[3]["content"] == "Result of the tool f: 42"


def test_a_second_result_to_one_call_is_told_too():
    call = assistant(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    out = sent(call, tool(ToolResult("a", "f", "1"), ToolResult("a", "f", "2")), tool(ToolResult("b", "f", "3")))
    assert [(m["role"], m["content"]) for m in out[1:]] == [
        ("tool", "1"),
        ("tool", "3"),
        ("user", "Result of the tool f: 2"),
    ]


def test_words_beside_results_wait_until_all_calls_are_answered():
    calls = assistant(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    out = sent(calls, Message("tool", (ToolResult("a", "f", "1"), Text("note"))), tool(ToolResult("b", "f", "2")))
    assert [m["content"] for m in out] == [None, "1", "2", "note"]


def test_calls_of_one_id_or_none_are_told_apart_and_their_results_follow_in_order():
    calls = assistant(*(ToolCall(i, "f", "{}") for i in ("a", "a", "", "")))
    out = sent(calls, tool(*(ToolResult(i, "f", text) for i, text in [("a", "1"), ("", "3"), ("a", "2"), ("", "4")])))
    ids = [call["id"] for call in out[0]["tool_calls"]]
    assert len(set(ids)) == 4
    assert all(ids)
    assert {m["tool_call_id"]: m["content"] for m in out[1:]} == dict(zip(ids, "1234", strict=True))


def test_an_id_longer_than_forty_characters_is_shortened():
    long = "fc_0f0e50a1476a6c35006912c58dc9f8819192c25864eb16f07f"
    out = sent(assistant(ToolCall(long, "f", "{}")), tool(ToolResult(long, "f", "x")))
    assert out[0]["tool_calls"][0]["id"] == out[1]["tool_call_id"]
    assert len(out[1]["tool_call_id"]) <= 40


@pytest.mark.parametrize(
    ("name", "wire"), [("default_api:add", "default_api_add"), ("ok-1", "ok-1"), ("", "unnamed"), ("n" * 70, "n" * 64)]
)
def test_a_name_that_another_vendors_model_made_up_is_made_to_fit(name, wire):
    assert sent(assistant(ToolCall("a", name, "{}")))[0]["tool_calls"][0]["function"]["name"] == wire


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_an_image_that_only_a_user_may_send_is_refused(role):
    with pytest.raises(Unsupported):
        sent(Message(role, (Image("image/png", b"x"),)))


# ---- reasoning


def test_details_go_back_unchanged_to_who_sent_them_only():
    details = [{"type": "reasoning.encrypted", "data": "xyz", "index": 0}, {"type": "reasoning.text", "text": "hm"}]
    said = assistant(Reasoning("hm", json.dumps(details), "vendor/small-1"), "done")
    assert sent(said, reasoning_field="reasoning_details")[0]["reasoning_details"] == details
    assert "reasoning_details" not in sent(said, name="other", reasoning_field="reasoning_details")[0]
    assert sent(said) == [{"role": "assistant", "content": "done"}]


@pytest.mark.parametrize("opaque", ["no json", "7", "[NaN]", "[" * 100_000, None])
def test_a_blob_of_another_dialect_is_left_out(opaque):
    said = assistant(Reasoning("hm", opaque, "vendor/small-1"), "done")
    assert "reasoning_details" not in sent(said, reasoning_field="reasoning_details")[0]


def test_a_blob_that_was_tampered_with_is_cleaned():
    said = assistant(Reasoning("", '[{"data":"\\ud83d\\u0000"}]', "vendor/small-1"), "done")
    assert sent(said, reasoning_field="reasoning_details")[0]["reasoning_details"] == [{"data": "\ufffd"}]


def test_where_reasoning_is_demanded_foreign_turns_hold_a_blank():
    own = assistant(Reasoning("mine", made_by="vendor/small-1"), ToolCall("a", "f", "{}"))
    foreign = assistant(Reasoning("theirs", "sig", "other"), ToolCall("b", "f", "{}"))
    out = sent(own, tool(ToolResult("a", "f", "x")), foreign, reasoning_field="reasoning_content")
    assert [m.get("reasoning_content") for m in out] == ["mine", None, " ", None]


# ---- strict turns


def test_strict_turns():
    call = assistant(ToolCall("a", "f", "{}"))
    out = sent(
        system("one"),
        system("two"),
        assistant("hello"),
        assistant("there"),
        call,
        tool(ToolResult("a", "f", "x"), ToolResult("gone", "g", "y")),
        system("three"),
        user("four"),
        Message("user", (Text("see"), Image("image/png", b"x"))),
        assistant("bye"),
        strict_turns=True,
    )
    assert roles(out) == ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "user"]
    assert out[0]["content"] == "one\n\ntwo"
    assert out[1]["content"] == "Begin."
    assert (out[2]["content"], len(out[2]["tool_calls"])) == ("hello\n\nthere", 1)
    assert out[4]["content"] == "Understood."
    assert [item.get("text") for item in out[5]["content"]] == [
        "Result of the tool g: y\n\nSystem: three\n\nfour",
        "see",
        None,
    ]
    assert out[7]["content"] == "Go on."


def test_an_answer_that_is_to_be_gone_on_with_stands_last():
    begun = Request((user("a"), assistant("It is")), needs=Needs(capabilities=frozenset({Capability.PREFILL})))
    for strict in (False, True):
        provider = Provider("p", "openai-chat", "", None, {MODEL.name: MODEL}, quirks=Quirks(strict_turns=strict))
        messages = json.loads(CHAT.encode(begun, Candidate(provider, MODEL), stream=True).body)["messages"]
        assert messages[-1] == {"role": "assistant", "content": "It is"}


def test_a_plain_conversation_is_the_same_in_strict_turns():
    talk = (system("s"), user("a"), assistant("b"), user("c"))
    assert sent(*talk, strict_turns=True) == sent(*talk)


def test_a_schema_in_words_joins_the_one_system_message():
    out = sent(system("s"), user("a"), schema=OutputSchema({}), json_mode="prompt", strict_turns=True)
    assert roles(out) == ["system", "user"]
    assert out[0]["content"].startswith("s\n\n")


# ---- any transcript

ids = st.sampled_from(["a", "b", "call_1", "toolu_01", "", "x" * 60, "aB3dE6gH9"])
counter = iter(range(10**9))
words = st.builds(lambda: f"w{next(counter)}.")
texts = st.builds(Text, words)
thoughts = st.builds(Reasoning, words, st.none(), st.sampled_from(["vendor/small-1", "vendor/other", "other/small-1"]))
calls = st.builds(ToolCall, ids, st.sampled_from(["f", "a.b:c"]), words.map(lambda w: json.dumps({"q": w})))
results = st.builds(ToolResult, ids, st.just("f"), words, st.booleans())
images = st.just(Image("image/png", b"x"))
transcripts = st.lists(
    st.one_of(
        st.builds(Message, st.just("system"), st.lists(texts, max_size=2).map(tuple)),
        st.builds(Message, st.just("user"), st.lists(texts | images | results, max_size=3).map(tuple)),
        st.builds(Message, st.just("assistant"), st.lists(texts | thoughts | calls, max_size=4).map(tuple)),
        st.builds(Message, st.just("tool"), st.lists(results | texts, max_size=4).map(tuple)),
    ),
    max_size=8,
)
quirks = st.fixed_dictionaries(
    {
        "tool_ids": st.sampled_from(["opaque", "alnum9"]),
        "null_content": st.booleans(),
        "strict_turns": st.booleans(),
        "system_role": st.sampled_from(["system", "developer"]),
        "reasoning_field": st.sampled_from([None, "reasoning_content", "reasoning_details"]),
        "json_mode": st.sampled_from(["schema", "object", "prompt"]),
    }
)


def words_in(value) -> Counter[str]:
    return Counter(re.findall(r"w\d+\.", json.dumps(value)))


def words_of(transcript: list[Message]) -> Counter[str]:
    """Return what must arrive: all that was said but thoughts."""
    said = Counter()
    for part in (part for message in transcript for part in message.parts):
        match part:
            case Text(text):
                said[text] += 1
            case ToolCall():
                said += words_in(part.arguments)
            case ToolResult():
                said[part.content] += 1
    return said


def assert_paired(out: list[dict], tool_ids: str) -> None:
    open_calls: list[str] = []
    for message in out:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])  # raises where there is no such call
            continue
        assert not open_calls
        open_calls = [call["id"] for call in message.get("tool_calls", ())]
        assert len(set(open_calls)) == len(open_calls)
        form = r"[A-Za-z0-9]{9}" if tool_ids == "alnum9" else r".{1,40}"
        assert all(re.fullmatch(form, call_id) for call_id in open_calls)
    assert not open_calls


def assert_nothing_empty(out: list[dict], null_content: bool) -> None:
    for message in out:
        content = message["content"]
        if message.get("tool_calls"):
            assert content or content == (None if null_content else "")
        else:
            assert content
        if isinstance(content, list):
            assert all(item.get("text", "x").strip() for item in content)


def assert_strict(out: list[dict], system_role: str) -> None:
    order = roles(out)
    assert system_role not in order[1:]
    spoken = [role for role in order if role != system_role]
    assert spoken[0] == "user"
    assert spoken[-1] in ("user", "tool")
    follows = {"user": {"assistant"}, "assistant": {"user", "tool"}, "tool": {"tool", "assistant"}}
    assert all(after in follows[before] for before, after in pairwise(spoken))


@given(transcripts, quirks, st.booleans())
def test_any_transcript_becomes_a_valid_one(transcript, quirks, constrained):
    out = sent(*transcript, schema=OutputSchema({}) if constrained else None, **quirks)
    assert_paired(out, quirks["tool_ids"])
    assert_nothing_empty(out, quirks["null_content"])
    if quirks["strict_turns"]:
        assert_strict(out, quirks["system_role"])
    thoughts = Counter(
        p.text for m in transcript for p in m.parts if isinstance(p, Reasoning) and p.made_by == "vendor/small-1"
    )
    wanted = words_of(transcript) + (thoughts if quirks["reasoning_field"] == "reasoning_content" else Counter())
    assert words_in(out) == wanted


@given(transcripts, quirks, quirks)
def test_a_failover_in_the_middle_leaves_nothing_of_the_first_vendors_form(transcript, first, second):
    sent(*transcript, name="vendor", **first)
    fresh = [Message(m.role, m.parts, m.name) for m in transcript]
    assert sent(*transcript, name="other", **second) == sent(*fresh, name="other", **second)


@pytest.mark.parametrize("strict", [False, True])
def test_where_nobody_has_spoken_the_user_begins(strict):
    begin = {"role": "user", "content": "Begin."}
    assert sent(strict_turns=strict) == [begin]
    assert sent(system("Be brief."), strict_turns=strict) == [{"role": "system", "content": "Be brief."}, begin]
    said = sent(schema=OutputSchema({"type": "array"}), strict_turns=strict)
    assert roles(said) == ["system", "user"]
