"""Who speaks when, what each one sees, and when it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.events import ConversationEnded
from orchestrator.run import prompts
from orchestrator.run.conversation import Conversation, Log, Minutes, ended
from orchestrator.squad.plan import ConversationPlan, Termination
from providers.errors import BudgetSpent, ServerFault
from providers.messages import Message, user

pytestmark = pytest.mark.anyio

Script = Callable[[str, int], str]


class Stage:
    """Speakers who say what a function of (speaker, how often it spoke) says; it keeps what each was shown."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[tuple[str, str, tuple[Message, ...], str]] = []
        self.events: list[Any] = []

    async def speak(self, speaker: str, prompt: str, history: tuple[Message, ...], place: str) -> tuple[str, int]:
        count = sum(s == speaker for s, *_ in self.seen)
        self.seen.append((speaker, prompt, history, place))
        await anyio.lowlevel.checkpoint()
        return self.script(speaker, count), 10

    async def hold(self, plan: ConversationPlan, **more: Any) -> Minutes:
        return await Conversation(plan, "the topic", self.speak, self.events.append, lambda: 0.0, **more).hold()


def distinct(speaker: str, count: int) -> str:
    return f"{speaker} says something new number {count} {speaker}{count}"


def party(**changes: Any) -> ConversationPlan:
    given: dict[str, Any] = {
        "id": "meeting",
        "pattern": "party",
        "participants": ("john", "winston", "sally", "amelia"),
        "moderator": "bob",
        "speakers_per_round": 2,
        "terminate": Termination(max_turns=12),
    }
    return ConversationPlan(**{**given, **changes})


async def test_round_robin_lets_each_speak_in_order_until_the_turns_are_used() -> None:
    stage = Stage(distinct)
    plan = ConversationPlan("talk", "round_robin", ("a", "b", "c"), Termination(max_turns=7))
    minutes = await stage.hold(plan)
    assert [u.speaker for u in minutes.said] == ["a", "b", "c", "a", "b", "c", "a"]
    assert minutes.reason == "max_turns 7"
    assert stage.events[-1] == ConversationEnded("talk", "max_turns 7", 7)
    assert minutes.conclusion == "**a:** " + distinct("a", 2)


async def test_an_independent_first_round_shows_nobody_a_byte_of_a_peer() -> None:
    stage = Stage(lambda speaker, count: f"<secret of {speaker} {count}>")
    await stage.hold(party(independent_first_round=True))
    first = [
        (speaker, prompt, history) for speaker, prompt, history, place in stage.seen if place.startswith("round-1/")
    ]
    spoken = [row for row in first if row[0] != "bob"]
    assert sorted(row[0] for row in spoken) == ["amelia", "john", "sally", "winston"]
    for _, prompt, history in spoken:
        assert "secret" not in prompt + "".join(message.text for message in history)
    moderator = next(row for row in first if row[0] == "bob")
    assert all(f"<secret of {name} 0>" in "".join(m.text for m in moderator[2]) for name, *_ in spoken)


async def test_speakers_see_their_own_words_as_theirs_and_others_by_name() -> None:
    stage = Stage(distinct)
    plan = ConversationPlan("talk", "round_robin", ("a", "b"), Termination(max_turns=4))
    await stage.hold(plan)
    _, _, history, _ = stage.seen[-1]  # b, for the second time
    assert [(m.role, m.name) for m in history[1:]] == [("user", "a"), ("assistant", None), ("user", "a")]


async def test_one_utterance_is_one_message_for_all_who_hear_it() -> None:
    stage = Stage(distinct)
    await stage.hold(ConversationPlan("talk", "round_robin", ("a", "b", "c"), Termination(max_turns=6)))
    by_b = [m for s, _, history, _ in stage.seen for m in history if s != "b" and m.name == "b"]
    assert len({id(m) for m in by_b}) == len({m.text for m in by_b})


