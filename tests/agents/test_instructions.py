"""What an agent of an embedding program is told, with a persona or without one."""

from __future__ import annotations

from typing import Any

import pytest

from agents import Agent, Hooks
from personas import Persona
from providers.messages import system
from providers.stub.scripted import say

pytestmark = pytest.mark.anyio

ADA = Persona("ada", "Ada", "Finds out.", title="Analyst")


async def test_instructions_alone_are_the_system_message(scripted: Any) -> None:
    bench = scripted(say("4"))
    agent = Agent("terse", manager=bench.manager, instructions="One word. {{ x }}", temperature=0.2, tier="worker")
    assert (await agent.work("2 + 2?")).text == "4"
    (asked,) = bench.script.requests
    assert asked.messages[0] == system("One word. {{ x }}")
    assert (asked.temperature, asked.needs.agent, asked.needs.persona, asked.needs.tier) == (
        0.2,
        "terse",
        None,
        "worker",
    )


async def test_instructions_come_after_a_persona(scripted: Any) -> None:
    manager = scripted().manager
    plain, own = Agent("a", ADA, manager), Agent("b", ADA, manager, instructions="One word.")
    assert own.opening.text == f"{plain.opening.text.rstrip()}\n\n## Your instructions\n\nOne word.\n"
    assert Agent("c", ADA, manager, instructions="One word.").opening is own.opening


@pytest.mark.parametrize("more", [{}, {"instructions": ""}])
def test_an_agent_is_told_something_and_answered_by_somebody(scripted: Any, more: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="the agent 'a' needs instructions, or a persona"):
        Agent("a", manager=scripted().manager, **more)
    with pytest.raises(TypeError, match="the agent 'a' needs a manager"):
        Agent("a", ADA)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"persona": "You are a poet."}, "instructions='...'"),
        ({"manager": "openai"}, "open_manager"),
        ({"tools": len}, "tools is a list"),
        ({"hooks": Hooks()}, "hooks is a list"),
        ({"chain": "groq/*"}, "chain is a list"),
        ({"max_turns": 0}, "1 at least"),
    ],
)
def test_what_is_of_another_kind_is_refused_in_words(scripted: Any, given: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match="the agent 'a': ") as raised:
        Agent(**{"name": "a", "instructions": "Be brief.", "manager": scripted().manager, **given})
    assert told in str(raised.value)


async def test_lists_do_where_tuples_do_and_a_brief_is_a_text(scripted: Any) -> None:
    bench = scripted("Hello.")
    agent = Agent("a", manager=bench.manager, instructions="Hi.", tools=[len], hooks=[Hooks()], chain=["a/m"])
    assert (await agent.work("Hello?")).text == "Hello."
    with pytest.raises(TypeError, match="a brief is a text or a Message"):
        await agent.work(["Hello?"])  # type: ignore[call-overload]
