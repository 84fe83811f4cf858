"""A conversation that takes part in another: what it hears, what is heard of it, and whose budget ends which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator import Squad
from orchestrator.events import ConversationEnded, MessageSpoken
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import expect
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run
from providers.messages import Request
from tests.orchestrator.squads import Answers

pytestmark = pytest.mark.anyio


def nested(outer: Mapping[str, Any] | None = None, **changes: Any) -> Squad:
    agents = {name: {"persona": {"name": name.title(), "role": "Talks."}} for name in ("ann", "pro", "con", "judge")}
    return Squad.from_mapping(
        {
            "name": "board",
            "agents": agents,
            "conversations": {
                "board": {
                    "participants": ["ann", {"conversation": "review"}],
                    "terminate": {"max_turns": 4},
                    **(outer or {}),
                },
                "review": {
                    "pattern": "debate",
                    "participants": ["pro", "con"],
                    "judge": "judge",
                    "rounds": 1,
                    **changes,
                },
            },
            "tasks": {"talk": {"conversation": "board", "description": "Tabs or spaces?"}},
            "outputs": {"all": "${{ tasks.talk.transcript }}"},
        }
    )


async def run(squad: Squad) -> tuple[list[tuple[str, str]], list[Any], str, MemoryJournal]:
    """Return what each agent was shown, the events, the transcript, and the journal."""
    shown: list[tuple[str, str]] = []
    count: dict[str, int] = {}

    def answer(agent: str, request: Request) -> str:
        shown.append((agent, "\n".join(message.text for message in request.messages[1:])))
        count[agent] = count.get(agent, 0) + 1
        return f"<{agent} {count[agent]}>"

    journal = MemoryJournal()
    async with open_run(squad, run_id="r", manager=Answers(answer), journal=journal) as opened:
        events = [event async for event in opened]
    return shown, events, str(opened.result.outputs["all"]), journal


async def test_the_inner_one_hears_the_outer_one_and_only_its_conclusion_is_heard_there() -> None:
    shown, events, transcript, journal = await run(nested())
    assert [agent for agent, _ in shown] == ["ann", "pro", "con", "judge"] * 2
    said = [event.data.speaker for event in events if isinstance(event.data, MessageSpoken)]
    assert said == ["ann", "pro", "con", "judge", "review"] * 2
    pro = shown[1][1]
    assert "Tabs or spaces?" in pro
    assert "### ann\n\n<ann 1>" in pro
    again = shown[4][1]
    assert "<judge 1>" in again
    assert "<pro 1>" not in again + transcript
    later = shown[5][1]
    assert "### review\n\n<judge 1>" in later
    assert "<pro 1>" not in later
    ended = [event.data.conversation for event in events if isinstance(event.data, ConversationEnded)]
    assert ended == ["review", "review", "board"]
    assert (await replay(journal, "r")).is_equal


async def test_the_budget_of_the_inner_one_ends_that_one_each_time() -> None:
    _, events, transcript, journal = await run(nested(budget={"max_turns": 1}))
    ended = [(one.conversation, one.kind) for one in (e.data for e in events) if isinstance(one, ConversationEnded)]
    assert ended == [("review", "budget"), ("review", "budget"), ("board", "max_turns")]
    assert "<pro 2>" in transcript
    assert (await replay(journal, "r")).is_equal


async def test_the_budget_of_the_outer_one_ends_both() -> None:
    _, events, transcript, journal = await run(nested({"budget": {"max_turns": 2}}))
    ended = [(one.conversation, one.kind) for one in (e.data for e in events) if isinstance(one, ConversationEnded)]
    assert ended == [("board", "budget")]
    assert "<ann 1>" in transcript
    assert (await replay(journal, "r")).is_equal


def test_its_turns_are_expected() -> None:
    outlook = expect(nested().plan(), Assumptions(), lambda tokens: 1.0)
    assert [turn.agent for turn in outlook.turns] == ["ann", "pro", "con", "judge"] * 2
    assert outlook.seconds == 8.0
