"""Who does a piece of work that names its agent by an expression: decided when the work begins. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import NotAChoice
from orchestrator.squad.plan import AgentWork


def with_agent(work: AgentWork, values: Mapping[str, Any], task: str) -> AgentWork:
    """Return the work with its agent. Raise `NotAChoice` where the expression comes to none that may be chosen."""
    if work.choice is None:
        return work
    named = work.choice.name.render(values)
    agent = meant(named, work.choice.among)
    if agent is None:
        raise NotAChoice(task, "agent", named, work.choice.among)
    return replace(work, agent=agent, choice=None)


def meant(value: Any, among: Sequence[str]) -> str | None:
    """Return the name that a value is, None where it is none: blanks around it do not count, nor does case where no two
    names differ by case alone."""
    if not isinstance(value, str):
        return None
    said = value.strip()
    if said in among:
        return said
    alike = [name for name in among if name.casefold() == said.casefold()]
    return alike[0] if len(alike) == 1 else None
