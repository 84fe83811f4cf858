"""Who speaks next in a party: its generator without anybody who speaks."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.run.conversations import PATTERNS
from orchestrator.run.conversations.control import control_of
from orchestrator.run.conversations.party import next_speakers, party
from orchestrator.run.conversations.speech import Conclusion, SpeakTogether, Utterance, advance, speeches_of
from orchestrator.squad.plan import ConversationPlan, PatternName
from orchestrator.squad.termination import MaxTurns

MEETING = ConversationPlan(
    "meeting", "party", ("john", "winston", "sally", "amelia"), MaxTurns(12), moderator="bob", speakers_per_round=2
)


def test_each_pattern_of_the_format_is_there() -> None:
    assert set(PATTERNS) == set(get_args(PatternName))


def test_a_moderator_who_names_nobody_lets_the_longest_silent_speak() -> None:
    assert next_speakers((), MEETING, ["john", "sally", "winston"]) == ["amelia", "john"]


@given(text=st.text(), spoken=st.lists(st.sampled_from(["john", "winston", "sally", "amelia", "bob"])))
def test_whatever_the_moderator_says_someone_speaks_next(text: str, spoken: list[str]) -> None:
    control = control_of(text, "bob", MEETING, 2)
    chosen = next_speakers(control.next, MEETING, spoken)
    assert 1 <= len(chosen) <= 2
    assert set(chosen) <= set(MEETING.participants)


def test_the_pattern_yields_speeches_and_concludes_when_it_is_sent_nothing() -> None:
    pattern = party(ConversationPlan("m", "party", ("a", "b"), MaxTurns(9), "bob", independent_first_round=True))
    first = advance(pattern, None)
    assert isinstance(first, SpeakTogether)
    assert [one.place for one in speeches_of(first)] == ["round-1/a", "round-1/b"]
    moderation = advance(pattern, (Utterance("a", "A", 1), Utterance("b", "B", 1)))
    assert [one.place for one in speeches_of(moderation)] == ["round-1/moderator"]
    following = advance(pattern, (Utterance("bob", "Settled.", 1, next=("b",)),))
    assert [one.place for one in speeches_of(following)] == ["round-2/b"]
    assert advance(pattern, ()) == Conclusion("Settled.")