async def test_the_moderator_names_who_speaks_next() -> None:
    stage = Stage(lambda s, n: f"Open: {n}.\nNEXT: Sally, @amelia, `john`" if s == "bob" else distinct(s, n))
    minutes = await stage.hold(party(terminate=Termination(max_turns=7)))
    assert [u.speaker for u in minutes.said] == ["john", "winston", "bob", "john", "sally", "bob", "john"]


def test_a_moderator_who_names_nobody_lets_the_longest_silent_speak() -> None:
    assert prompts.next_speakers("no names", party(), ["john", "sally", "winston"]) == ["amelia", "john"]


@given(text=st.text(), spoken=st.lists(st.sampled_from(["john", "winston", "sally", "amelia", "bob"])))
def test_whatever_the_moderator_says_someone_speaks_next(text: str, spoken: list[str]) -> None:
    chosen = prompts.next_speakers(text, party(), spoken)
    assert 1 <= len(chosen) <= 2
    assert set(chosen) <= set(party().participants)


async def test_the_closing_words_count_only_from_whom_the_plan_names() -> None:
    closing = Termination(any=(Termination(max_turns=20), Termination(text="PLAN AGREED", text_from="bob")))
    stage = Stage(lambda s, n: "PLAN AGREED" if (s != "bob" or n == 1) else f"not yet {s} {n}")
    minutes = await stage.hold(party(terminate=closing))
    assert minutes.reason == "bob said 'PLAN AGREED'"
    assert minutes.said[-1].speaker == "bob"
    assert sum(u.speaker == "bob" for u in minutes.said) == 2
    prompts = {speaker: prompt for speaker, prompt, *_ in stage.seen}
    assert 'say exactly "PLAN AGREED"' in prompts["bob"]
    assert "PLAN AGREED" not in prompts["john"]


async def test_rounds_without_a_new_word_end_it() -> None:
    stage = Stage(lambda s, n: f"I agree with {s}")
    terminate = Termination(any=(Termination(max_turns=50), Termination(no_progress_rounds=2)))
    minutes = await stage.hold(ConversationPlan("talk", "round_robin", ("a", "b"), terminate))
    assert minutes.reason == "2 rounds without progress"
    assert len(minutes.said) == 6


def test_all_needs_each_and_any_needs_one() -> None:
    log = Log(user("x"), {"a": []}, started_at=0.0, tokens=100)
    log.add("a", "done", 1)
    turns, tokens, text = Termination(max_turns=2), Termination(tokens=100), Termination(text="done")
    assert ended(Termination(any=(turns, tokens)), log, 0.0) == "100 tokens"
    assert ended(Termination(all=(turns, tokens)), log, 0.0) is None
    assert ended(Termination(all=(text, tokens)), log, 0.0) == "a said 'done' and 100 tokens"
    assert ended(Termination(time=5.0), log, 4.9) is None
    assert ended(Termination(time=5.0), log, 5.0) == "5 s"
    assert ended(Termination(function=lambda said: said[-1].text == "done"), log, 0.0) == "the given function"


async def test_its_own_budget_ends_it_and_another_fails_it() -> None:
    def spent(which: str) -> Script:
        def script(speaker: str, count: int) -> str:
            if count == 1:
                raise BudgetSpent(which, "max_turns", 2, 2, 1)
            return distinct(speaker, count)

        return script

    plan = ConversationPlan("talk", "round_robin", ("a", "b"), Termination(max_turns=9))
    minutes = await Stage(spent("conversation talk")).hold(plan, own_account="conversation talk")
    assert minutes.reason == "its budget of max_turns"
    with pytest.raises(BudgetSpent, match="squad"):
        await Stage(spent("squad")).hold(plan, own_account="conversation talk")


async def test_a_failure_in_the_first_round_comes_out_as_itself() -> None:
    def script(speaker: str, count: int) -> str:
        if speaker == "sally":
            raise ServerFault("down")
        return "fine"

    with pytest.raises(ServerFault, match="down"):
        await Stage(script).hold(party(independent_first_round=True))


async def test_a_first_round_keeps_to_max_turns() -> None:
    minutes = await Stage(distinct).hold(party(independent_first_round=True, terminate=Termination(max_turns=3)))
    assert len(minutes.said) == 3
