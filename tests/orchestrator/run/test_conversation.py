"""Who speaks when, what each one sees, and when it is over."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest

from orchestrator.events import ControlUnread, ConversationEnded, MessageSpoken
from orchestrator.run.conversation import Conversation, SpokenWords
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import AllOf, AnyOf, MaxTurns, NoProgress, PhraseSaid
from providers.budgets import BudgetRef
from providers.errors import BudgetSpent, ServerFault
from providers.messages import Message
from tests.orchestrator.stage import Script, Stage, distinct

pytestmark = pytest.mark.anyio


def meeting(**changes: Any) -> ConversationPlan:
    given: dict[str, Any] = {
        "id": "meeting",
        "pattern": "party",
        "participants": ("john", "winston", "sally", "amelia"),
        "moderator": "bob",
        "speakers_per_round": 2,
        "terminate": MaxTurns(12),
    }
    return ConversationPlan(**{**given, **changes})


async def test_round_robin_lets_each_speak_in_order_until_the_turns_are_used() -> None:
    stage = Stage(distinct)
    plan = ConversationPlan("talk", "round_robin", ("a", "b", "c"), MaxTurns(7))
    minutes = await stage.hold(plan)
    assert [u.speaker for u in minutes.said] == ["a", "b", "c", "a", "b", "c", "a"]
    assert minutes.reason == "max_turns 7"
    assert stage.events[-1] == ConversationEnded("talk", "max_turns 7", 7, "max_turns")
    assert minutes.conclusion == "**a:** " + distinct("a", 2)


async def test_an_independent_first_round_shows_nobody_a_byte_of_a_peer() -> None:
    stage = Stage(lambda speaker, count: f"<secret of {speaker} {count}>")
    await stage.hold(meeting(independent_first_round=True))
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
    plan = ConversationPlan("talk", "round_robin", ("a", "b"), MaxTurns(4))
    await stage.hold(plan)
    _, _, history, _ = stage.seen[-1]  # b, for the second time
    assert [(m.role, m.name) for m in history[1:]] == [("user", "a"), ("assistant", None), ("user", "a")]


async def test_one_utterance_is_one_message_for_all_who_hear_it() -> None:
    stage = Stage(distinct)
    await stage.hold(ConversationPlan("talk", "round_robin", ("a", "b", "c"), MaxTurns(6)))
    by_b = [m for s, _, history, _ in stage.seen for m in history if s != "b" and m.name == "b"]
    assert len({id(m) for m in by_b}) == len({m.text for m in by_b})


async def test_the_moderator_names_who_speaks_next() -> None:
    stage = Stage(lambda s, n: f"Open: {n}.\n> **NEXT:** Sally, @amelia." if s == "bob" else distinct(s, n))
    minutes = await stage.hold(meeting(terminate=MaxTurns(7)))
    assert [u.speaker for u in minutes.said] == [
        *("john", "winston", "bob"),
        *("sally", "amelia", "bob"),
        *("sally", "bob"),
    ]
    assert [u.text for u in minutes.said if u.speaker == "bob"] == ["Open: 0.", "Open: 1.", "Open: 2."]
    heard = [m.text for speaker, _, history, _ in stage.seen if speaker != "bob" for m in history]
    assert any("Open: 0." in text for text in heard)
    assert "NEXT" not in minutes.document() + "".join(minutes.transcript()) + "".join(heard), (
        "it speaks to the conversation"
    )
    spoken = [event.text for event in stage.events if isinstance(event, MessageSpoken)]
    assert spoken == [u.text for u in minutes.said]
    own = [m.text for speaker, _, history, _ in stage.seen if speaker == "bob" for m in history if m.name is None]
    assert any("NEXT" in text for text in own), "its own words stay as they were"


@pytest.mark.parametrize(
    ("line", "fault", "follow"),
    [
        ("NEXT: zoe", "nobody", ["sally", "amelia"]),
        ("NEXT: sally, amelia, john", "several", ["sally", "amelia"]),
        ("NEXT: john\n\nAnd so on.\n\nNEXT: sally", "several", ["sally"]),
        ("NEXT: Smith", "ambiguous", ["sally", "amelia"]),
    ],
)
async def test_a_line_that_cannot_be_followed_is_told_and_the_conversation_goes_on(
    line: str, fault: str, follow: list[str]
) -> None:
    names = {"john": "John Smith", "winston": "Winston Smith"}
    stage = Stage(lambda s, n: f"Open.\n{line}" if (s, n) == ("bob", 0) else distinct(s, n))
    minutes = await stage.hold(meeting(terminate=MaxTurns(3 + len(follow)), names=names))
    assert [u.speaker for u in minutes.said[3 : 3 + len(follow)]] == follow
    (unread,) = [event for event in stage.events if isinstance(event, ControlUnread)]
    assert (unread.conversation, unread.speaker, unread.fault) == ("meeting", "bob", fault)
    assert unread.line == line.splitlines()[-1]
    assert stage.events[-1].unread == 1


@pytest.mark.parametrize("pattern", ["round_robin", "party"])
@pytest.mark.parametrize("turns", [1, 2, 3, 4, 5, 6, 7])
async def test_a_moderator_has_the_last_word_and_has_heard_everything(pattern: Any, turns: int) -> None:
    stage = Stage(distinct)
    plan = ConversationPlan("talk", pattern, ("pro", "con"), MaxTurns(turns), "judge")
    minutes = await stage.hold(plan)
    speakers = [u.speaker for u in minutes.said]
    assert speakers[-1] == "judge"
    assert speakers[-2] != "judge"
    assert turns <= len(speakers) <= turns + 1, "the closing turn comes on top of what ends the conversation"
    assert minutes.conclusion == minutes.said[-1].text
    speaker, prompt, history, _ = stage.seen[-1]
    assert speaker == "judge"
    assert "conclusion" in prompt
    assert [m.text for m in history[1:]] == [u.text for u in minutes.said[:-1]]
    assert stage.events[-1] == ConversationEnded("talk", f"max_turns {turns}", len(speakers), "max_turns")


async def test_a_moderator_closes_what_a_participant_ends_and_does_not_repeat_itself() -> None:
    closing = AnyOf((MaxTurns(20), PhraseSaid("AGREED")))
    stage = Stage(lambda s, n: f"{s} {n}: yes.\n\n**Agreed.**" if n == 1 else distinct(s, n))
    minutes = await stage.hold(ConversationPlan("talk", "round_robin", ("a", "b"), closing, "judge"))
    assert [u.speaker for u in minutes.said] == ["a", "b", "a", "judge"]
    assert (minutes.reason, stage.events[-1].kind) == ("a said 'AGREED'", "text")
    assert minutes.said[2].text == "a 1: yes."
    by_judge = AnyOf((MaxTurns(20), PhraseSaid("AGREED", by="bob")))
    stage = Stage(lambda s, n: "All of it.\nAGREED" if s == "bob" else distinct(s, n))
    minutes = await stage.hold(meeting(terminate=by_judge))
    assert [u.speaker for u in minutes.said] == ["john", "winston", "bob"]
    assert minutes.conclusion == "All of it."


async def test_a_budget_without_room_for_a_conclusion_says_so() -> None:
    def script(speaker: str, count: int) -> str:
        if speaker == "judge":
            raise BudgetSpent(TALK, "max_turns", 2, 2, 1)
        return distinct(speaker, count)

    stage = Stage(script)
    plan = ConversationPlan("talk", "round_robin", ("a", "b"), MaxTurns(2), "judge")
    minutes = await stage.hold(plan, own_account=TALK)
    assert minutes.conclusion == f"**a:** {distinct('a', 0)}\n\n**b:** {distinct('b', 0)}"
    ended = stage.events[-1]
    assert (ended.kind, ended.budget) == ("max_turns", "max_turns")
    assert ended.reason == "max_turns 2; its budget of max_turns left no room for a conclusion"


async def test_a_failed_conclusion_fails_the_conversation() -> None:
    def script(speaker: str, count: int) -> str:
        if speaker == "judge":
            raise ServerFault("down")
        return distinct(speaker, count)

    with pytest.raises(ServerFault):
        await Stage(script).hold(ConversationPlan("talk", "round_robin", ("a", "b"), MaxTurns(2), "judge"))


async def test_who_says_no_more_than_a_control_line_says_nothing_to_the_others() -> None:
    stage = Stage(lambda s, n: "NEXT: sally" if s == "bob" and not n else distinct(s, n))
    minutes = await stage.hold(meeting(terminate=MaxTurns(5)))
    assert [u.speaker for u in minutes.said] == ["john", "winston", "bob", "sally", "bob"]
    assert "### bob, round 1" not in minutes.transcript()
    sally = next(history for speaker, _, history, _ in stage.seen if speaker == "sally")
    assert [m.name for m in sally[1:]] == ["john", "winston"]


async def test_a_person_is_known_by_name_and_is_no_assistant() -> None:
    stage = Stage(distinct)
    await stage.hold(ConversationPlan("talk", "round_robin", ("human", "a"), MaxTurns(4)))
    histories = {speaker: history for speaker, _, history, _ in stage.seen}
    assert [(m.role, m.name) for m in histories["human"][1:]] == [("user", "human"), ("user", "a")]
    assert [(m.role, m.name) for m in histories["a"][1:]] == [
        *(("user", "human"), ("assistant", None), ("user", "human")),
    ]


async def test_participants_are_introduced_with_the_names_of_their_personas() -> None:
    stage = Stage(distinct)
    await stage.hold(meeting(names={"john": "John", "sally": "Sal Wood", "bob": "Rob"}))
    opening = stage.seen[0][2][0].text
    assert "Participants: john, winston, sally (Sal Wood), amelia. Moderator: bob (Rob)." in opening


async def test_the_closing_words_count_only_from_whom_the_plan_names() -> None:
    closing = AnyOf((MaxTurns(20), PhraseSaid("PLAN AGREED", by="bob")))
    stage = Stage(lambda s, n: "PLAN AGREED" if (s != "bob" or n == 1) else f"not yet {s} {n}")
    minutes = await stage.hold(meeting(terminate=closing))
    assert minutes.reason == "bob said 'PLAN AGREED'"
    assert minutes.said[-1].speaker == "bob"
    assert sum(u.speaker == "bob" for u in minutes.said) == 2
    prompts = {speaker: prompt for speaker, prompt, *_ in stage.seen}
    assert 'say exactly "PLAN AGREED"' in prompts["bob"]
    assert "PLAN AGREED" not in prompts["john"]


async def test_rounds_without_a_new_word_end_it() -> None:
    stage = Stage(lambda s, n: f"I agree with {s}")
    terminate = AnyOf((MaxTurns(50), NoProgress(2)))
    minutes = await stage.hold(ConversationPlan("talk", "round_robin", ("a", "b"), terminate))
    assert minutes.reason == "2 rounds without progress"
    assert len(minutes.said) == 6


TALK = BudgetRef("conversation", "talk")


async def test_its_own_budget_ends_it_and_another_fails_it() -> None:
    def spent(which: BudgetRef) -> Script:
        def script(speaker: str, count: int) -> str:
            if count == 1:
                raise BudgetSpent(which, "max_turns", 2, 2, 1)
            return distinct(speaker, count)

        return script

    plan = ConversationPlan("talk", "round_robin", ("a", "b"), MaxTurns(9))
    minutes = await Stage(spent(TALK)).hold(plan, own_account=TALK)
    assert minutes.reason == "its budget of max_turns"
    with pytest.raises(BudgetSpent, match="squad"):
        await Stage(spent(BudgetRef("squad"))).hold(plan, own_account=TALK)


async def test_a_failure_in_the_first_round_comes_out_as_itself() -> None:
    def script(speaker: str, count: int) -> str:
        if speaker == "sally":
            raise ServerFault("down")
        return "fine"

    with pytest.raises(ServerFault, match="down"):
        await Stage(script).hold(meeting(independent_first_round=True))


async def test_who_fails_while_the_first_round_is_cancelled_lets_no_group_of_errors_out() -> None:
    async def speak(speaker: str, prompt: str, history: tuple[Message, ...], place: str, *_: Any) -> SpokenWords:
        try:
            await anyio.sleep_forever()
        finally:
            if speaker == "john":
                raise ServerFault("down")
        raise AssertionError("it was cancelled")

    held = Conversation(meeting(independent_first_round=True), "the topic", speak, lambda event: None, lambda: 0.0)
    with suppress(ServerFault), anyio.move_on_after(0.01):
        await held.hold()


async def test_a_first_round_keeps_to_max_turns() -> None:
    minutes = await Stage(distinct).hold(meeting(independent_first_round=True, terminate=MaxTurns(3)))
    assert [u.speaker for u in minutes.said] == ["john", "winston", "sally", "bob"]


async def test_an_independent_first_round_goes_on_where_a_number_of_turns_alone_does_not_end_it() -> None:
    both = AllOf((MaxTurns(2), PhraseSaid("DONE")))
    script: Script = lambda s, n: "DONE" if n else distinct(s, n)  # noqa: E731
    minutes = await Stage(script).hold(meeting(independent_first_round=True, terminate=both, moderator=None))
    assert [u.speaker for u in minutes.said[:4]] == ["john", "winston", "sally", "amelia"], "no view is lost"
    assert minutes.reason == "max_turns 2 and john said 'DONE'"


async def test_what_was_said_before_its_own_budget_ended_the_first_round_counts() -> None:
    def script(speaker: str, count: int) -> str:
        if speaker == "sally":
            raise BudgetSpent(BudgetRef("conversation", "meeting"), "max_turns", 2, 2, 1)
        return f"{speaker}'s view"

    stage = Stage(script)
    minutes = await stage.hold(meeting(independent_first_round=True), own_account=BudgetRef("conversation", "meeting"))
    assert minutes.reason == "its budget of max_turns"
    assert [u.speaker for u in minutes.said] == ["john", "winston", "amelia"]
    assert "winston's view" in minutes.conclusion
    assert stage.events[-1] == ConversationEnded("meeting", "its budget of max_turns", 3, "budget", "max_turns")


@pytest.mark.parametrize("pattern", ["round_robin", "party"])
async def test_one_participant_talks_to_itself(pattern: Any) -> None:
    stage = Stage(distinct)
    minutes = await stage.hold(ConversationPlan("talk", pattern, ("a",), MaxTurns(3)))
    assert [place for *_, place in stage.seen] == ["round-1/a", "round-2/a", "round-3/a"]
    assert minutes.conclusion == f"**a:** {distinct('a', 2)}"
    assert [m.role for m in stage.seen[-1][2]] == ["user", "assistant", "assistant"]


async def test_a_moderator_may_take_part_too() -> None:
    stage = Stage(distinct)
    plan = meeting(participants=("john", "bob"), terminate=MaxTurns(6))
    minutes = await stage.hold(plan)
    assert [place for *_, place in stage.seen][:3] == ["round-1/john", "round-1/bob", "round-1/moderator"]
    assert minutes.conclusion == minutes.said[-1].text


@pytest.mark.parametrize("moderator", ["moderator", "bob"])
async def test_no_two_speeches_are_the_same_step(moderator: str) -> None:
    stage = Stage(distinct)
    await stage.hold(meeting(participants=("john", "moderator"), moderator=moderator, terminate=MaxTurns(12)))
    places = [place for *_, place in stage.seen]
    assert len(set(places)) == len(places) == 12


async def test_silence_is_an_utterance() -> None:
    minutes = await Stage(lambda s, n: "").hold(ConversationPlan("talk", "round_robin", ("a", "b"), MaxTurns(3)))
    assert [(u.speaker, u.text) for u in minutes.said] == [("a", ""), ("b", ""), ("a", "")]


async def test_fewer_turns_than_participants_end_it_in_the_first_round() -> None:
    few = meeting(participants=tuple("abcdef"), terminate=MaxTurns(2))
    minutes = await Stage(distinct).hold(few)
    assert [u.speaker for u in minutes.said] == ["a", "b", "bob"]
    minutes = await Stage(distinct).hold(replace(few, moderator=None))
    assert [u.speaker for u in minutes.said] == ["a", "b"]
    assert minutes.conclusion.startswith("**a:**")
