"""What an agent of an embedding program is told, with a persona or without one."""

from __future__ import annotations

from typing import Any

import pytest

from agents import Agent
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
