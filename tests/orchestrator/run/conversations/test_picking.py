"""Whom a selector's answer picks."""

from __future__ import annotations

import pytest

from orchestrator.run.conversations.picking import pick_of
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import MaxTurns

NAMES = {"ann": "Ann Lee", "bob": "Bob Smith", "cat": "Catherine Smith"}
PLAN = ConversationPlan("talk", "selector", ("ann", "bob", "cat"), MaxTurns(9), names=NAMES)
MAY = ("bob", "cat")


@pytest.mark.parametrize(
    "text",
    [
        "bob",
        "NEXT: bob",
        "**Bob**",
        "> next speaker: @bob.",
        '{"speaker": "bob"}',
        'Sure!\n```json\n{"next": {"name": "bob", "why": "because"}}\n```',
        '"bob"',
        "I choose bob.",
        "The next speaker should be Bob Smith, as ann has just spoken.",
        "Ann has spoken, so it is bob's turn.\n\nbob",
        "cat asked a question, and only Bob can answer it.\nNEXT: Bob",
        "ＢＯＢ",
        "NEXT: bob\nNEXT: ann",
    ],
)
def test_one_who_may_speak_is_found_in_every_dress(text: str) -> None:
    picked = pick_of(text, MAY, PLAN)
    assert (picked.next, picked.unread) == (("bob",), None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "nobody"),
        (" \n\t", "nobody"),
        ("zoe", "nobody"),
        ("NEXT: zoe", "nobody"),
        ("ann", "ineligible"),
        ('{"next": "ann"}', "ineligible"),
        ("NEXT: bob, cat", "several"),
        ("bob or cat", "several"),
        ("Smith", "ambiguous"),
        ("[" * 5000, "nobody"),
        ("word " * 500_000, "nobody"),
        ('{"a": ' * 3000, "nobody"),
        ("\x00\ud800\u202e", "nobody"),
    ],
)
@pytest.mark.few(4)
def test_any_other_answer_picks_nobody_and_says_why(text: str, fault: str) -> None:
    picked = pick_of(text, MAY, PLAN)
    assert picked.next == ()
    assert picked.unread is not None
    assert picked.unread.fault == fault
    assert picked.unread.why
    assert len(picked.unread.line) <= 200
