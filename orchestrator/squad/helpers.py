"""Agents that other agents have as tools: what their tools say, and that none comes to call itself. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agents.agent_tool import described_as, tool_of
from agents.tools import Tool
from orchestrator.squad.graph import cycles, order
from orchestrator.squad.parts import works_of
from orchestrator.squad.plan import (
    AgentPlan,
    AgentWork,
    TaskPlan,
    scoped,
)
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.tool_specs import ToolUse


def helper_tool(agent: AgentPlan, name: str | None = None, description: str | None = None) -> Tool:
    """Return the tool that an agent of a squad is to its others."""
    return tool_of(agent.id, description or described_as(agent.id, agent.persona), agent.tools, name)


def helpers_of(agents: Mapping[str, AgentPlan], names: Iterable[str]) -> set[str]:
    """Return the agents of these names, and all that they may have at work for them."""
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += [one.agent for one in (agents[name].tools if name in agents else ()) if one.agent is not None]
    return found


def helpers_in(uses: Sequence[str | ToolUse]) -> dict[int, str]:
    """Return the agents among the tools that are named, by their places there."""
    return {at: use.agent for at, use in enumerate(uses) if isinstance(use, ToolUse) and use.agent is not None}


def asked_in(tasks: Iterable[TaskPlan]) -> set[str]:
    """Return the agents that tasks give as tools to those who work on them."""
    works = (work for task in tasks for work in works_of(task.work) if isinstance(work, AgentWork))
    named = (one.agent for work in works for one in work.tools or ())
    return {name for name in named if name is not None}


def with_helpers(spec: SquadSpec, names: Iterable[str]) -> set[str]:
    """Return the agents of these names, and all that they have as tools, as the squad's file has them."""
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += helpers_in(spec.agents[name].tools or ()).values() if name in spec.agents else ()
    return found


def helpers_below(scope: str, tools: tuple[Tool, ...] | None) -> tuple[Tool, ...] | None:
    """Return the tools of a sub-squad, with the agents among them called as the plan of the whole calls them."""
    if tools is None or all(one.agent is None for one in tools):
        return tools
    return tuple(one if one.agent is None else one.but(agent=scoped(scope, one.agent)) for one in tools)


def circles(called: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the circles among agents that call each other: each calls the next, the last one the first."""
    known = {name: [one for one in others if one in called] for name, others in called.items()}
    return cycles(known, order(known))
