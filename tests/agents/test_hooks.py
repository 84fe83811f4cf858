"""Hooks around calls, on a scripted model behind the real manager: they watch, change, refuse, and fail with a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio.lowlevel
import pytest

from agents import CallDenied, CallPlace, Deny, HookFailed, Hooks, RunContext, tool
from agents.run_context import CallToApprove, Leave
from providers.messages import FinishReason, Message, Response, Text, ToolCall, ToolResult, Usage
from providers.stub.scripted import say
from providers.stub.scripted import tool_call as call

pytestmark = pytest.mark.anyio


@tool(blocking=False)
def double(n: int) -> int:
    """Double."""
    return 2 * n


def told(result: Any) -> list[str]:
    parts = [part for message in result.transcript for part in message.parts]
    return [part.content for part in parts if isinstance(part, ToolResult)]


class Notes(Hooks):
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    async def before_model(self, request, at: CallPlace) -> None:
        await anyio.lowlevel.checkpoint()
        self.notes.append(f"{self.name} before model {at.turn}")

    def after_model(self, request, response, at: CallPlace) -> None:
        self.notes.append(f"{self.name} after model {at.turn}")

    def before_tool(self, call, tool, at: CallPlace) -> None:
        self.notes.append(f"{self.name} before {tool.name} of {at.agent}")

    async def after_tool(self, call, result, at: CallPlace) -> None:
        self.notes.append(f"{self.name} after {call.name}: {result.content}")


async def test_they_stand_around_each_call_like_shells(scripted) -> None:
    notes: list[str] = []
    bench = scripted(say(call("double", n=2)), say("4"))
    hooks = (Notes("outer", notes), Notes("inner", notes))
    await bench.agent(tools=(double,), hooks=hooks[1:]).work("x", RunContext(hooks=hooks[:1]))
    assert notes == [
        "outer before model 1",
        "inner before model 1",
        "inner after model 1",
        "outer after model 1",
        "outer before double of amelia",
        "inner before double of amelia",
        "inner after double: 4",
        "outer after double: 4",
        "outer before model 2",
        "inner before model 2",
        "inner after model 2",
        "outer after model 2",
    ]


class Changes(Hooks):
    def before_model(self, request, at):
        return replace(request, messages=(*request.messages, Message("user", (Text("Be brief."),))))

    def after_model(self, request, response, at):
        if response.tool_calls:
            return None
        return Response(Message("assistant", (Text("changed"),)), FinishReason.STOP, Usage(10**6), cost=10**9)

    def before_tool(self, call, tool, at):
        return replace(call, arguments='{"n": 21}', id="other")

    def after_tool(self, call, result, at):
        return f"{result.content} or so"


async def test_what_they_change_holds_and_the_bill_stays(scripted) -> None:
    asked: list[CallToApprove] = []

    async def approve(wanted: CallToApprove) -> Leave:
        asked.append(wanted)
        return Leave(True)

    bench = scripted(say(call("double", n=2)), say("4"))
    agent = bench.agent(tools=(replace(double, approval="ask"),), hooks=(Changes(),))
    result = await agent.work("x", RunContext(approve=approve))
    assert (result.text, told(result)) == ("changed", ["42 or so"])
    assert [one.arguments for one in asked] == ['{"n": 21}']  # a person is asked for what will be called
    assert bench.script.requests[0].messages[-1].text == "Be brief."
    assert "Be brief." not in [message.text for message in result.transcript]
    assert result.usage.total < 10**4


@pytest.mark.parametrize(
    ("say_before", "say_after", "says"),
    [
        (Deny("not today"), None, "double failed: it was not allowed: not today"),
        ("7", None, "7"),
        (ToolResult("x", "y", "z" * 50_000), None, "z" * 39_999 + "\n[cut: the first 39999 characters of 50000]"),
        (None, Deny("secret"), "double failed: its result was withheld: secret"),
        (None, ToolResult("x", "y", "nine"), "nine"),
    ],
)
async def test_they_may_refuse_a_call_or_answer_it(scripted, say_before, say_after, says) -> None:
    class Says(Hooks):
        def before_tool(self, call, tool, at):
            return say_before

        def after_tool(self, call, result, at):
            return say_after

    bench = scripted(say(call("double", n=2)), say("x"))
    assert told(await bench.agent(tools=(double,), hooks=(Says(),)).work("x")) == [says]


async def test_a_model_call_that_is_denied_ends_the_work_unpaid(scripted) -> None:
    class Closed(Hooks):
        def before_model(self, request, at):
            return Deny("closed")

    class Cache(Hooks):
        def before_model(self, request, at):
            return Response(Message("assistant", (Text("known"),)), FinishReason.STOP)

    bench = scripted(say("x"))
    with pytest.raises(CallDenied, match="Closed denied a model call: closed"):
        await bench.agent(hooks=(Closed(),)).work("x")
    assert (await bench.agent(hooks=(Cache(),)).work("x")).text == "known"
    assert not bench.script.requests


@pytest.mark.parametrize("name", ["before_model", "after_model", "before_tool", "after_tool"])
async def test_one_that_raises_or_returns_what_it_may_not_is_named(scripted, name) -> None:
    def raises(self, *_):
        raise KeyError("k")

    for method, why in ((raises, "KeyError: 'k'"), (lambda self, *_: 7, "it returned int, not a")):
        bench = scripted(say(call("double", n=2)), say("x"))
        hook = type("Odd", (Hooks,), {name: method})()
        with pytest.raises(HookFailed, match=f"the hook Odd.{name} failed: {why}"):
            await bench.agent(tools=(double,), hooks=(hook,)).work("x")


async def test_a_hook_may_not_turn_a_call_into_one_of_another_tool(scripted) -> None:
    class Odd(Hooks):
        def before_tool(self, call, tool, at):
            return ToolCall("1", "other", "{}")

    bench = scripted(say(call("double", n=2)), say("x"))
    with pytest.raises(HookFailed, match="another tool"):
        await bench.agent(tools=(double,), hooks=(Odd(),)).work("x")
