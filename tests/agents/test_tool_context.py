"""What a tool is given beside its arguments: typed, filled in by us, seen by no model."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Annotated, Optional

import anyio
import pytest

from agents import RunContext, Tool, ToolContext, ToolFault, ToolProgress, tool
from agents.calls import MOST_PROGRESS, call_all
from agents.tools import as_tools
from providers.messages import ToolCall
from providers.stub.scripted import say, tool_call
from tests.orchestrator.squads import Answers, run, squad
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


@dataclass
class Shop:
    stock: dict[str, int]


@tool(blocking=False)
def count(article: str, context: ToolContext[Shop]) -> int:
    """Count.

    Args:
        article: What is counted.
        context: Never told.
    """
    return context.deps.stock[article]


async def called(one: Tool, arguments: str = "{}", **more) -> str:
    (result,) = await call_all([ToolCall("c7", one.name, arguments)], (one,), RunContext(**more), 3, agent="ann")
    return result.content


async def test_it_is_filled_in_and_no_model_sees_it_or_gives_it() -> None:
    assert count.spec.parameters["properties"] == {"article": {"type": "string", "description": "What is counted."}}
    assert await called(count, '{"article": "pen"}', deps=Shop({"pen": 3})) == "3"
    assert "context: there is no such argument" in await called(
        count, '{"article": "pen", "context": {}}', deps=Shop({"pen": 3})
    )


async def test_it_tells_where_the_call_stands() -> None:
    seen: list[ToolContext] = []

    class Desk:
        @tool
        def here(self, at: Annotated[ToolContext, "not told"], /, *, more: int = 1) -> str:
            return "never called"

        @tool
        async def there(self, *, at: ToolContext, **more: int) -> str:
            seen.append(at)
            return "ok"

    with pytest.raises(ToolFault, match="can only be given by name"):
        _ = Desk().here.spec
    ctx = {"run": "r1", "unit": "build[S-1]", "step": ("try-1",)}
    assert await called(Desk().there, '{"x": 1}', **ctx) == "ok"
    (at,) = seen
    assert (at.run, at.unit, at.step, at.agent, at.turn, at.tool, at.call, at.call_id) == (
        *("r1", "build[S-1]", ("try-1",), "ann", 3, "there", 1, "c7"),
    )


async def test_a_tool_of_a_given_schema_may_want_it_too() -> None:
    async def remote(context: ToolContext, **arguments: object) -> str:
        return f"{context.turn} {arguments}"

    one = Tool("remote", "", remote, parameters={"type": "object"})
    assert await called(one, '{"n": 1}') == "3 {'n': 1}"


async def test_progress_is_told_while_the_call_is_at_work_and_not_after() -> None:
    told: list[ToolProgress] = []
    kept: list[ToolContext] = []

    @tool
    def counts(context: ToolContext) -> str:
        kept.append(context)
        for number in range(MOST_PROGRESS + 5):
            context.progress("x" * 1000, number, 200)
        return "done"

    await called(counts, emit=lambda event: told.append(event) if isinstance(event, ToolProgress) else None)
    assert len(told) == MOST_PROGRESS
    assert (told[0].turn, told[0].call, told[0].name, told[1].done, told[0].total) == (3, 1, "counts", 1, 200)
    assert len(told[0].text) <= 300
    kept[0].progress("late")
    assert len(told) == MOST_PROGRESS


async def test_a_thread_that_was_given_up_tells_nothing_more() -> None:
    told: list[ToolProgress] = []
    release, ended = threading.Event(), threading.Event()

    @tool(timeout_s=0.01)
    def slow(context: ToolContext) -> str:
        release.wait(PATIENCE_S)
        context.progress("late")
        ended.set()
        return ""

    def emit(event: object) -> None:
        if isinstance(event, ToolProgress):
            told.append(event)

    assert "no answer within" in await called(slow, emit=emit)
    release.set()
    await anyio.to_thread.run_sync(ended.wait, PATIENCE_S)
    assert (ended.is_set(), told) == (True, [])


@pytest.mark.parametrize(("deps", "why"), [(None, "there are none"), ({"pen": 3}, "it was given dict")])
async def test_dependencies_that_are_not_there_are_told_before_a_model_is_asked(scripted, deps, why) -> None:
    bench = scripted(say("x"))
    with pytest.raises(ToolFault, match=f"needs deps of Shop, and {why}"):
        await bench.agent(tools=(count,), deps=deps).work("x")
    given = squad({"a": {"agent": "ann", "description": "x", "tools": ["count"]}}, tools=[count])
    with pytest.raises(ToolFault, match=why):
        await run(given, Answers(), deps=deps)
    assert not bench.script.requests


async def test_an_agent_and_a_run_have_dependencies(scripted) -> None:
    bench = scripted(say(tool_call("count", article="pen")), say("3"))
    result = await bench.agent(tools=(count,), deps=Shop({"pen": 3})).work("x")
    assert json.loads(result.transcript[2].parts[0].content) == 3
    agent = bench.agent(tools=as_tools([count]))
    assert agent.deps is None


async def test_a_context_that_may_be_missing_is_filled_in_and_no_model_can_give_it():
    @tool
    def first(x: int, context: ToolContext[Shop] | None = None) -> str:
        return f"{x} {type(context).__name__}"

    @tool
    def second(x: int, context: Optional[ToolContext] = None) -> str:  # noqa: UP045  # as much code writes it
        return f"{x} {type(context).__name__}"

    for one in (first, second):
        assert set(one.spec.parameters["properties"]) == {"x"}
        assert await called(one, '{"x": 1}', deps=Shop({})) == "1 ToolContext"
        assert "there is no such argument" in await called(one, '{"x": 1, "context": {}}', deps=Shop({}))


async def test_what_failed_in_a_group_of_tasks_is_told():
    @tool
    async def fails() -> None:
        raise ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("", [ValueError("no such city")])])

    assert (await fails.call(ToolCall("c", "fails", "{}"))).content == "fails failed: ValueError: no such city"
