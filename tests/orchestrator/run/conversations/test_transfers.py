"""Handing over by a tool call: only to whom it is offered, one at a time, whatever stands beside it."""

from __future__ import annotations

from typing import Any

import pytest

from agents import tool
from orchestrator.run.conversation import SpokenWords
from orchestrator.run.transfers import MOST_CHARS, tool_names
from orchestrator.squad.plan import ConversationPlan
from orchestrator.squad.termination import MaxTurns
from orchestrator.testing import scripted
from providers.catalog.model import Candidate, Model, Provider
from providers.client.manager import ProviderManager
from providers.messages import FinishReason, Message, Response, ToolCall, Usage
from providers.policy.model import Policy
from providers.stub.scripted import Scripted, say, tool_call
from tests.orchestrator.squads import of_type, run, squad
from tests.orchestrator.stage import Stage

pytestmark = pytest.mark.anyio


@tool
async def look(what: str) -> str:
    """Look it up."""
    if what == "nothing":
        raise ValueError("there is nothing")
    return f"{what}: found"


def desk(**more: Any) -> Any:
    talk = {"pattern": "handoff", "participants": ["triage", "billing", "tech"], "terminate": {"max_turns": 8}, **more}
    people = {name: {"role": f"The {name}.", "tools": ["look"]} for name in ("triage", "billing", "tech")}
    return squad(
        {"t": {"conversation": "desk", "description": "Help."}},
        tools=(look,),
        people=people,
        conversations={"desk": talk},
    )


def pair(people: dict[str, Any], *tools: Any) -> Any:
    talk = {"pattern": "handoff", "participants": ["ann", "bob"], "terminate": {"max_turns": 4}}
    tasks = {"t": {"conversation": "m", "description": "Go."}}
    return squad(tasks, tools=tools, people=people, conversations={"m": talk})


async def held(script: dict[str, list[Any]], **more: Any) -> tuple[Any, Any, Any]:
    manager = scripted(script)
    result, events = await run(desk(**more), manager)  # type: ignore[arg-type]  # a manager as any
    manager.check()
    return manager, result, events


def calls(*made: ToolCall) -> Response:
    return Response(Message("assistant", made), FinishReason.TOOL_CALLS, Usage(1, output=1), "x", "x", 0)


def call(name: str, number: int = 1, arguments: str = "{}") -> ToolCall:
    return ToolCall(f"c{number}", name, arguments)


def spoken(events: Any) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in of_type(events, "message.spoken")]


async def test_a_call_hands_over_with_its_reason() -> None:
    both = say("A bill.", ToolCall("1", "transfer_to_billing", '{"reason": "Invoice 42."}'))
    manager, result, events = await held({"triage": [both], "billing": ["Paid."]})
    assert spoken(events) == [("triage", "A bill.\n\nInvoice 42."), ("billing", "Paid.")]
    assert result.outputs or result.status == "done"
    offered = [spec.name for spec in manager.requests[0].tools]
    assert offered == ["look", "transfer_to_billing", "transfer_to_tech"], "never to oneself"
    assert [spec.name for spec in manager.requests[1].tools] == ["look", "transfer_to_triage", "transfer_to_tech"]
    assert "A bill.\n\nInvoice 42." in [message.text for message in manager.requests[1].messages]
    assert [(one.name, one.ok) for one in of_type(events, "tool.ended")] == [("transfer_to_billing", True)]


async def test_only_those_may_be_called_for_whom_the_speaker_may_hand_over_to() -> None:
    wrong = [tool_call("transfer_to_tech"), tool_call("transfer_to_triage"), tool_call("transfer_to_zoe")]
    _, _, events = await held(
        {"triage": [*wrong, tool_call("transfer_to_billing")], "billing": ["Paid."]}, handoffs={"triage": ["billing"]}
    )
    assert [one.ok for one in of_type(events, "tool.ended")] == [False, False, False, True]
    assert spoken(events) == [("triage", ""), ("billing", "Paid.")]


async def test_who_has_no_turns_left_is_not_offered() -> None:
    manager, _, _ = await held(
        {"triage": [tool_call("transfer_to_billing")], "billing": ["Paid."]}, max_turns_per_speaker={"triage": 1}
    )
    assert [spec.name for spec in manager.requests[1].tools] == ["look", "transfer_to_tech"]


async def test_of_two_calls_the_first_counts_and_it_is_told() -> None:
    both = calls(call("transfer_to_tech"), call("transfer_to_billing", 2))
    _, _, events = await held({"triage": [both], "tech": ["Mended."]})
    assert [speaker for speaker, _ in spoken(events)] == ["triage", "tech"]
    (unread,) = of_type(events, "control.unread")
    assert (unread.fault, unread.line) == ("several", "tech, billing")


async def test_a_call_counts_before_a_line_that_names_another() -> None:
    both = say("Over.\nHANDOFF: billing", ToolCall("1", "transfer_to_tech", "{}"))
    _, _, events = await held({"triage": [both], "tech": ["Mended."]})
    assert spoken(events) == [("triage", "Over."), ("tech", "Mended.")]
    assert [one.fault for one in of_type(events, "control.unread")] == ["several"]


