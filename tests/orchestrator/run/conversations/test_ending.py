"""When a conversation is over."""

from __future__ import annotations

import pytest

from orchestrator.run.conversations.ending import EndReason, SoFar, ended, says
from orchestrator.run.conversations.speech import Utterance
from orchestrator.squad.termination import (
    AllOf,
    AnyOf,
    FunctionHolds,
    MaxSeconds,
    MaxTokens,
    MaxTurns,
    PhraseSaid,
    most_turns,
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
