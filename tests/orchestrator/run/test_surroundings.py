"""What a program puts around a run: dependencies of its tools, and hooks, without which it is resumed and replayed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from agents import Deny, Hooks, ToolContext, ToolProgress, tool
from agents.events import RepeatStopped
from orchestrator import Squad, to_json
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.runtime import open_run, resume_run
from providers.messages import FinishReason, Message, Request, Response, Text, ToolCall, Usage
from tests.orchestrator.squads import Answers, of_type, run, squad
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


class Shop:
    def __init__(self) -> None:
        self.sold: list[str] = []


@tool(blocking=False)
def sell(article: str, context: ToolContext[Shop]) -> str:
    """Sell."""
    context.progress("selling", 1, 2)
    context.deps.sold.append(f"{article} in {context.unit} of {context.run}, by {context.agent} at {context.step}")
    return "sold"


def shop() -> Squad:
    return squad({"a": {"agent": "ann", "description": "Sell.", "tools": ["sell"]}, "b": "End."}, tools=[sell])


def sells(agent: str, request: Request) -> Any:
    if request.tools and request.messages[-1].role == "user":
        call = ToolCall("c", "sell", '{"article": "pen"}')
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(9, output=3), "f", "f", 10)
    return f"{agent}: {request.messages[-1].parts[-1]}"


class Loud(Hooks):
    """Changes each request, call and result, and denies nothing."""

    def before_model(self, request: Request, at: Any) -> Request:
        return replace(request, messages=(*request.messages[:-1], replace(request.messages[-1])), temperature=0.5)

    def after_model(self, request: Request, response: Response, at: Any) -> Response | None:
        if response.tool_calls:
            return None
        return replace(response, message=Message("assistant", (Text(response.text.upper()),)), usage=Usage())

    def before_tool(self, call: ToolCall, tool: Any, at: Any) -> ToolCall:
        return replace(call, arguments='{"article": "hat"}')

    async def after_tool(self, call: ToolCall, result: Any, at: Any) -> str:
        return f"{result.content}!"


async def test_a_run_has_dependencies_and_tells_progress() -> None:
    deps = Shop()
    result, events = await run(shop(), Answers(sells), deps=deps, run_id="r")
    assert (result.status, deps.sold) == ("done", ["pen in a of r, by ann at ('try-1',)"])
    (told,) = [event for event in events if isinstance(event.data, ToolProgress)]
    assert (told.path, to_json(told)["type"]) == ("a/try-1", told.type)


async def test_what_hooks_made_is_in_the_record_and_replayed_and_resumed_without_them() -> None:
    journal, deps, manager = MemoryJournal(), Shop(), _Stops()
    async with open_run(shop(), run_id="r", journal=journal, manager=manager, deps=deps, hooks=[Loud()]):
        with anyio.fail_after(PATIENCE_S):
            await manager.stopped.wait()
    manager.is_stopping = False
    async with resume_run(shop(), "r", journal=journal, manager=manager, deps=deps) as opened:
        events = [event async for event in opened]
    result = opened.result
    assert (result.status, result.cost) == ("done", 10 * len(manager.asked) - 10 * manager.lost)
    assert deps.sold == ["hat in a of r, by ann at ('try-1',)"]
    assert "sold!" in next(event.data.output for event in events if event.type == "task.ended")
    assert manager.asked[0][1].temperature == 0.5
    ended = await replay(journal, "r")
    assert ended.is_equal, ended.difference


class _Stops(Answers):
    """Never answers what comes after a tool's result, until it is told to."""

    def __init__(self) -> None:
        super().__init__(self._says)
        self.stopped, self.is_stopping, self.lost = anyio.Event(), True, 0

    async def _says(self, agent: str, request: Request) -> Any:
        if self.is_stopping and request.messages[-1].role == "tool":
            self.lost += 1
            self.stopped.set()
            await anyio.sleep_forever()
        return sells(agent, request)


async def test_a_hook_that_denies_or_fails_ends_the_task_with_a_kind() -> None:
    class Closed(Hooks):
        def before_model(self, request: Request, at: Any) -> Deny:
            return Deny("closed")

    class Broken(Hooks):
        def after_tool(self, call: ToolCall, result: Any, at: Any) -> None:
            raise KeyError("k")

    for hook, kind in ((Closed(), "CallDenied"), (Broken(), "HookFailed")):
        journal = MemoryJournal()
        result, _ = await run(shop(), Answers(sells), deps=Shop(), hooks=[hook], journal=journal, run_id="r")
        assert (result.status, result.error_kinds["a"]) == ("failed", kind)


async def test_a_stopped_repetition_is_told_and_replayed() -> None:
    def loops(agent: str, request: Request) -> Any:
        if not request.tools:
            return "I stop."
        call = ToolCall("c", "nothing", "{}")
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(9, output=3), "f", "f", 10)

    journal = MemoryJournal()
    result, events = await run(shop(), Answers(loops), deps=Shop(), journal=journal, run_id="r")
    assert result.status == "done"
    stopped = [event.data for event in events if isinstance(event.data, RepeatStopped)]
    assert [(one.turn, one.times, one.is_last) for one in stopped] == [(3, 2, False), (4, 2, True)]
    assert len(of_type(events, "tool.ended")) in (0, 4)
    ended = await replay(journal, "r")
    assert ended.is_equal, ended.difference
