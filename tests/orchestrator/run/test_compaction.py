"""Histories that grow long in runs and chats: summarised in steps of their own, which are told and replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.events import HistorySummarised
from orchestrator.evals.people import PeoplesAnswers
from orchestrator.evals.recording import read_recording, write_recording
from orchestrator.evals.rehearsal import Rehearsal
from orchestrator.journal.memory import MemoryJournal
from orchestrator.options import RunOptions
from orchestrator.rerun.replay import replay
from orchestrator.run_opening import open_with
from orchestrator.session import Session
from providers.errors import ServerFault
from providers.messages import Request
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio


def talk(turns: int = 12, **history: Any) -> Any:
    conversation = {"participants": ["ann", "bob"], "terminate": {"max_turns": turns}}
    return squad(
        {"t": {"conversation": "c", "description": "Agree."}},
        conversations={"c": conversation},
        defaults={"history": history or {"summarise_over_tokens": 600}},
    )


def is_a_summary(request: Request) -> bool:
    return "You shorten the older part" in request.messages[0].text


def speaking(summary: Any = "They agree on Kafka.") -> Answers:
    """Return who says something new each time, and of a history what is given."""
    said = iter(range(1000))

    def answer(agent: str, request: Request) -> Any:
        if not is_a_summary(request):
            return f"{agent} says {next(said)} " + "and so on " * 25
        if isinstance(summary, Exception):
            raise summary
        return summary

    return Answers(answer)


async def test_a_long_conversation_goes_on_from_summaries_and_its_replay_is_equal() -> None:
    manager, journal = speaking(), MemoryJournal()
    result, events = await run(talk(), manager, journal=journal, run_id="r")
    assert result.status == "done"
    made = [event for event in events if isinstance(event.data, HistorySummarised)]
    assert len(made) > 2
    assert {event.data.agent for event in made} == {"ann", "bob"}
    assert all(event.path.endswith("/turn-1/summary") for event in made)
    asked = [request for _, request in manager.asked if not is_a_summary(request)]
    assert max(request.input_tokens for request in asked) < 1000
    assert "They agree on Kafka." in asked[-1].messages[2].text
    # Each is of what is new, and of the summary before it.
    spoken = ["ann says 0 " in request.messages[-1].text for _, request in manager.asked if is_a_summary(request)]
    assert spoken.count(True) == 2
    assert len(of_type(events, "turn.ended")) == len(manager.asked)  # each is paid for, and told
    assert result.cost == 10 * len(manager.asked)
    assert (await replay(journal, "r")).is_equal


@pytest.mark.parametrize("summary", [ServerFault("down"), ""], ids=["nobody", "nothing"])
async def test_without_a_summary_a_conversation_goes_on_whole(summary: Any) -> None:
    manager, journal = speaking(summary), MemoryJournal()
    result, events = await run(talk(), manager, journal=journal, run_id="r")
    assert result.status == "done"
    failed = [event.data.failed for event in events if isinstance(event.data, HistorySummarised)]
    assert failed
    assert all(failed)
    assert len(manager.asked[-1][1].messages) == 2 + 11 + 1
    assert (await replay(journal, "r")).is_equal


async def test_with_both_the_newest_stay_word_for_word() -> None:
    manager = speaking()
    result, _ = await run(talk(summarise_over_tokens=600, keep_last=2), manager)
    assert result.status == "done"
    shortest = min(
        len(request.messages)
        for _, request in manager.asked
        if any("A summary of" in message.text for message in request.messages)
    )
    assert shortest == 2 + 1 + 2 + 1  # instructions and topic, summary, the newest two, the prompt


async def test_a_budget_counts_summaries() -> None:
    conversation = {
        "participants": ["ann", "bob"],
        "terminate": {"max_turns": 12},
        "budget": {"max_turns": 8},
    }
    given = squad(
        {"t": {"conversation": "c", "description": "Agree."}},
        conversations={"c": conversation},
        defaults={"history": {"summarise_over_tokens": 600}},
    )
    manager = speaking()
    result, events = await run(given, manager)
    assert result.status == "done"
    assert len(manager.asked) == 8
    [ended] = of_type(events, "conversation.ended")
    assert ended.budget == "max_turns"


async def test_a_recorded_run_answers_a_test_of_the_squad(tmp_path: Path) -> None:
    journal = MemoryJournal()
    whole, _ = await run(talk(), speaking(), journal=journal, run_id="r")
    await write_recording(journal, "r", tmp_path / "r.json")
    rehearsal = await Rehearsal.of(await read_recording(tmp_path / "r.json"), PeoplesAnswers(None, talk().outline()))
    async with open_with(talk(), RunOptions(manager=rehearsal, rehearse=rehearsal.step)) as again:
        async for _ in again:
            pass
    assert again.result.status == "done"
    assert again.result.outputs == whole.outputs
    assert again.result.cost == whole.cost


async def test_a_chat_is_summarised_once_and_goes_on_from_there() -> None:
    manager, given = speaking(), talk()
    async with Session(given, manager=manager, agent="ann") as session:
        for number in range(18):
            await session.say(f"And {number}?")
    summaries = [request for _, request in manager.asked if is_a_summary(request)]
    assert 1 < len(summaries) < 6
    assert "ann says 0 " in summaries[0].messages[-1].text
    assert "ann says 0 " not in summaries[1].messages[-1].text
