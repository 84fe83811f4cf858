"""A manager delegates and hears all; who works hears its own tasks alone."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import AnyOf, MaxTurns, PhraseSaid
from providers.budgets import BudgetRef
from providers.errors import BudgetSpent, ServerFault
from tests.orchestrator.stage import Script, Stage, distinct

pytestmark = pytest.mark.anyio


def work(**changes: Any) -> ConversationPlan:
    given: dict[str, Any] = {
        "id": "work",
        "pattern": "hierarchical",
        "participants": ("ann", "bob", "cat"),
        "moderator": "boss",
        "rounds": 3,
        "terminate": MaxTurns(30),
    }
    return ConversationPlan(**{**given, **changes})


def led(*plans: str) -> Script:
    return lambda s, n: (plans[n] if n < len(plans) else "All of it.") if s == "boss" else distinct(s, n)


TWICE = ("Two parts.\nDELEGATE ann: the <first> part\nDELEGATE bob: the <second> part", "DELEGATE ann: a <third> part")


async def test_a_manager_delegates_collects_and_concludes() -> None:
    stage = Stage(led(*TWICE))
    minutes = await stage.hold(work())
    assert [u.speaker for u in minutes.said] == ["boss", "ann", "bob", "boss", "ann", "boss"]
    assert (minutes.conclusion, minutes.reason) == ("All of it.", "boss concluded")
    places = sorted(place for *_, place in stage.seen)
    first, second = ["ann", "bob", "manager"], ["ann", "manager"]
    assert places == [*(f"round-1/{one}" for one in first), *(f"round-2/{one}" for one in second), "round-3/manager"]
    heard = [m.text for m in stage.seen[-1][2][1:]]
    assert heard == [u.text for u in minutes.said[:-1]], "the manager hears all"


async def test_who_works_hears_its_own_tasks_and_words_alone() -> None:
    stage = Stage(led(*TWICE))
    await stage.hold(work())
    asked = {place: prompt + "".join(m.text for m in history) for _, prompt, history, place in stage.seen}
    assert "the <first> part" in asked["round-1/ann"]
    for other in ("the topic", "Two parts", "<second>", "bob says"):
        assert other not in asked["round-1/ann"] + asked["round-2/ann"]
    assert "<first>" not in asked["round-1/bob"]
    _, prompt, history, _ = stage.seen[4]
    assert "a <third> part" in prompt
    told = [(m.role, m.name, m.text) for m in history[1:]]
    assert told == [("user", "boss", "the <first> part"), ("assistant", None, distinct("ann", 0))]


async def test_a_manager_is_told_of_a_name_that_nobody_has_and_asked_again() -> None:
    stage = Stage(led("DELEGATE zoe: all", "DELEGATE ann: all"))
    minutes = await stage.hold(work())
    assert [u.speaker for u in minutes.said] == ["boss", "boss", "ann", "boss"]
    assert "'zoe' is nobody to delegate to" in stage.seen[1][1]
    assert "could not be followed" not in stage.seen[3][1]


async def test_rounds_bound_a_manager_that_delegates_for_ever() -> None:
    stage = Stage(lambda s, n: "DELEGATE ann: more" if s == "boss" else distinct(s, n))
    minutes = await stage.hold(work())
    assert [u.speaker for u in minutes.said] == ["boss", "ann"] * 3 + ["boss"]
    assert "nobody can be asked any more" in stage.seen[-1][1]
    minutes = await Stage(lambda s, n: "DELEGATE zoe: more").hold(work())
    assert [u.speaker for u in minutes.said] == ["boss"] * 4


@pytest.mark.parametrize("turns", range(1, 8))
async def test_a_number_of_turns_ends_it_and_the_manager_concludes(turns: int) -> None:
    stage = Stage(lambda s, n: "DELEGATE ann, bob, cat: it" if s == "boss" else distinct(s, n))
    minutes = await stage.hold(work(terminate=MaxTurns(turns)))
    assert turns <= len(minutes.said) <= turns + 1
    assert minutes.said[-1].speaker == "boss"
    assert "it is over" in stage.seen[-1][1]


async def test_who_has_no_turns_left_is_not_asked() -> None:
    stage = Stage(lambda s, n: "DELEGATE ann, bob: it" if s == "boss" and n < 3 else distinct(s, n))
    minutes = await stage.hold(work(turns_of={"ann": 1}))
    assert [u.speaker for u in minutes.said].count("ann") == 1
    assert [u.speaker for u in minutes.said].count("bob") == 3


async def test_a_closing_phrase_ends_it() -> None:
    stage = Stage(led("All is there.\nDONE"))
    minutes = await stage.hold(work(terminate=AnyOf((MaxTurns(9), PhraseSaid("DONE", "boss")))))
    assert (minutes.conclusion, len(minutes.said)) == ("All is there.", 1)


async def test_a_failed_worker_fails_it_and_its_own_budget_ends_it() -> None:
    def failing(error: Exception) -> Script:
        def script(speaker: str, count: int) -> str:
            if speaker == "bob":
                raise error
            return led(*TWICE)(speaker, count)

        return script

    with pytest.raises(ServerFault):
        await Stage(failing(ServerFault("down"))).hold(work())
    own = BudgetRef("conversation", "work")
    minutes = await Stage(failing(BudgetSpent(own, "max_turns", 2, 2, 1))).hold(work(), own_account=own)
    assert minutes.reason.startswith("its budget of max_turns")
    assert [u.speaker for u in minutes.said] == ["boss", "ann"]
