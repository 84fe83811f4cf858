"""Who is asked before a tool is called: by its class of risk, unless the squad says something of the tool itself."""

from __future__ import annotations

from typing import Any

import pytest

from agents import tool
from orchestrator import PlanError
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.squad.approval_specs import ApprovalsSpec, approvals_of, with_approvals
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.orchestrator.people import PERSONA
from tests.orchestrator.squads import Answers, of_type, run, squad

pytestmark = pytest.mark.anyio


@tool(risk="read_only")
def look() -> str:
    """Look."""
    return "seen"


@tool(approval="ask")
def write() -> str:
    """Write."""
    return "written"


@tool(risk="risky")
def send() -> str:
    """Send."""
    return "sent"


def given(squad_says: Any, agent_says: Any = None, tools: Any = ("look", "write", "send"), **more: Any) -> Any:
    own = {} if agent_says is None else {"approvals": agent_says}
    people = {"ann": {"persona": PERSONA, "tools": list(tools), **own}}
    said = {} if squad_says is None else {"approvals": squad_says}
    return squad({"a": "x"}, people=people, tools=[look, write, send], **said, **more)


def calling_all(_: str, request: Request) -> Any:
    if any(message.role == "tool" for message in request.messages):
        return "done"
    parts = tuple(ToolCall(name, name, "{}") for name in ("look", "write", "send"))
    return Response(Message("assistant", parts), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("squad_says", "agent_says", "tools", "asked"),
    [
        (None, None, ["look", "write", "send"], ["write"]),
        ({"risky": "ask", "writes": "allow"}, None, ["look", "write", "send"], ["send"]),
        ({"risky": "ask", "writes": "allow"}, {"risky": "allow"}, ["look", "write", "send"], []),
        ({"writes": "allow", "read_only": "ask"}, None, ["look", {"name": "write", "approval": "ask"}, "send"], None),
        ({"risky": "deny"}, None, [{"name": "send", "approval": "never"}, "look", "write"], ["write"]),
    ],
)
async def test_a_class_says_who_is_asked(squad_says: Any, agent_says: Any, tools: Any, asked: list[str] | None) -> None:
    result, events = await run(given(squad_says, agent_says, tools), Answers(calling_all))
    prompts = [gate.prompt for gate in of_type(events, "gate.opened")]
    # Calls of one turn are made side by side: who is asked first is left open.
    assert sorted(prompts) == [f"Run the tool {name}?" for name in (["look", "write"] if asked is None else asked)]
    assert result.status == ("waiting" if prompts else "done")


async def test_what_is_denied_is_told_to_the_model_and_asked_of_nobody() -> None:
    journal = MemoryJournal()
    made = given({"risky": "deny", "writes": "deny"})
    result, events = await run(made, Answers(calling_all), journal=journal, run_id="r")
    assert result.status == "done"
    assert of_type(events, "gate.opened") == []
    assert sorted((one.name, one.ok) for one in of_type(events, "tool.ended")) == [
        *(("look", True), ("send", False), ("write", False)),
    ]
    assert [one.result for one in of_type(events, "tool.ended") if one.name == "send"] == [
        "send failed: it was not made: calls of this kind are not allowed here. Go on without it"
    ]
    assert (await replay(journal, "r")).is_equal


def test_a_squads_word_on_one_tool_goes_before_that_on_its_class() -> None:
    said = approvals_of(ApprovalsSpec(risky="deny", writes="ask"), ApprovalsSpec(writes="allow"))
    assert said == {"risky": "deny", "writes": "never"}
    tools = with_approvals((look, write, send, send.but(approval="ask", is_approval_said=True)), said)
    assert [one.approval for one in tools] == ["never", "never", "deny", "ask"]
    assert approvals_of(None, ApprovalsSpec()) is None


def test_a_class_that_there_is_not_is_told() -> None:
    with pytest.raises(PlanError) as caught:
        given({"write": "allow"})
    assert "writes" in str(caught.value)
