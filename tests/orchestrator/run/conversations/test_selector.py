"""A selector picks who speaks next; nobody hears it, and no answer of it holds the conversation up."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.events import ControlUnread, MessageSpoken
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import AnyOf, MaxTokens, MaxTurns, NoProgress
from providers.budgets import BudgetRef
from providers.errors import BudgetSpent
from tests.orchestrator.stage import Script, Stage, distinct

pytestmark = pytest.mark.anyio


def talk(**changes: Any) -> ConversationPlan:
    given: dict[str, Any] = {
        "id": "talk",
        "pattern": "selector",
        "participants": ("ann", "bob", "cat"),
        "terminate": MaxTurns(4),
        "selector": "sel",
    }
    return ConversationPlan(**{**given, **changes})


def picking(*picks: str) -> Script:
    return lambda s, n: picks[n % len(picks)] if s == "sel" else distinct(s, n)


async def test_who_is_picked_speaks_and_nobody_hears_the_pick() -> None:
    stage = Stage(picking("bob", "NEXT: cat", '{"next": "ann"}', "**Cat**"))
    minutes = await stage.hold(talk())
    assert [u.speaker for u in minutes.said] == ["bob", "cat", "ann", "cat"]
    assert [u.round for u in minutes.said] == [1, 2, 3, 4]
    assert [place for *_, place in stage.seen[:4]] == ["round-1/pick", "round-1/bob", "round-2/pick", "round-2/cat"]
    picks = ["NEXT: cat", '{"next": "ann"}', "**Cat**"]
    everything = [m.text for *_, history, _ in stage.seen for m in history] + [minutes.document()]
    assert not any(pick in text for pick in picks for text in everything)
    assert [e.speaker for e in stage.events if isinstance(e, MessageSpoken)] == ["bob", "cat", "ann", "cat"]


async def test_the_selector_hears_all_and_is_asked_for_those_alone_who_may_speak() -> None:
    stage = Stage(picking("bob", "cat", "ann", "bob"))
    minutes = await stage.hold(talk(roles={"ann": "Counts the beans."}))
    asked = [(prompt, [m.text for m in history[1:]]) for speaker, prompt, history, _ in stage.seen if speaker == "sel"]
    assert [heard for _, heard in asked] == [[u.text for u in minutes.said[:n]] for n in range(4)]
    assert "- ann: Counts the beans.\n- bob\n- cat" in asked[0][0]
    assert "- bob" not in asked[1][0]


@pytest.mark.parametrize("pick", ["", "zoe", "ann or bob or cat", "no idea " * 1000])
async def test_an_invalid_pick_falls_to_who_was_silent_longest_and_is_counted(pick: str) -> None:
    stage = Stage(picking(pick))
    minutes = await stage.hold(talk(terminate=MaxTurns(5)))
    assert [u.speaker for u in minutes.said] == ["ann", "bob", "cat", "ann", "bob"]
    assert sum(isinstance(event, ControlUnread) for event in stage.events) == stage.events[-1].unread == 5


async def test_no_pick_is_paid_for_where_one_may_speak() -> None:
    stage = Stage(picking("cat"))
    transitions = {"ann": ("bob",), "bob": ("ann", "cat"), "cat": ()}
    minutes = await stage.hold(talk(transitions=transitions, terminate=MaxTurns(9)))
    assert [place for *_, place in stage.seen] == ["round-1/pick", "round-1/cat"]
    assert minutes.reason == "nobody is left who may speak"
    stage = Stage(picking("ann", "cat"))
    minutes = await stage.hold(talk(transitions=transitions, terminate=MaxTurns(9)))
    assert [place for *_, place in stage.seen] == [
        *("round-1/pick", "round-1/ann", "round-2/bob", "round-3/pick", "round-3/cat"),
    ]


async def test_speakers_are_repeated_only_where_that_is_allowed() -> None:
    minutes = await Stage(picking("bob")).hold(talk())
    assert [u.speaker for u in minutes.said] == ["bob", "ann", "bob", "cat"]
    minutes = await Stage(picking("bob")).hold(talk(allow_repeated_speaker=True))
    assert [u.speaker for u in minutes.said] == ["bob"] * 4
    minutes = await Stage(picking("bob")).hold(talk(participants=("bob",)))
    assert [u.speaker for u in minutes.said] == ["bob"] * 4


async def test_nobody_speaks_more_often_than_it_may() -> None:
    stage = Stage(picking("bob", "ann"))
    minutes = await stage.hold(talk(turns_of={"ann": 1, "bob": 2, "cat": 1}, terminate=MaxTurns(99)))
    assert sorted(u.speaker for u in minutes.said) == ["ann", "bob", "bob", "cat"]
    assert stage.events[-1].kind == "pattern"
    assert stage.events[-1].reason == "nobody is left who may speak"


async def test_a_moderator_picks_and_has_the_last_word() -> None:
    stage = Stage(lambda s, n: f"NEXT: {'bob' if n % 2 else 'ann'}" if s == "mod" and n < 3 else distinct(s, n))
    minutes = await stage.hold(talk(selector="mod", moderator="mod", terminate=MaxTurns(3)))
    assert [u.speaker for u in minutes.said] == ["ann", "bob", "ann", "mod"]
    assert minutes.conclusion == distinct("mod", 3)


async def test_conditions_are_asked_before_a_pick_and_count_each_round_once() -> None:
    stage = Stage(lambda s, n: "bob" if s == "sel" else "the same words")
    minutes = await stage.hold(talk(terminate=AnyOf((MaxTurns(50), NoProgress(2)))))
    assert minutes.reason == "2 rounds without progress"
    assert len(minutes.said) == 3
    assert stage.seen[-1][0] != "sel"
    minutes = await Stage(picking("bob")).hold(talk(terminate=MaxTokens(50)))
    assert len(minutes.said) == 2, "picks count as tokens: three picks and two utterances"


async def test_a_budget_that_is_spent_by_a_pick_ends_it() -> None:
    own = BudgetRef("conversation", "talk")

    def script(speaker: str, count: int) -> str:
        if (speaker, count) == ("sel", 2):
            raise BudgetSpent(own, "max_turns", 4, 4, 1)
        return picking("bob", "ann")(speaker, count)

    minutes = await Stage(script).hold(talk(), own_account=own)
    assert [u.speaker for u in minutes.said] == ["bob", "ann"]
    assert minutes.reason == "its budget of max_turns"


@pytest.mark.parametrize("pattern", ["round_robin", "party", "selector"])
@pytest.mark.parametrize("moderator", [None, "mod"])
async def test_limits_of_speakers_hold_in_every_pattern(pattern: Any, moderator: str | None) -> None:
    stage = Stage(lambda s, n: "NEXT: ann" if s in ("sel", "mod") else distinct(s, n))
    limits = {"ann": 2, "bob": 1, "cat": 1}
    minutes = await stage.hold(talk(pattern=pattern, moderator=moderator, turns_of=limits, terminate=MaxTurns(60)))
    spoken = [u.speaker for u in minutes.said if u.speaker != "mod"]
    assert {name: spoken.count(name) for name in limits} == limits
    assert stage.events[-1].reason == "nobody is left who may speak"
