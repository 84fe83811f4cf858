"""Who speaks hands over, or answers; two that send a matter to and fro end up answering it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.events import ControlUnread
from orchestrator.run.conversations.handing import handover_of
from orchestrator.run.conversations.handoff import MOST_HANDOVERS
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import AnyOf, MaxTurns, PhraseSaid
from tests.orchestrator.stage import Stage, distinct

pytestmark = pytest.mark.anyio


def desk(**changes: Any) -> ConversationPlan:
    given: dict[str, Any] = {
        "id": "desk",
        "pattern": "handoff",
        "participants": ("triage", "billing", "tech"),
        "terminate": MaxTurns(30),
    }
    return ConversationPlan(**{**given, **changes})


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("It is a bill.\nHANDOFF: billing", "It is a bill."),
        ("It is a bill.\n\n**Handoff:** @Billing", "It is a bill."),
        ("It is a bill.\n> hand off to: billing.", "It is a bill."),
        ("It is a bill.\ntransfer_to_billing()", "It is a bill."),
        ("It is a bill.\n`transfer_to_billing`", "It is a bill."),
        ("It is a bill.\nTransfer to billing", "It is a bill."),
        ("It is a bill.\nNEXT: billing", "It is a bill."),
        ("HANDOFF: billing - the invoice is wrong", "HANDOFF: billing - the invoice is wrong"),
        ("It is a bill. HANDOFF: billing", "It is a bill."),
    ],
)
def test_a_handover_is_found_in_every_dress(text: str, heard: str) -> None:
    control = handover_of(text, "triage", desk(), ("billing", "tech"))
    assert (control.next, control.text, control.unread) == (("billing",), heard, None)


@pytest.mark.parametrize(
    "text", ["I handed it over to billing before.", "On the one hand: billing. On the other hand: tech.", "Bye."]
)
def test_an_answer_hands_over_to_nobody(text: str) -> None:
    control = handover_of(f"First.\n{text}\nLast.", "triage", desk(), ("billing", "tech"))
    assert (control.next, control.unread) == ((), None)


async def test_the_word_goes_on_and_an_answer_ends_it() -> None:
    says = {"triage": "A bill.\nHANDOFF: billing", "billing": "Paid."}
    stage = Stage(lambda s, n: says[s])
    minutes = await stage.hold(desk())
    assert [(u.speaker, u.text) for u in minutes.said] == [("triage", "A bill."), ("billing", "Paid.")]
    assert minutes.conclusion == "**billing:** Paid."
    assert minutes.reason == "billing answered"
    assert [m.text for m in stage.seen[1][2][1:]] == ["A bill."], "what was said goes along"


async def test_a_handover_that_cannot_be_followed_is_told_once_and_then_taken_for_the_answer() -> None:
    stage = Stage(lambda s, n: "Paid." if s == "billing" else "HANDOFF: billing" if n else "HANDOFF: zoe")
    minutes = await stage.hold(desk())
    assert [u.speaker for u in minutes.said] == ["triage", "triage", "billing"]
    assert stage.seen[1][1].startswith("Your handover could not be followed: it names nobody who takes part.")
    stage = Stage(lambda s, n: "It is a bill.\nHANDOFF: zoe")
    minutes = await stage.hold(desk())
    assert [u.speaker for u in minutes.said] == ["triage", "triage"]
    assert sum(isinstance(event, ControlUnread) for event in stage.events) == 2


async def test_only_those_that_the_plan_names_may_be_handed_to() -> None:
    plan = desk(transitions={"triage": ("billing",), "billing": ()})
    stage = Stage(lambda s, n: "HANDOFF: tech" if n == 0 else "HANDOFF: billing")
    minutes = await stage.hold(plan)
    assert [u.speaker for u in minutes.said] == ["triage", "triage", "billing", "billing"]
    assert "- tech" not in stage.seen[0][1]
    assert "HANDOFF" not in stage.seen[2][1]


async def test_two_do_not_send_a_matter_to_and_fro_for_ever() -> None:
    stage = Stage(lambda s, n: f"Not mine.\nHANDOFF: {'billing' if s == 'triage' else 'triage'}")
    minutes = await stage.hold(desk(terminate=MaxTurns(1000)))
    spoken = [u.speaker for u in minutes.said]
    assert spoken == ["triage", "billing"] * MOST_HANDOVERS + ["triage", "triage"]
    assert minutes.reason == "triage answered"


async def test_after_a_person_it_is_the_turn_of_who_asked() -> None:
    says = {
        "triage": ["HANDOFF: billing"],
        "billing": ["Which invoice?\nHANDOFF: human", "Paid."],
        "human": ["Number 42."],
    }
    stage = Stage(lambda s, n: says[s][n])
    minutes = await stage.hold(desk(participants=("triage", "billing", "human")))
    assert [u.speaker for u in minutes.said] == ["triage", "billing", "human", "billing"]
    asked = next(prompt for speaker, prompt, *_ in stage.seen if speaker == "human")
    assert "Your words go back to who asked you." in asked
    assert "the conversation is over" not in asked
    says["human"] = ["HANDOFF: triage"]
    says["triage"].append("Done.")
    minutes = await Stage(lambda s, n: says[s][n]).hold(desk(participants=("triage", "billing", "human")))
    assert [u.speaker for u in minutes.said] == ["triage", "billing", "human", "triage"]


async def test_a_person_begins() -> None:
    minutes = await Stage(lambda s, n: "Hello." if s == "human" else "Good day.").hold(
        desk(participants=("human", "triage"))
    )
    assert [u.speaker for u in minutes.said] == ["human", "triage"]


async def test_a_condition_ends_it_before_an_answer() -> None:
    stage = Stage(lambda s, n: "RESOLVED\nHANDOFF: billing" if s == "triage" else "Paid.")
    minutes = await stage.hold(desk(terminate=AnyOf((MaxTurns(9), PhraseSaid("RESOLVED")))))
    assert [u.speaker for u in minutes.said] == ["triage"]
    assert minutes.reason == "triage said 'RESOLVED'"


async def test_limits_of_speakers_hold() -> None:
    stage = Stage(lambda s, n: "HANDOFF: billing" if s == "triage" else "HANDOFF: triage")
    minutes = await stage.hold(desk(turns_of={"triage": 1}))
    assert [u.speaker for u in minutes.said].count("triage") == 1
    assert all("- triage" not in prompt for speaker, prompt, *_ in stage.seen if speaker == "billing")


async def test_a_moderator_concludes() -> None:
    minutes = await Stage(distinct).hold(desk(moderator="lead"))
    assert [u.speaker for u in minutes.said] == ["triage", "lead"]
