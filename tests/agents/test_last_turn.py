"""The last turn of a piece of work offers no tools and asks for the answer, so that what was found out is not lost."""

from __future__ import annotations

from typing import Any

import pytest

from agents import RunContext, TurnLimit, tool
from agents.context import fit
from providers.messages import Request, ToolCall, ToolResult, assistant, system, user
from providers.messages import tool as tool_message
from providers.stub.scripted import say, tool_call

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


@tool
def look(at: str) -> str:
    """Look at something."""
    return f"{at} is blue"


def calls_while_it_may(request: Request) -> Any:
    """A model that calls a tool for as long as it is offered one."""
    return say(tool_call("look", at="sky")) if request.tools else "It is blue."


async def test_the_last_turn_offers_no_tools_and_asks_for_the_answer(scripted: Any) -> None:
    bench = scripted(*[calls_while_it_may] * 3)
    result = await bench.agent(tools=(look,), max_turns=3).work("What colour is the sky?")
    assert (result.text, result.turns) == ("It is blue.", 3)
    *before, last = bench.script.requests
    assert [len(request.tools) for request in before] == [1, 1]
    assert (last.tools, last.tool_choice) == ((), "none")
    assert "final answer now" in last.messages[-1].text
    assert "sky is blue" in str(last.messages)
    assert not any("final answer" in message.text for request in before for message in request.messages)


async def test_a_single_turn_with_tools_answers_at_once(scripted: Any) -> None:
    bench = scripted(calls_while_it_may)
    assert (await bench.agent(tools=(look,), max_turns=1).work("Look.")).text == "It is blue."


async def test_with_a_schema_the_last_turn_asks_for_its_json(scripted: Any) -> None:
    bench = scripted(say(tool_call("look", at="sky")), '{"n": 1}')
    result = await bench.agent(tools=(look,), max_turns=2).work("Count.", output_schema=SCHEMA)
    assert result.output == {"n": 1}
    assert "JSON" in bench.script.requests[-1].messages[-1].text


async def test_a_model_that_calls_tools_nevertheless_and_one_without_tools(scripted: Any) -> None:
    bench = scripted(say(tool_call("look", at="sky")), say(tool_call("look", at="sea")))
    with pytest.raises(TurnLimit):
        await bench.agent(tools=(look,), max_turns=2).work("Look.")
    plain = scripted("Yes.")
    await plain.agent(max_turns=1).work("Is it?")
    assert [message.text for message in plain.script.requests[0].messages[1:]] == ["Is it?"]


async def test_a_run_of_the_first_edition_goes_on_as_it_began(scripted: Any) -> None:
    bench = scripted(*[say(tool_call("look", at="sky"))] * 2)
    with pytest.raises(TurnLimit):
        await bench.agent(tools=(look,), max_turns=2).work("Look.", RunContext(edition=1))
    assert len(bench.script.requests[-1].tools) == 1


def test_the_results_that_the_answer_is_to_be_made_of_stay_in_a_small_window() -> None:
    called = [assistant(ToolCall("1", "look", "{}")), tool_message(ToolResult("1", "look", "blue"))]
    said = (system("s"), user("q"), *[assistant("x " * 100), user("go on")] * 5, *called, user("answer now"))
    kept = fit(said, 120)
    assert kept[-3:] == said[-3:]
    assert len(kept) < len(said)
