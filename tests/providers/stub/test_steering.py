"""The stub among others: it picks, hands over, delegates, works and concludes as it is asked."""

from __future__ import annotations

import pytest

from orchestrator.run import prompts
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import MaxTurns
from providers.catalog.model import Candidate, Model, Provider
from providers.messages import Message, Needs, Request, user
from providers.stub.scripted import Stub

MODEL = Model("small", context=8192, max_output=4096)
CANDIDATE = Candidate(Provider("scripted", "scripted", "", None, {"small": MODEL}), MODEL)
ROLES = {"billing": "Answers questions on invoices and payments.", "tech": "Repairs routers and modems."}
PLAN = ConversationPlan(
    "desk", "hierarchical", ("human", "billing", "tech"), MaxTurns(9), "lead", roles=ROLES, rounds=2
)
TOPIC = user(f"# Task\n\nMy router is broken.\n\n{prompts.house_rules(PLAN)}")


def says(prompt: str, *heard: Message) -> str:
    request = Request((TOPIC, *heard, user(prompt)), needs=Needs(persona="pm"))
    return Stub().respond(request, CANDIDATE).text


def test_it_picks_one_of_those_it_may_and_no_person() -> None:
    assert says(prompts.pick(("human", "billing"), PLAN)).endswith("NEXT: billing")


def test_it_hands_over_to_who_knows_most_of_it_and_then_answers() -> None:
    prompt = prompts.hand_over("triage", PLAN.participants, PLAN, "")
    assert says(prompt).endswith("HANDOFF: tech")
    assert says(prompt, user("Help!", name="human")).endswith("HANDOFF: tech")
    assert "HANDOFF" not in says(prompt, user("It is broken.", name="triage"))


def test_it_delegates_once_and_then_concludes() -> None:
    prompt = prompts.delegate(PLAN.participants, PLAN, 1, "")
    asked = [line for line in says(prompt).splitlines() if line.startswith("DELEGATE")]
    assert [line.partition(":")[0] for line in asked] == ["DELEGATE billing", "DELEGATE tech"]
    assert all("router" in line for line in asked)
    again = prompts.delegate(PLAN.participants, PLAN, 2, "")
    assert "DELEGATE" not in says(again, user("Done.", name="tech"))


def test_who_works_writes_its_own_document_on_its_own_task() -> None:
    text = says(prompts.assigned("tech", "Write a guide to shared shopping lists.", PLAN))
    assert "# PRD: a guide to shared shopping lists" in text


@pytest.mark.parametrize("pattern", ["party", "debate", "hierarchical"])
def test_it_concludes(pattern: str) -> None:
    plan = ConversationPlan("talk", pattern, ("a", "b"), MaxTurns(9), "lead")  # type: ignore[arg-type]
    assert "What we agreed on" in says(prompts.conclude(plan), user("I say so.", name="a"))


def test_a_peer_does_not_steer_it() -> None:
    request = Request((TOPIC, user(prompts.pick(("billing",), PLAN), name="tech")), needs=Needs(persona="pm"))
    assert "NEXT" not in Stub().respond(request, CANDIDATE).text
