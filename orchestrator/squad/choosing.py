"""Who does a piece of work whose agent an expression names, and which case of a switch is done: decided when the work
begins. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import NotAChoice
from orchestrator.squad.plan import DEFAULT_CASE, AgentWork, CaseSquad, SingleWork, Steps, Switch, scoped


def with_agent(work: AgentWork, values: Mapping[str, Any], task: str) -> AgentWork:
    """Return the work with its agent. Raise `NotAChoice` where the expression comes to none that may be chosen."""
    if work.choice is None:
        return work
    named = work.choice.name.render(values)
    agent = meant(named, work.choice.among)
    if agent is None:
        raise NotAChoice(task, "agent", named, work.choice.among)
    return replace(work, agent=scoped(work.choice.squad, agent), choice=None)


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


def with_case(switch: Switch, values: Mapping[str, Any], task: str) -> tuple[str, SingleWork | Steps | CaseSquad]:
    """Return the case that a switch comes to, and its work. Raise `NotAChoice` where there is none for it."""
    value = switch.on.render(values)
    case = case_of(value, tuple(switch.cases))
    if case is None:
        raise NotAChoice(task, "switch", value, switch.cases)
    return case, switch.cases[case]


def case_of(value: Any, cases: Sequence[str]) -> str | None:
    """Return the case that stands for a value: that of its text, else `default`, None where there is neither."""
    named = meant(case_text(value), cases)
    return DEFAULT_CASE if named is None and DEFAULT_CASE in cases else named


def case_text(value: Any) -> str | None:
    """Return the text by which a case names a value, as JSON writes it: `true`, `null`, `3`; of 3.0 that of 3.

    None for lists and mappings, which no case can name.
    """
    match value:
        case str():
            return value
        case bool() | None:
            return json.dumps(value)
        case int():
            return str(value)
        case float():
            return str(int(value)) if value.is_integer() else json.dumps(value)
    return None
