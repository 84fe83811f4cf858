"""Agents as tools of other agents, in programs: what they are asked, what they may end, and how deep they go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents import HookFailed, Hooks, RunContext, ToolEnded, TurnStarted, tool
from agents.agent_tool import MOST_DEEP
from agents.run_context import StepKey
from orchestrator.journal.codec import Packed, pack, unpack
from providers.errors import AllAttemptsFailed, AuthFailed
from providers.messages import Response, ToolResult, Usage
from providers.stub.scripted import say, tool_call
from tests.agents.conftest import Voice
from tests.agents.test_calls import look

pytestmark = pytest.mark.anyio


def told(result) -> list[str]:
    parts = [part for message in result.transcript for part in message.parts]
    return [part.content for part in parts if isinstance(part, ToolResult)]


async def test_it_is_given_the_task_alone_and_its_answer_is_the_result(scripted) -> None:
    keys: list[StepKey] = []
    events: list[object] = []

    async def do(key, request_hash, work):
        keys.append(key)
        return await work()

    bench = scripted(say(tool_call("ask_bob", task="Look.")), say(tool_call("look")), "Nothing.", "Bob says: nothing.")
    bob = bench.agent(name="bob", tools=(look,))
    ann = bench.agent(name="ann", tools=(bob.as_tool("ask_bob", "Bob looks."),))
    result = await ann.work("What is there?", RunContext(do=do, emit=events.append, step=("x",)))
    assert (result.text, told(result)) == ("Bob says: nothing.", ["Nothing."])
    assert [message.text for message in bench.script.requests[1].messages[1:]] == ["Look."]
    inner = ("x", "turn-1", "tool-1", "bob")
    assert keys == [
        StepKey(("x",), 1, "model"),
        StepKey(("x",), 1, "tool-1"),
        StepKey(inner, 1, "model"),
        StepKey(inner, 1, "tool-1"),
        StepKey(inner, 2, "model"),
        StepKey(("x",), 2, "model"),
    ]
    assert [event.agent for event in events if isinstance(event, TurnStarted)] == ["ann", "bob", "bob", "ann"]
    (spec,) = bench.script.requests[0].tools
    assert (spec.name, spec.description, list(spec.parameters["properties"])) == ("ask_bob", "Bob looks.", ["task"])


async def test_it_is_as_risky_as_its_own_tools(scripted) -> None:
    agent = scripted().agent(name="bob")
    assert (agent.as_tool().risk, agent.as_tool().untrusted, agent.as_tool().description) == (
        *("read_only", False),
        "Give a task to bob.",
    )
    risky = replace(agent, tools=(look, replace(look, name="send", risk="risky", untrusted=True))).as_tool()
    assert (risky.risk, risky.untrusted, risky.agent) == ("risky", True, "bob")


async def test_its_own_failure_is_told_and_what_ends_the_work_ends_it(scripted) -> None:
    @tool(blocking=False)
    def count(n: int) -> int:
        """Count."""
        return n

    bench = scripted(say(tool_call("bob", task="x")), *[say(tool_call("count", n=n)) for n in range(2)], "Without him.")
    bob = bench.agent(name="bob", tools=(count,), max_turns=2)
    result = await bench.agent(tools=(bob.as_tool(),)).work("x")
    assert told(result) == ["bob failed: bob gave no final answer within 2 turns"]
    bench = scripted(say(tool_call("bob", task="x")), AuthFailed("no"))
    with pytest.raises(AllAttemptsFailed):
        await bench.agent(tools=(bench.agent(name="bob").as_tool(),)).work("x")

    class Odd(Hooks):
        def before_model(self, request, at):
            return 7 if at.agent == "bob" else None

    bench = scripted(say(tool_call("bob", task="x")), "y")
    with pytest.raises(HookFailed, match=r"Odd\.before_model"):
        await bench.agent(tools=(bench.agent(name="bob").as_tool(),), hooks=(Odd(),)).work("x")


async def test_agents_call_each_other_only_so_deep(scripted) -> None:
    bench = scripted(*[say(tool_call("next", task="x"))] * (MOST_DEEP + 1), *["done"] * (MOST_DEEP + 1))
    agent = bench.agent(name="a0", persona=Voice())
    for number in range(1, MOST_DEEP + 2):
        agent = bench.agent(name=f"a{number}", tools=(agent.as_tool("next"),))
    events: list[object] = []
    assert (await agent.work("x", RunContext(emit=events.append))).text == "done"
    failed = [event.result for event in events if isinstance(event, ToolEnded) and not event.ok]
    assert failed == ["next failed: 8 agents are at work for each other already; answer without it"]


async def test_a_stream_tells_what_the_caller_says_and_nothing_of_its_helper(scripted) -> None:
    bench = scripted(say(tool_call("bob", task="x")), "secret", "told")
    agent = bench.agent(tools=(bench.agent(name="bob").as_tool(),))
    async with agent.stream("x") as stream:
        said = "".join([delta.text async for delta in stream if hasattr(delta, "text")])
    assert (said, stream.result.text) == ("told", "told")


async def test_what_it_spent_is_its_callers_to_tell_apart_and_counts_once_when_it_was_recorded(scripted) -> None:
    steps: dict[StepKey, Packed] = {}
    answers: list[Response] = []

    async def do(key, request_hash, work):
        if key in steps:
            return unpack(steps[key].data, steps[key].bodies.__getitem__)
        made = await work()
        if isinstance(made, Response):
            answers.append(made)
        steps[key] = pack(made)
        return made

    bench = scripted(
        *[say(tool_call("bob", task="x")), say(tool_call("cy", task="y")), say(tool_call("look"))],
        *["Without cy.", "told"],
    )
    cy = bench.agent(name="cy", tools=(look,), max_turns=1)
    bob = bench.agent(name="bob", tools=(cy.as_tool(),))
    ann = bench.agent(name="ann", tools=(bob.as_tool(),))
    first = await ann.work("x", RunContext(do=do))
    assert first.usage + first.delegated.usage == sum([answer.usage for answer in answers], Usage())
    assert first.counted + first.delegated.counted == sum(answer.counted.total for answer in answers)
    assert (first.turns + first.delegated.calls, first.delegated.calls) == (len(answers), 3)
    asked = len(answers)
    steps = {key: kept for key, kept in steps.items() if key.step == ()}  # what is below a recorded call is never read
    again = await ann.work("x", RunContext(do=do))
    assert (again.delegated, again.usage, len(answers)) == (first.delegated, first.usage, asked)
