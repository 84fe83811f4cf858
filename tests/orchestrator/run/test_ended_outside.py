"""A program ends a conversation, and the record knows when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from orchestrator import Squad, end_conversation
from orchestrator.errors import NoConversation, NotEndedOutside, RunOver
from orchestrator.events import ConversationEnded, MessageSpoken
from orchestrator.execution import Run
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from providers.messages import Request
from tests.orchestrator.squads import Answers

pytestmark = pytest.mark.anyio

SQUAD = {
    "name": "talk",
    "agents": {name: {"persona": {"name": name.title(), "role": "Talks."}} for name in ("ann", "bob", "lead")},
    "conversations": {
        "talk": {
            "participants": ["ann", "bob"],
            "moderator": "lead",
            "terminate": {"any": [{"external": True}, {"max_turns": 9}]},
        }
    },
    "tasks": {"talk": {"conversation": "talk", "description": "Talk."}},
}


async def held(journal: MemoryJournal, at: Mapping[int, Callable[[Run], None]], *, resume: bool = False) -> list[Any]:
    """Hold it, and do something with the run while the n-th answer is at work. Return what is on record."""
    runs: list[Run] = []
    count = 0

    def answer(agent: str, request: Request) -> str:
        nonlocal count
        count += 1
        if count in at:
            at[count](runs[0])
        return f"{agent} {count}"

    given: dict[str, Any] = {"manager": Answers(answer), "journal": journal}
    squad = Squad.from_mapping(SQUAD)
    async with resume_run(squad, "r", **given) if resume else open_run(squad, run_id="r", **given) as run:
        runs.append(run)
        async for _ in run:
            pass
    return [event.data for event in await journal.events("r")]


def end(run: Run) -> None:
    run.end_conversation("talk")


def end_and_stop(run: Run) -> None:
    end(run)
    run.stop()


async def test_a_program_ends_a_conversation_and_a_replay_says_the_same() -> None:
    journal = MemoryJournal()
    events = await held(journal, {2: end})
    spoken = [one.speaker for one in events if isinstance(one, MessageSpoken)]
    assert spoken == ["ann", "bob", "lead"], "the moderator concludes"
    (ended,) = [one for one in events if isinstance(one, ConversationEnded)]
    assert (ended.kind, ended.reason) == ("external", "the program ended it")
    assert (await replay(journal, "r")).is_equal


async def test_a_resumed_run_does_not_forget_what_it_was_told() -> None:
    journal = MemoryJournal()
    await held(journal, {2: end, 3: Run.stop})
    events = await held(journal, {}, resume=True)
    spoken = [one.speaker for one in events if isinstance(one, MessageSpoken)]
    assert spoken == ["ann", "bob", "lead"]
    assert (await replay(journal, "r")).is_equal


async def test_one_that_was_stopped_before_it_could_be_told_goes_on() -> None:
    journal = MemoryJournal()
    await held(journal, {2: end_and_stop})
    events = await held(journal, {}, resume=True)
    assert [one.kind for one in events if isinstance(one, ConversationEnded)][-1] in ("external", "max_turns")
    assert (await replay(journal, "r")).is_equal


async def test_another_process_ends_it_through_the_journal() -> None:
    journal = MemoryJournal()

    async def answer(agent: str, request: Request) -> str:
        await end_conversation(journal, "r", "talk")
        return agent

    async with open_run(Squad.from_mapping(SQUAD), run_id="r", manager=Answers(answer), journal=journal) as run:
        events = [event.data async for event in run]
    assert [one.speaker for one in events if isinstance(one, MessageSpoken)] == ["ann", "lead"]
    assert (await replay(journal, "r")).is_equal
    with pytest.raises(RunOver):
        await end_conversation(journal, "r", "talk")


async def test_what_a_stopped_run_is_told_is_not_lost() -> None:
    journal = MemoryJournal()
    await held(journal, {2: Run.stop})
    with pytest.raises(NoConversation, match="'tlak'") as caught:
        await end_conversation(journal, "r", "tlak")
    assert caught.value.hint == "its conversations: talk"
    await end_conversation(journal, "r", "talk")
    await end_conversation(journal, "r", "talk")
    events = await held(journal, {}, resume=True)
    assert [one.speaker for one in events if isinstance(one, MessageSpoken)] == ["ann", "bob", "lead"]


async def test_a_conversation_that_is_not_there_cannot_be_ended() -> None:
    async with open_run(Squad.from_mapping(SQUAD), run_id="r", manager=Answers()) as run:
        with pytest.raises(KeyError):
            run.end_conversation("tlak")
        async for _ in run:
            pass


async def test_a_conversation_that_does_not_listen_says_so() -> None:
    deaf = {"talk": {"participants": ["ann", "bob"], "terminate": {"max_turns": 1}}}
    async with open_run(Squad.from_mapping({**SQUAD, "conversations": deaf}), manager=Answers()) as run:
        with pytest.raises(NotEndedOutside, match="no external: true"):
            run.end_conversation("talk")
        async for _ in run:
            pass
