"""What is recorded comes back as it was, whatever a model or a tool said."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.events import TurnEnded
from orchestrator.events import GateOpened, RunFinished, TaskEnded, TaskExpanded
from orchestrator.journal.codec import LARGE, Unreadable, pack, unpack
from providers.messages import (
    Attempt,
    Capability,
    FinishReason,
    Image,
    Message,
    Reasoning,
    Response,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)

TEXTS = st.text(st.characters(), max_size=40) | st.text(st.characters(), min_size=1, max_size=9).map(lambda t: t * 99)
"""Lone surrogates among them, and texts that are kept apart."""
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXTS | st.sampled_from(["$", "$s", "$t", "$m"]) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
OPAQUE = st.none() | TEXTS
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Image, st.just("image/png"), st.binary(max_size=LARGE * 2)),
    st.builds(Reasoning, TEXTS, OPAQUE, OPAQUE),
    st.builds(ToolCall, TEXTS, TEXTS, TEXTS, OPAQUE, OPAQUE),
    st.builds(ToolResult, TEXTS, TEXTS, TEXTS, st.booleans()),
)
COUNTS = st.integers(0, 10**9)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
COSTS = st.none() | COUNTS
MESSAGES = st.builds(Message, st.just("assistant"), st.lists(PARTS, max_size=4).map(tuple), st.none() | TEXTS)
ATTEMPTS = st.builds(Attempt, TEXTS, TEXTS, st.just("ok"), st.none() | COUNTS, OPAQUE, OPAQUE, st.floats(0, 1e9))
RESPONSES = st.builds(
    Response, MESSAGES, st.sampled_from(FinishReason), USAGES, TEXTS, TEXTS, COSTS, st.lists(ATTEMPTS).map(tuple)
)
EVENTS = st.one_of(
    st.builds(TaskEnded, TEXTS, st.just("ok"), VALUES, OPAQUE, OPAQUE, OPAQUE, st.lists(TEXTS).map(tuple)),
    st.builds(TaskExpanded, TEXTS, st.lists(TEXTS).map(tuple), st.lists(VALUES).map(tuple)),
    st.builds(GateOpened, TEXTS, TEXTS, st.lists(TEXTS).map(tuple), st.dictionaries(TEXTS, TEXTS), COUNTS),
    st.builds(TurnEnded, TEXTS, COUNTS, TEXTS, TEXTS, USAGES, COSTS, st.sampled_from(FinishReason)),
    st.builds(
        RunFinished,
        TEXTS,
        st.just("done"),
        st.dictionaries(TEXTS, VALUES),
        st.just({}),
        USAGES,
        COSTS,
        st.just({}),
        st.booleans(),
    ),
)


def there_and_back(value: Any) -> Any:
    packed = pack(value)
    assert all(hashlib.sha256(body).digest() == digest for digest, body in packed.bodies.items())
    return unpack(packed.data, packed.bodies.__getitem__)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, and of the same kinds all the way down: 1 is not True here."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(same(one[key], other[key]) for key in one)
    return all(map(same, one, other)) if isinstance(one, list | tuple) else True


@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    assert same(there_and_back(value), value)


@given(RESPONSES)
def test_responses_come_back_with_all_that_is_opaque_in_them(response: Response) -> None:
    back = there_and_back(response)
    assert back == response
    assert back.message.digest == response.message.digest, "the next request hashes the same"


@given(EVENTS)
def test_events_come_back(event: Any) -> None:
    assert there_and_back(event) == event


def test_a_large_text_is_kept_apart_and_once() -> None:
    text = "story " * 100
    packed = pack([text, {"again": text}, TaskEnded("a", "ok", text)])
    assert len(packed.bodies) == 1
    assert len(packed.data) < len(text)


def test_a_field_that_a_later_release_added_has_its_default_and_one_that_is_gone_is_passed_over() -> None:
    assert unpack(b'{"$":"ToolResult","call_id":"c","name":"n","content":"x"}', {}.__getitem__) == ToolResult(
        "c", "n", "x"
    )
    assert unpack(b'{"$":"Text","text":"x","was":1}', {}.__getitem__) == Text("x")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"$":"NoSuchThing"}', b'{"$":"Text"}', b'{"$z":1}', b'{"$t":5}']
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack(data, {}.__getitem__)


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(TypeError, match="object cannot be recorded"):
        pack({"x": object()})


def test_a_class_that_has_another_name_today_is_read_under_the_one_that_was_recorded() -> None:
    assert unpack(b'{"$":"Ability","value":"tools"}', {}.__getitem__) is Capability.TOOLS
