"""When a conversation is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.run.conversations.ending import EndReason, SoFar, ended, says
from orchestrator.run.conversations.speech import Utterance
from orchestrator.squad.termination import (
    AllOf,
    AnyOf,
    EndedOutside,
    FunctionHolds,
    HandedTo,
    MaxSeconds,
    MaxTokens,
    MaxTurns,
    MessageOf,
    PhraseSaid,
    SpokenBy,
    StopSaid,
    Termination,
    ToolCalled,
    countable,
    is_bounded,
    listens,
    most_turns,
    phrases,
    written,
)


def test_all_needs_each_and_any_needs_one() -> None:
    said = [Utterance("a", "done", 1)]
    so_far = SoFar(said, tokens=100)
    turns, tokens, phrase = MaxTurns(2), MaxTokens(100), PhraseSaid("done")
    assert ended(AnyOf((turns, tokens)), so_far) == EndReason("tokens", "100 tokens")
    assert ended(AllOf((turns, tokens)), so_far) is None
    assert ended(AllOf((phrase, tokens)), so_far) == EndReason("all", "a said 'done' and 100 tokens")
    assert ended(AllOf((phrase,)), so_far) == EndReason("text", "a said 'done'")
    assert ended(MaxSeconds(5.0), SoFar(said, seconds=4.9)) is None
    assert ended(MaxSeconds(5.0), SoFar(said, seconds=5.0)) == EndReason("time", "5 s")
    holds = FunctionHolds(lambda said: said[-1].text == "done")
    assert ended(holds, so_far) == EndReason("function", "the given function")


@pytest.mark.parametrize(
    ("text", "is_said"),
    [
        ("PLAN AGREED", True),
        ("All settled.\n\n**PLAN AGREED**\n", True),
        ('All settled.\n"PLAN AGREED"', True),
        ("All settled.\n```\nPLAN AGREED\n```", True),
        ("We are done, PLAN AGREED.", True),
        ('It is "5 foot. PLAN AGREED. So be it.', True),
        ("```markdown\n# Plan\nAll of it.\n\nPLAN AGREED\n```\n", True),
        ('Nobody may say "PLAN AGREED" yet.', False),
        ("Say `PLAN AGREED` when you are ready.", False),
        ("We say „jetzt PLAN AGREED“ later.", False),
        ("```\nif done: print('PLAN AGREED')\n```\nThis is how it would look.", False),
        ("~~~\nPLAN AGREED\n~~~\nis what we say at the end.", False),
        ("plan agreed", False),
        ("", False),
    ],
)
def test_a_phrase_is_said_where_it_is_not_quoted_and_not_code(text: str, is_said: bool) -> None:
    assert says(text, "PLAN AGREED") is is_said


@pytest.mark.parametrize("phrase", ['"done"', "`done`", "a\nb"])
def test_a_phrase_of_odd_characters_can_be_said(phrase: str) -> None:
    assert says(f"Well.\n{phrase}\n", phrase)


def test_a_number_of_turns_ends_it_alone_or_not() -> None:
    phrase = PhraseSaid("X")
    assert most_turns(AnyOf((MaxTurns(9), phrase, AnyOf((MaxTurns(3),))))) == 3
    assert most_turns(AllOf((MaxTurns(9), MaxTurns(3)))) == 9
    assert most_turns(AllOf((MaxTurns(9), phrase))) is None
    assert most_turns(phrase) is None


LATEST: list[tuple[Termination, Utterance, EndReason]] = [
    (
        StopSaid(),
        Utterance("a", "Done.", 2, "Done.\nSTOP", closing=("STOP",)),
        EndReason("stop_message", "a said 'STOP'"),
    ),
    (HandedTo("human"), Utterance("a", "", 2, next=("human",)), EndReason("handoff", "a handed over to human")),
    (SpokenBy(("a", "b")), Utterance("a", "", 2), EndReason("source", "a had a turn")),
    (MessageOf("a"), Utterance("a", "Hello.", 2), EndReason("message", "a said something")),
    (ToolCalled("approve"), Utterance("a", "", 2, tools=("look", "approve")), EndReason("tool", "a called approve")),
]


@pytest.mark.parametrize(("end", "utterance", "reason"), LATEST)
def test_what_is_done_in_the_latest_round_ends_it(end: Termination, utterance: Utterance, reason: EndReason) -> None:
    other = Utterance("c", "We STOP here.", 2, next=("b",), tools=("look",))
    assert ended(end, SoFar([utterance])) == ended(end, SoFar([utterance, other])) == reason
    assert ended(end, SoFar([other])) is None
    assert ended(end, SoFar([utterance, Utterance("c", "", 3)])) is None, "of an earlier round it is no end now"


@pytest.mark.parametrize(("end", "utterance", "reason"), [*LATEST, (PhraseSaid("X"), Utterance("a", "X", 2), None)])
def test_what_all_ask_for_need_not_be_done_at_once(end: Termination, utterance: Utterance, reason: EndReason) -> None:
    """As in AutoGen: `all` of two who agree, one after the other, in rounds of their own."""
    later = Utterance("c", "I agree.", 3)
    both = AllOf((AnyOf((end,)), MessageOf("c")))
    assert ended(both, SoFar([utterance])) is None
    assert ended(both, SoFar([utterance, later])) is not None
    assert ended(both, SoFar([later, replace(utterance, round=4)])) is not None
    assert ended(both, SoFar([utterance, later], edition=2)) is None, "as it was"


def test_a_program_ends_what_lets_it() -> None:
    end = AnyOf((EndedOutside(), MaxTurns(9)))
    assert listens(end)
    assert not listens(MaxTurns(9))
    assert not is_bounded(EndedOutside())
    said = [Utterance("a", "Hello.", 1)]
    assert ended(end, SoFar(said)) is None
    assert ended(end, SoFar(said, is_ended_outside=True)) == EndReason("external", "the program ended it")
    assert written(EndedOutside()) == {"external": True}


def test_silence_is_no_message() -> None:
    assert ended(MessageOf("a"), SoFar([Utterance("a", " ", 1, "STOP")])) is None
    passed_over = Utterance("human", "(no reply)", 1)
    assert ended(MessageOf("human"), SoFar([passed_over])) is None
    assert ended(SpokenBy(("human",)), SoFar([passed_over])) == EndReason("source", "human had a turn")


@pytest.mark.parametrize(("end", "utterance", "reason"), LATEST)
def test_what_may_never_be_done_bounds_nothing(end: Termination, utterance: Utterance, reason: EndReason) -> None:
    assert not is_bounded(end)
    assert not is_bounded(AllOf((end, MaxTurns(3))))
    assert is_bounded(AnyOf((end, MaxTurns(3))))
    assert (most_turns(end), countable(end)) == (None, None)
    assert list(written(end)) == [reason.kind]


def test_who_may_stop_it_is_told_how() -> None:
    assert list(phrases(AnyOf((StopSaid(), MaxTurns(3))))) == [PhraseSaid("STOP")]
