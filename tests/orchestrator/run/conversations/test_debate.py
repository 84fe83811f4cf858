"""The sides argue; the judge has heard all of it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import MaxTurns
from tests.orchestrator.stage import Stage, distinct

pytestmark = pytest.mark.anyio


def debate(**changes: Any) -> ConversationPlan:
    given: dict[str, Any] = {
        "id": "debate",
        "pattern": "debate",
        "participants": ("pro", "con"),
        "moderator": "judge",
        "rounds": 2,
        "terminate": MaxTurns(4),
    }
    return ConversationPlan(**{**given, **changes})


@pytest.mark.parametrize("independent", [False, True])
async def test_the_judge_speaks_once_after_all_rounds_and_has_heard_everything(independent: bool) -> None:
    stage = Stage(distinct)
    minutes = await stage.hold(debate(independent_first_round=independent))
    assert sorted(u.speaker for u in minutes.said[:2]) == ["con", "pro"]
    assert [u.speaker for u in minutes.said[2:]] == ["pro", "con", "judge"]
    speaker, prompt, history, _ = stage.seen[-1]
    assert (speaker, minutes.conclusion) == ("judge", distinct("judge", 0))
    assert "verdict" in prompt
    assert [m.text for m in history[1:]] == [u.text for u in minutes.said[:-1]]
    heard = [len(history) - 1 for speaker, _, history, _ in stage.seen[:2]]
    assert heard == ([0, 0] if independent else [0, 1])


async def test_rounds_end_it_where_no_condition_does() -> None:
    stage = Stage(distinct)
    minutes = await stage.hold(debate(terminate=MaxTurns(99), rounds=3))
    assert [u.speaker for u in minutes.said] == ["pro", "con"] * 3 + ["judge"]
    assert (minutes.reason, stage.events[-1].kind) == ("3 rounds", "pattern")


async def test_each_side_is_told_what_it_stands_for() -> None:
    stage = Stage(distinct)
    await stage.hold(debate(positions={"pro": "tabs"}))
    prompts = {speaker: prompt for speaker, prompt, *_ in stage.seen}
    assert "You stand for this: tabs." in prompts["pro"]
    assert "You stand for" not in prompts["con"]


async def test_a_person_takes_a_side() -> None:
    minutes = await Stage(distinct).hold(debate(participants=("human", "con")))
    assert [u.speaker for u in minutes.said] == ["human", "con", "human", "con", "judge"]