async def test_other_calls_beside_it_are_made_and_only_a_failed_one_keeps_the_word() -> None:
    beside = calls(call("look", 1, '{"what": "bill"}'), call("transfer_to_tech", 2))
    _, _, events = await held({"triage": [beside], "tech": ["Mended."]})
    assert [speaker for speaker, _ in spoken(events)] == ["triage", "tech"]
    failing = calls(call("look", 1, '{"what": "nothing"}'), call("transfer_to_tech", 2))
    manager, _, events = await held({"triage": [failing, "I am at a loss."]})
    assert spoken(events) == [("triage", "I am at a loss.")]
    assert manager.requests[1].messages[-1].parts[0].is_error


async def test_who_calls_for_nobody_for_ever_comes_to_an_end() -> None:
    never = [calls(call(f"transfer_to_{number}")) for number in range(16)]
    manager = scripted({"triage": never})
    result, _ = await run(desk(), manager)  # type: ignore[arg-type]
    assert result.status == "failed"
    assert len(manager.requests) <= 16


async def test_the_last_turn_of_an_agent_may_still_hand_over() -> None:
    people = {"ann": {"role": "Helps.", "max_turns": 2, "tools": ["look"]}, "bob": {"role": "Helps.", "max_turns": 1}}
    given = pair(people, look)
    looking, handing = tool_call("look", what="it"), tool_call("transfer_to_bob", reason="Yours.")
    manager = scripted({"ann": [looking, handing], "bob": ["Done."]})
    _, events = await run(given, manager)  # type: ignore[arg-type]
    assert spoken(events) == [("ann", "Yours."), ("bob", "Done.")]
    assert [spec.name for spec in manager.requests[1].tools] == ["transfer_to_bob"]
    assert manager.requests[2].messages[-1].text.startswith("bob, it is your turn."), "nothing is said of a last turn"


async def test_a_guardrail_hears_the_reason() -> None:
    rails = {"output": [{"forbid": ["secret"], "on_fail": "retry"}]}
    people = {"ann": {"role": "Helps.", "guardrails": rails}, "bob": {"role": "Helps."}}
    given = pair(people)
    telling = tool_call("transfer_to_bob", reason="It is secret.")
    manager = scripted({"ann": [telling, tool_call("transfer_to_bob", reason="See there.")], "bob": ["Done."]})
    _, events = await run(given, manager)  # type: ignore[arg-type]
    assert spoken(events) == [("ann", "See there."), ("bob", "Done.")]


async def test_an_own_tool_of_the_same_name_stays_the_agent_s() -> None:
    @tool
    async def transfer_to_bob(amount: int) -> str:
        """Send money."""
        return f"sent {amount}"

    people = {"ann": {"role": "Pays.", "tools": ["transfer_to_bob"]}, "bob": {"role": "Helps."}}
    given = pair(people, transfer_to_bob)
    manager = scripted({"ann": [tool_call("transfer_to_bob", amount=3), "Sent."]})
    _, events = await run(given, manager)  # type: ignore[arg-type]
    assert spoken(events) == [("ann", "Sent.")]
    assert [spec.name for spec in manager.requests[0].tools] == ["transfer_to_bob"]


async def test_what_is_but_a_call_is_silence_to_others_and_no_conclusion() -> None:
    plan = ConversationPlan("desk", "handoff", ("ann", "bob"), MaxTurns(2))
    says = {"ann": SpokenWords("Look.", 1, handed=("bob",)), "bob": SpokenWords("", 1, handed=("ann",))}
    stage = Stage(lambda s, n: says[s])
    minutes = await stage.hold(plan)
    assert [(one.speaker, one.text, one.next) for one in minutes.said] == [
        ("ann", "Look.", ("bob",)),
        ("bob", "", ("ann",)),
    ]
    assert minutes.conclusion == "**ann:** Look."
    assert "### bob" not in minutes.document()


async def test_a_model_that_cannot_call_tools_is_asked_without_them() -> None:
    adapter = Scripted([say("A bill.\nHANDOFF: billing"), say("Paid.")])
    model = Model("plain", 100_000, 1000, frozenset())
    candidate = Candidate(Provider("plain", "local", "", None, {"plain": model}), model)
    policy = Policy({"worker": (candidate.name,)}, last_resort=())
    manager = ProviderManager([candidate], policy, adapters={"local": adapter})
    talk = {"pattern": "handoff", "participants": ["triage", "billing"], "terminate": {"max_turns": 4}}
    tasks = {"t": {"conversation": "desk", "description": "Help."}}
    given = squad(tasks, agents="triage billing", conversations={"desk": talk})
    _, events = await run(given, manager)  # type: ignore[arg-type]
    assert spoken(events) == [("triage", "A bill."), ("billing", "Paid.")]
    assert not any(request.tools for request in adapter.requests)


def test_names_of_tools_are_what_providers_take() -> None:
    people = ("dev", "dev2", "Dev Ops", "dev-ops", "Юля", "Jürgen", "a" * 90, "a" * 91, "human", "日本")
    names = tool_names(people)
    assert names["dev"] == "transfer_to_dev"
    assert names["Dev Ops"] == "transfer_to_Dev_Ops"
    assert names["dev-ops"] != names["Dev Ops"]
    assert len({name.casefold() for name in names.values()}) == len(people)
    assert all(
        name.isascii() and len(name) <= MOST_CHARS and name.replace("_", "").isalnum() for name in names.values()
    )
