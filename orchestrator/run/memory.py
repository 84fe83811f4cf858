"""What an agent of a run remembers and looks up: told before it works, and by its tools. Loading it loads no store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from agents.events import KnowledgeRead
from agents.memory.tools import tools_of
from agents.memory.use import TRUST_IN_WORDS
from agents.run_context import RunContext, StepKey
from agents.tools import Tool
from orchestrator.run.memory_setting import MemorySetting as MemorySetting
from orchestrator.squad.plan import AgentPlan, Plan
from orchestrator.units import RECALLED


class RunMemory(Protocol):
    """The memory and the documents of one run, open. `news` says what was read of the documents, until it is told."""

    @property
    def news(self) -> list[KnowledgeRead]: ...

    def tools(self, agent: AgentPlan, others: Iterable[Tool] = ()) -> tuple[Tool, ...]:
        """Return the tools of an agent's memory and documents. One that can read with its `others` what strangers wrote
        may remember that: its records are untrusted."""
        ...

    async def told(self, agent: AgentPlan, about: str, ctx: RunContext, *, is_apart: bool) -> tuple[str, str]:
        """Return what the agent is told before it works on `about`, of its memory and of the documents: the best that
        fits, marked as data. `is_apart`: not what was remembered in the same unit of work."""
        ...


class RecalledParts(NamedTuple):
    """What an agent is told beforehand, by title, and the sources of what others wrote in it."""

    parts: Mapping[str, str]
    untrusted: tuple[str, ...] = ()


NOTHING = RecalledParts({})


async def recall(
    memory: RunMemory | None, agent: AgentPlan, about: str, ctx: RunContext, *, is_apart: bool = False
) -> RecalledParts:
    """Return what the agent is told of `about` beforehand, by title, once: it is a durable step, so that the same is
    said again. Empty where it remembers nothing and has no documents.

    `is_apart`: it hears nothing that others remember in the same unit of work, as in a conversation's first round.
    """
    uses = [use for use in (agent.memory, agent.knowledge) if use is not None and use.recall]
    if not uses:
        return NOTHING

    async def work() -> tuple[str, str]:
        return ("", "") if memory is None else await memory.told(agent, about, ctx, is_apart=is_apart)

    asked = hashlib.sha256(f"{agent.memory} {agent.knowledge}\0{about}".encode("utf-8", "replace"))
    records, passages = await ctx.do(StepKey(ctx.step, 0, RECALLED), asked.digest(), work)
    is_others = TRUST_IN_WORDS["untrusted"] in records  # they say of each record whose it is
    return RecalledParts({"Memory": records, "Knowledge": passages}, ("memory",) if is_others else ())


def with_memory(agent: AgentPlan, tools: tuple[Tool, ...], memory: RunMemory | None) -> tuple[Tool, ...]:
    """Return the tools with those of the agent's memory and documents, bound to this run's, where it has any."""
    own = tools_of(agent.memory, agent.knowledge)
    if not own:
        return tools
    bound = {} if memory is None else {tool.name: tool for tool in memory.tools(agent, tools)}
    names = {tool.name for tool in own}
    return (*(tool for tool in tools if tool.name not in names), *(bound.get(tool.name, tool) for tool in own))


@asynccontextmanager
async def open_memory(plan: Plan, setting: MemorySetting) -> AsyncIterator[RunMemory | None]:
    """Yield the memory of a run, its documents read, None where no agent has any.

    Raise `MemoryUnusable` where a store or a folder cannot be opened.
    """
    if all(agent.memory is None and agent.knowledge is None for agent in plan.agents.values()):
        yield None
        return
    from orchestrator.run.memory_opening import opened  # brings SQLite and the index

    async with opened(plan, setting) as memory:
        yield memory
