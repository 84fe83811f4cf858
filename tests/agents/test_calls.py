"""The calls of a turn: how many at once, which only repeat, and models that behave badly; on a real manager."""

from __future__ import annotations

import asyncio
import threading
from itertools import count

import anyio
import pytest

from agents import RepeatStopped, RunContext, ToolEnded, TurnLimit, tool
from agents.calls import MOST_AT_ONCE, MOST_CALLS, call_all
from agents.threads import MOST_LEFT
from agents.tools import as_tools
from providers.messages import Message, ToolCall, ToolResult
from providers.stub.scripted import say, tool_call
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio


@tool(blocking=False, risk="read_only")
def look(at: str = "here") -> str:
    """Look."""
    return f"nothing {at}"


@tool(blocking=False, repeatable=True)
def wait() -> str:
    """Wait."""
    return "waited"


def results(messages: tuple[Message, ...]) -> list[str]:
    parts = [part for message in messages for part in message.parts]
    return [part.content for part in parts if isinstance(part, ToolResult)]


class TestRepeats:
    async def test_a_model_that_only_repeats_itself_is_told_then_asked_for_its_answer(self, scripted) -> None:
        events: list[object] = []
        bench = scripted(*[say(tool_call("look"))] * 4, "There is nothing.")
        done = await bench.agent(tools=(look,)).work("x", RunContext(emit=events.append))
        assert (done.text, done.turns) == ("There is nothing.", 5)
        told = results(done.transcript)
        assert told[:2] == ["nothing here"] * 2
        assert told[2] == told[3]
        assert told[2].startswith("look failed: it was not made: you have called it 2 times with these arguments")
        stopped = [event for event in events if isinstance(event, RepeatStopped)]
        assert stopped == [RepeatStopped(3, 1, "look", 2), RepeatStopped(4, 1, "look", 2, is_last=True)]
        assert [event.ok for event in events if isinstance(event, ToolEnded)] == [True, True, False, False]
        last = bench.script.requests[-1]
        assert (last.tools, last.tool_choice) == ((), "none")
        assert "last turn" in last.messages[-1].text

    async def test_one_that_calls_on_even_then_ends_with_a_turn_limit(self, scripted) -> None:
        bench = scripted(*[say(tool_call("look"))] * 9)
        with pytest.raises(TurnLimit, match="within 5 turns"):
            await bench.agent(tools=(look,)).work("x")
        assert len(bench.script.requests) == 5

    async def test_circles_unknown_tools_and_wrong_arguments_are_repetitions_too(self, scripted) -> None:
        circle = [say(tool_call("look", at=place)) for place in "ab"] * 3
        assert (await scripted(*circle, "x").agent(tools=(look,)).work("x")).turns == 7
        unknown = [say(tool_call("gone"))] * 4
        assert (await scripted(*unknown, "x").agent(tools=(look,)).work("x")).turns == 5
        wrong = [say(tool_call("look", colour=1))] * 4
        assert (await scripted(*wrong, "x").agent(tools=(look,)).work("x")).turns == 5

    async def test_what_waits_or_differs_goes_on(self, scripted) -> None:
        numbers = count()

        @tool(blocking=False, risk="read_only")
        def status() -> int:
            return next(numbers)

        for one in (wait, status):
            bench = scripted(*[say(tool_call(one.name))] * 12, "x")
            assert (await bench.agent(tools=(one,)).work("x")).turns == 13

    async def test_a_run_of_an_earlier_edition_repeats_as_it_did(self, scripted) -> None:
        bench = scripted(*[say(tool_call("look"))] * 6, "x")
        done = await bench.agent(tools=(look,)).work("x", RunContext(edition=2))
        assert results(done.transcript) == ["nothing here"] * 6


class TestMany:
    async def test_so_many_run_at_once_and_so_many_in_a_turn(self) -> None:
        at_work, most = 0, 0

        @tool
        async def busy(n: int) -> int:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            at_work -= 1
            return n

        calls = [ToolCall(f"c{n}", "busy", f'{{"n": {n}}}') for n in range(MOST_CALLS + 2)]
        made = await call_all(calls, (busy,), RunContext(), 1)
        assert most == MOST_AT_ONCE
        assert [result.call_id for result in made] == [call.id for call in calls]
        assert [result.content for result in made[:-2]] == [str(n) for n in range(MOST_CALLS)]
        assert all("128 calls can be made in one turn, and there were 130" in result.content for result in made[-2:])
        assert not any(result.is_error for result in await call_all(calls, (busy,), RunContext(edition=2), 1))

    async def test_threads_that_never_end_are_left_in_bounded_number(self) -> None:
        release, begun, working = threading.Event(), count(), threading.Semaphore(0)

        @tool(timeout_s=0.01)
        def hangs(n: int = 0) -> str:
            next(begun)
            working.release()
            release.wait(PATIENCE_S)
            return "late"

        for _ in range(MOST_LEFT):
            assert "no answer within 0.01 s" in (await hangs.call(ToolCall("c", "hangs", "{}"))).content
        refused = await hangs.call(ToolCall("c", "hangs", "{}"))
        assert refused.content == "hangs failed: 8 earlier calls of it are still at work; call it again later"
        assert all(working.acquire(timeout=PATIENCE_S) for _ in range(MOST_LEFT))
        assert next(begun) == MOST_LEFT
        release.set()


class TestEnds:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration])
    async def test_what_would_end_a_program_ends_a_thread_alone(self, error: type[BaseException]) -> None:
        @tool
        def bad() -> str:
            raise error

        result = await bad.call(ToolCall("c", "bad", "{}"))
        assert (result.is_error, result.content) == (True, f"bad failed: {error.__name__}")

    async def test_a_tool_that_cancels_itself_is_told_and_one_that_is_cancelled_is_not(self) -> None:
        @tool
        async def own() -> str:
            raise anyio.get_cancelled_exc_class()

        @tool
        async def sleeps() -> str:
            await anyio.sleep_forever()
            return ""

        if anyio.get_cancelled_exc_class() is asyncio.CancelledError:  # trio lets nobody raise it
            assert "own failed: CancelledError" in (await own.call(ToolCall("c", "own", "{}"))).content
        with anyio.move_on_after(0.01) as scope:
            await sleeps.call(ToolCall("c", "sleeps", "{}"))
        assert scope.cancelled_caught


class Desk:
    opened = 0

    def __init__(self, name: str) -> None:
        self.name = name

    @tool
    async def greet(self, who: str) -> str:
        """Greet.

        Args:
            who: Whom.
        """
        return f"{self.name} greets {who}"

    @tool(blocking=False)
    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    @classmethod
    @tool(blocking=False)
    def also(cls) -> str:
        return cls.__name__

    @staticmethod
    @tool(blocking=False)
    def free(n: int) -> int:
        return n


async def test_methods_become_the_tools_of_their_object() -> None:
    ann, bob = Desk("ann"), Desk("bob")
    tools = as_tools([ann.greet, Desk.kind, bob.also, bob.free])
    calls = [("greet", '{"who": "x"}'), ("kind", ""), ("also", ""), ("free", '{"n": 1}')]
    made = await call_all([ToolCall("c", *call) for call in calls], tools, RunContext(), 1)
    assert [result.content for result in made] == ["ann greets x", "Desk", "Desk", "1"]
    assert (await bob.greet.call(ToolCall("c", "greet", '{"who": "x"}'))).content == "bob greets x"
    assert tools[0].spec.parameters["properties"] == {"who": {"type": "string", "description": "Whom."}}
    assert as_tools([ann.greet, ann.greet])[0].name == "greet"
    assert await ann.greet("y") == "ann greets y"  # as Python has it
