"""The memory of one run: the store that its agents share, and what each of them is told of it before it works."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.events import MemoryRecalled
from agents.memory.store import MemoryStore
from agents.memory.tools import MEMORY_TOOLS, UNBOUND, memory_tools
from agents.memory.use import MemoryPlace, MemoryUse, recalled
from agents.threads import in_thread
from agents.tools import Tool
from agents.turn import RunContext, StepKey
from orchestrator.squad.plan import AgentPlan, Plan
from orchestrator.units import RECALLED

FILE = "memory.db"
"""The store in the state folder."""


@dataclass(frozen=True, slots=True)
class RunMemory:
    """One run's memory. `squad` names the scope that its agents share."""

    store: MemoryStore
    squad: str
    run: str
    clock: Callable[[], float]

    def tools(self, agent: AgentPlan, use: MemoryUse) -> tuple[Tool, ...]:
        return memory_tools(self.store, use, self._place(agent), self.clock)

    def _place(self, agent: AgentPlan) -> MemoryPlace:
        return MemoryPlace(self.squad, agent.id, self.run)

    async def told(self, agent: AgentPlan, use: MemoryUse, about: str, ctx: RunContext) -> str:
        """Return what the agent is told before it works on `about`: the best records that fit, marked as notes."""
        scopes, now = self._place(agent).read(use), self.clock()
        found = await in_thread(lambda: self.store.search(about, scopes, now, use.recall))
        records = [one.record for one in found]
        text = recalled(records, secrets.token_hex(8), use.max_tokens)
        ctx.emit(MemoryRecalled(agent.id, tuple(record.id for record in records if record.id in text)))
        return text


async def recall(memory: RunMemory | None, agent: AgentPlan, about: str, ctx: RunContext) -> str:
    """Return what the agent remembers of `about`, once: it is a durable step, so that it is told the same again."""
    use = agent.memory
    if use is None or use.recall == 0:
        return ""

    async def work() -> str:
        return "" if memory is None else await memory.told(agent, use, about, ctx)

    asked = hashlib.sha256(f"{use.scope} {use.recall} {use.max_tokens}\0{about}".encode("utf-8", "replace"))
    told: str = await ctx.do(StepKey(ctx.step, 0, RECALLED), asked.digest(), work)
    return told


def with_memory(agent: AgentPlan, tools: tuple[Tool, ...], memory: RunMemory | None) -> tuple[Tool, ...]:
    """Return the tools with those of the agent's memory, bound to this run's, where it has one."""
    if agent.memory is None:
        return tools
    own = UNBOUND if memory is None else memory.tools(agent, agent.memory)
    return (*(tool for tool in tools if tool.name not in MEMORY_TOOLS), *own)


@asynccontextmanager
async def open_memory(
    plan: Plan, given: MemoryStore | Path | str | None, state: Path | None, run: str, clock: Callable[[], float]
) -> AsyncIterator[RunMemory | None]:
    """Yield the memory of a run, None where no agent has one. Raise `MemoryUnusable` where it cannot be opened.

    `given` is a store, or its path; else it is `memory.db` in the folder `state`; without one it ends with the run.
    """
    if all(agent.memory is None for agent in plan.agents.values()):
        yield None
        return
    if isinstance(given, MemoryStore):
        yield RunMemory(given, plan.name, run, clock)
        return
    path = given if given is not None else None if state is None else state / FILE
    store = await in_thread(lambda: MemoryStore.open(path))
    try:
        yield RunMemory(store, plan.name, run, clock)
    finally:
        store.close()
