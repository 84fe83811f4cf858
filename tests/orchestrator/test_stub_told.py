"""A program that did not ask for the offline stub is warned where it answers."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from orchestrator import Squad, StubAnswers, open_run, run_squad, run_sync
from tests.orchestrator.squads import Answers

SQUAD = """
name: tea
offline: {}
agents: {{ann: {{persona: writer}}}}
tasks: {{a: {{agent: ann, description: Write.}}}}
"""
AUTO = SQUAD.format("auto")


def test_a_script_is_warned_at_its_own_line() -> None:
    with pytest.warns(StubAnswers, match="squad tea: no provider is configured, so the offline stub answers") as told:
        result = run_sync(Squad.from_text(AUTO), environ={})
    assert result.status == "done"
    assert [one.filename for one in told] == [__file__]


@pytest.mark.anyio
async def test_async_code_is_warned_at_its_own_line() -> None:
    with pytest.warns(StubAnswers) as told:
        await run_squad(Squad.from_text(AUTO), environ={})
    with pytest.warns(StubAnswers) as told_too:
        opening = open_run(Squad.from_text(AUTO), environ={})
    async with opening as run:
        async for _ in run:
            pass
    assert [one.filename for one in (*told, *told_too)] == [__file__, __file__]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (AUTO, {"offline": True, "environ": {}}),
        (SQUAD.format("always"), {"environ": {}}),
        (AUTO, {"manager": Answers(), "environ": {}}),
    ],
)
def test_what_was_asked_for_is_not_warned_of(text: str, options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_sync(Squad.from_text(text), **options).status == "done"
