"""Who is mentioned speaks next, and nobody is kept from speaking by that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.run.conversations.mentions import mentioned
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import MaxTurns
from tests.orchestrator.stage import Script, Stage, distinct

pytestmark = pytest.mark.anyio

NAMES = {"ann": "Ann Lee", "bob": "Bob Smith", "cat": "Catherine Smith", "dev-1": "Dee"}
PLAN = ConversationPlan(
    "talk", "round_robin", ("ann", "bob", "cat", "dev-1", "human"), MaxTurns(10), names=NAMES, mentions=True
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@bob what now?", ("bob",)),
        ("What now, @Bob?", ("bob",)),
        ("(@bob, @ann)", ("bob", "ann")),
        ("**@Bob Smith**: yes", ("bob",)),
        ("Over to @human.", ("human",)),
        ("@dev-1: go", ("dev-1",)),
        ("＠ｂｏｂ go", ("bob",)),
        ("@Catherine go", ("cat",)),
        ("@Smith go", ()),
        ("bob go", ()),
        ("@zoe go", ()),
        ("@ bob", ()),
        ("Mail bob@bob.example or @bob.example", ()),
        ("@bobby @bob_2 @bob-x x.@bob a/@bob", ()),
        ('`@bob` and "@bob" and “@bob”', ()),
        ("```\n@bob.route()\n@bob\n```", ()),
        ("@" * 10_000, ()),
    ],
)
def test_whom_a_text_mentions(text: str, names: tuple[str, ...]) -> None:
    assert mentioned(text, PLAN) == names


def calling(**calls: str) -> Script:
    return lambda s, n: f"{distinct(s, n)} {calls.get(s, '')}"


def few(**changes: Any) -> ConversationPlan:
    return replace(PLAN, participants=("ann", "bob", "cat"), **changes)


async def test_who_is_mentioned_speaks_next() -> None:
    minutes = await Stage(calling(ann="@cat?")).hold(few(terminate=MaxTurns(6)))
    assert [u.speaker for u in minutes.said] == ["ann", "cat", "bob"] * 2
    minutes = await Stage(calling(cat="@ann?")).hold(few(terminate=MaxTurns(8)))
    assert [u.speaker for u in minutes.said] == ["ann", "bob", "cat", "ann"] * 2


async def test_two_that_mention_each_other_keep_nobody_from_speaking() -> None:
    stage = Stage(calling(ann="@bob?", bob="@ann?"))
    minutes = await stage.hold(few(terminate=MaxTurns(10)))
    assert [u.speaker for u in minutes.said] == ["ann", "bob", "ann", "bob", "cat"] * 2
    places = [place for *_, place in stage.seen]
    assert places[:3] == ["round-1/ann", "round-1/bob", "round-1/ann-mentioned"]
    assert len(set(places)) == len(places)


async def test_without_the_field_a_mention_is_a_word_like_any_other() -> None:
    stage = Stage(calling(ann="@cat?"))
    minutes = await stage.hold(few(terminate=MaxTurns(3), mentions=None))
    assert [u.speaker for u in minutes.said] == ["ann", "bob", "cat"]
    assert "@name" not in stage.seen[0][2][0].text


async def test_a_mention_in_a_party_adds_a_speaker_and_a_moderator_names_by_mention() -> None:
    plan = few(pattern="party", moderator="lead", speakers_per_round=1, terminate=MaxTurns(5))
    minutes = await Stage(calling(ann="@cat?", lead="What says @bob?")).hold(plan)
    assert [u.speaker for u in minutes.said] == ["ann", "cat", "lead", "bob", "lead"]
    minutes = await Stage(calling(lead="What says @bob?\nNEXT: cat")).hold(plan)
    assert [u.speaker for u in minutes.said] == ["ann", "lead", "cat", "lead", "cat", "lead"], "a line counts first"


async def test_a_selector_is_not_asked_after_a_mention_and_is_asked_after_the_next_turn() -> None:
    plan = few(pattern="selector", selector="sel", terminate=MaxTurns(5))
    stage = Stage(lambda s, n: "cat" if s == "sel" else calling(ann="@bob?", bob="@ann?")(s, n))
    minutes = await stage.hold(plan)
    assert [u.speaker for u in minutes.said] == ["cat", "ann", "bob", "cat", "ann"]
    assert sum(s == "sel" for s, *_ in stage.seen) == 4


async def test_limits_of_speakers_hold_for_who_is_mentioned() -> None:
    minutes = await Stage(calling(ann="@bob?", cat="@bob?")).hold(few(turns_of={"bob": 1}, terminate=MaxTurns(8)))
    assert [u.speaker for u in minutes.said].count("bob") == 1
