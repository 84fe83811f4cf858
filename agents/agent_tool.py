"""An agent as a tool of another one: its turns are steps below the call, so a run that is resumed pays none twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from agents.errors import AgentError
from agents.run_context import RunContext
from agents.tool_context import ToolContext
from agents.tools import Risk, Tool
from agents.untrusted import Untrusted

MOST_DEEP = 8
"""Agents that may call each other as tools, over one another."""
TASK: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "task": {
            "type": "string",
            "description": "What it is to do, with all that it must know: it sees nothing of what was said here.",
        }
    },
    "required": ["task"],
    "additionalProperties": False,
}
_RISKS: tuple[Risk, ...] = ("read_only", "writes", "risky")


class Works(Protocol):
    """What an agent must have to be a tool."""

    @property
    def name(self) -> str: ...
    @property
    def tools(self) -> Sequence[Tool]: ...
    async def work(self, brief: str, ctx: RunContext = ...) -> Any: ...


def described_as(agent: str, persona: Any) -> str:
    """Return what a model is told of an agent that is its tool, by its persona, where it has one."""
    name, title, role = (getattr(persona, field, "") for field in ("display_name", "title", "role"))
    called = ", ".join(filter(None, (name or agent, title)))
    return f"Give a task to {called}{f': {role}' if role else '.'}"


def tool_of(agent: str, description: str, tools: Iterable[Tool] = (), name: str | None = None) -> Tool:
    """Return the tool that an agent is, as a model and a plan see it: what it may do is what its own `tools` may."""
    own = tuple(tools)
    risk: Risk = max((one.risk for one in own), key=_RISKS.index, default="read_only")

    async def nobody(task: str) -> str:  # noqa: ARG001  # as the tool takes it
        raise AgentError(f"the agent {agent} is not at work here")

    return Tool(
        name or agent,
        description,
        nobody,
        parameters=TASK,
        timeout_s=None,
        idempotent=True,
        risk=risk,
        untrusted=any(one.untrusted for one in own),
        agent=agent,
    )


def bound_to(tool: Tool, agent: Works, around: Callable[[RunContext], RunContext] = lambda ctx: ctx) -> Tool:
    """Return the tool with the agent that does its work. `around` makes the context of that, out of the caller's.

    What it made after it read what others wrote is told as theirs. Its calls are steps at `turn-N/tool-I/AGENT` below
    the caller's. An error of the agent's own (no answer within its
    turns, say) is told to the caller; what a provider, a budget or a hook ends, ends the caller's work too.
    """

    async def work(task: str, context: ToolContext) -> str:
        ctx = context.around or RunContext()
        if ctx.depth >= MOST_DEEP:
            raise AgentError(f"{MOST_DEEP} agents are at work for each other already; answer without it")
        inner = ctx.below(f"turn-{context.turn}", f"tool-{context.call}", agent.name)
        result = await agent.work(task, around(inner))
        cut = "\n[its answer was cut off here]" if result.truncated else ""
        said = f"{result.text}{cut}"
        return Untrusted(said) if result.untrusted else said

    return tool.doing(work)
