from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.context import count_tokens, fit, left_out
from providers.errors import ContextTooLong
from providers.messages import Message, ToolCall, ToolResult, assistant, system, tool, user

words = st.integers(0, 60).map(lambda n: "word " * n)


@st.composite
def exchanges(draw):
    """Return what may follow each other in a transcript: an utterance, or calls with all of their results."""
    kind = draw(st.sampled_from(["user", "assistant", "system", "tools", "tools apart"]))
    text = draw(words)
    if kind in ("user", "assistant", "system"):
        return ({"user": user, "assistant": assistant, "system": system}[kind](text),)
    ids = [str(n) for n in range(draw(st.integers(1, 3)))]
    calls = assistant(text, *[ToolCall(i, "t", "{}") for i in ids])
    results = [ToolResult(i, "t", text) for i in ids]
    return (calls, tool(*results)) if kind == "tools" else (calls, *[tool(result) for result in results])


@st.composite
def transcripts(draw):
    parts = draw(st.lists(exchanges(), min_size=1, max_size=25))
    return (system("You are."), *[message for part in parts for message in part])


def without_mark(fitted: tuple[Message, ...], messages: tuple[Message, ...]) -> list[Message]:
    known = {id(message) for message in messages}
    return [message for message in fitted if id(message) in known]


@given(transcripts(), st.integers(0, 3000), st.integers(0, 500), st.none() | st.integers(1, 12))
def test_what_is_left_is_whole_ordered_and_fits(messages, window, reserve, keep_last):
    try:
        fitted = fit(messages, window, reserve, keep_last=keep_last)
    except ContextTooLong:
        assert count_tokens(messages) > window - reserve
        return
    assert count_tokens(fitted) <= window - reserve
    kept = without_mark(fitted, messages)
    positions = [next(i for i, m in enumerate(messages) if m is k) for k in kept]
    assert positions == sorted(set(positions))
    for i, message in enumerate(messages):  # results stay with what they follow, and go with it
        if message.role == "tool":
            assert (i in positions) == (i - 1 in positions)
    said = [i for i, message in enumerate(messages) if message.role == "user"]
    fixed = [i for i, message in enumerate(messages) if message.role == "system"]
    assert {*fixed, *said[:1], *said[-1:], len(messages) - 1} <= set(positions)
    gone = len(messages) - len(kept)
    assert [m.text for m in fitted if m not in kept] == ([left_out(gone).text] if gone else [])


@given(transcripts(), st.integers(1, 12))
def test_the_newest_messages_are_what_is_kept(messages, keep_last):
    kept = without_mark(fit(messages, None, keep_last=keep_last), messages)
    must = without_mark(fit(messages, None, keep_last=0), messages)
    newest = [message for message in messages if message.role != "system"][-keep_last:]
    wanted = {id(message) for message in (*must, *newest)}
    assert {id(message) for message in kept} <= wanted
    if not any(message.role == "tool" for message in messages):  # an exchange that only half fits goes as a whole
        assert {id(message) for message in kept} == wanted


@given(transcripts(), st.integers(0, 3000))
def test_fitting_is_the_same_with_the_sum_given(messages, window):
    def outcome(**more):
        try:
            return fit(messages, window, **more)
        except ContextTooLong as error:
            return str(error)

    assert outcome() == outcome(total=count_tokens(messages))


def test_a_transcript_that_fits_comes_back_itself():
    messages = (system("You are."), user("Hi"))
    assert fit(messages, 1000, total=count_tokens(messages)) is messages
    assert fit(messages, None) is messages


def test_the_oldest_go_first():
    messages = (system("s"), user("brief"), *[assistant(f"answer {n} " + "word " * 50) for n in range(10)])
    fitted = fit(messages, 500)
    assert fitted[:2] == messages[:2]
    assert "left out" in fitted[2].text
    assert fitted[3:] == messages[-len(fitted[3:]) :]
    assert len(fitted) > 4


def test_what_must_stay_and_does_not_fit_is_said():
    with pytest.raises(ContextTooLong, match="there is room for 50"):
        fit((system("word " * 500), user("brief")), 60, 10)
