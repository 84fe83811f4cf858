"""Which known name a misspelt one may mean."""

from __future__ import annotations

import pytest

from providers.documents.likeness import alike, closest


@pytest.mark.parametrize(
    ("word", "choices", "meant"),
    [
        ("jo", ["joe"], "joe"),
        ("bos", ["worker", "boss"], "boss"),
        ("tset", ["test"], "test"),
        ("hcat", ["chat"], "chat"),
        ("Xeit", ["EXIT"], "EXIT"),
        ("modle", ["code", "model"], "model"),
        ("mdl", ["model"], "model"),
        ("ools", ["tools"], "tools"),
        ("grok", ["groq", "grog2"], "groq"),
        ("opena", ["openai"], "openai"),
        ("dveops", ["dev", "devops"], "devops"),
        ("analist", ["architect", "analyst"], "analyst"),
        ("max_turn", ["max_turns"], "max_turns"),
        ("descripton", ["description"], "description"),
        ("naïve", ["naive"], "naive"),
        ("chats", ["Chat"], "Chat"),
    ],
)
def test_a_slip_is_understood(word: str, choices: list[str], meant: str) -> None:
    assert closest(word, choices) == meant


@pytest.mark.parametrize(
    ("word", "choice"),
    [
        ("ann", "pan"),
        ("dev", "bev"),
        ("bob", "rob"),
        ("set", "test"),
        ("ask", "task"),
        ("tool", "pool"),
        ("cost", "code"),
        ("show", "save"),
        ("lint", "print"),
        ("undo", "sudo"),
        ("agent", "parent"),
        ("doctor", "doc"),
        ("a", "ab"),
        ("a", "b"),
        ("", "a"),
        ("дев", "dev"),
    ],
)
def test_another_short_word_is_no_slip(word: str, choice: str) -> None:
    assert closest(word, [choice]) is None


def test_the_next_alike_is_taken_where_the_most_alike_is_no_slip() -> None:
    assert closest("ask", ["task", "asks"]) == "asks"


def test_what_may_be_a_secret_is_told_with_less() -> None:
    assert alike("oken2", ["token", "key"]) == ["token"]
    assert closest("oken2", ["token", "key"]) is None
