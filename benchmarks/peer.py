"""This project as an adapter of the neutral benchmark: the same measures as its peers, beside them.

Copy or link it into the benchmark's `adapters/` folder as `squad_orchestrator_.py`; `benchmarks/README.md` has the
commands.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from _template import Base  # type: ignore[import-not-found]  # the benchmark's own

from agents import Agent, RunContext, tool
from orchestrator.options import leave_unanswered
from orchestrator.run.assignment import Assignment, UnitResult
from orchestrator.run.driver import Driver
from orchestrator.run.recorder import Recorder
from orchestrator.squad.plan import AgentWork, Plan, TaskPlan
from personas import Persona, Sandbox
from providers import open_manager
from providers.catalog.file import load_catalog
from providers.messages import FinishReason, Message, Request, Response, Text, assistant, system, user
from providers.policy.parse import parse_policy

TERSE = Persona(name="terse", display_name="Terse", role="You are terse.", tier="worker")
ROLES = {"system": system, "user": user, "assistant": assistant}


@tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Fake:
    """Answers at once, in this process."""

    def __init__(self) -> None:
        self.answer = Response(Message("assistant", (Text("ok"),)), FinishReason.STOP, provider="fake", model="fake")

    async def complete(self, request: Request, **_: Any) -> Response:
        return self.answer


class Adapter(Base):  # type: ignore[misc]  # the base is the benchmark's
    router = failover = True
    n_turn, n_conc, n_fake = 300, 1000, 1000

    async def setup(self, urls: list[str]) -> None:
        model = {"context": 1_000_000, "max_output": 4096, "price": {"input": 0.15, "output": 0.6}, "tools": True}
        rows = {
            f"up{n}": {"dialect": "openai-chat", "base_url": url, "models": {"gpt-4o-mini": model}}
            for n, url in enumerate(urls)
        }
        names = [f"up{n}/gpt-4o-mini" for n in range(len(urls))]
        policy, catalog = parse_policy(
            {"version": 1, "tiers": {"worker": names, "fallback": names}, "providers": rows}, load_catalog()
        )
        self._open = open_manager(policy, catalog, {})
        self.manager = await self._open.__aenter__()
        self.fake = Agent(name="fake", persona=TERSE, manager=Fake())
        self.agent = Agent(name="agent", persona=TERSE, manager=self.manager, tools=(add,))

    async def close(self) -> None:
        await self._open.__aexit__(None, None, None)

    async def turn(self, messages: list[dict[str, str]]) -> str:
        request = Request(tuple(ROLES[m["role"]](m["content"]) for m in messages))
        return (await self.manager.complete(request)).text

    async def stream(self, messages: list[dict[str, str]]) -> AsyncIterator[str]:
        request = Request(tuple(ROLES[m["role"]](m["content"]) for m in messages))
        async with self.manager.stream(request) as deltas:
            async for delta in deltas:
                yield delta.text

    def conversation(self) -> Callable[[str], Awaitable[str]]:
        said: list[Message] = []

        async def say(text: str) -> str:
            said.append(user(text))
            response = await self.manager.complete(Request(tuple(said)))
            said.append(response.message)
            return response.text

        return say

    def graph_chain(self, n: int) -> Callable[[], Awaitable[int]]:
        return self._graph([(f"t{k}", (f"t{k - 1}",) if k else ()) for k in range(n)])

    def graph_fan(self, n: int) -> Callable[[], Awaitable[int]]:
        names = tuple(f"t{k}" for k in range(n))
        run = self._graph([*((name, ()) for name in names), ("join", names)])

        async def without_join() -> int:
            return await run() - 1

        return without_join

    def _graph(self, shape: list[tuple[str, tuple[str, ...]]]) -> Callable[[], Awaitable[int]]:
        nothing = AgentWork("nobody", Sandbox().expression_text("x"))
        plan = Plan("bench", {name: TaskPlan(name, nothing, needs, needs) for name, needs in shape})

        async def run() -> int:
            done = 0

            async def perform(task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
                nonlocal done
                done += 1
                return UnitResult(1, "1")

            recorder = Recorder("bench", None, lambda: 0.0)
            await Driver(plan, perform, recorder, ask=leave_unanswered).drive()
            return done

        return run

    async def fake_turn(self) -> str:
        return (await self.fake.work("hi")).text

    async def tool_turn(self) -> str:
        return (await self.agent.work("add 1 and 2")).text

    def make_agent(self, i: int) -> Agent:
        return Agent(name=f"a{i}", persona=TERSE, manager=self.manager, tools=(add,))
