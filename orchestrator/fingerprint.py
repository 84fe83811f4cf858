"""A plan as digests, part by part: what a resumed run compares to tell that, and where, its squad was changed. Pure.

Left out is what changes no request: budgets, time limits, retries, slots, the place in the file. So a run that a budget
paused goes on after the budget was raised.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from agents.tools import Tool
from orchestrator.plan import Plan

LEFT_OUT = frozenset({"budget", "timeout", "retry", "max_parallel", "position", "tier", "model"})


def parts_of(plan: Plan) -> dict[str, str]:
    """Return a digest of each part of the plan, under the name by which people know it."""
    return {name: _digest(part) for name, part in _parts(plan)}


def changed(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the parts that differ, those that are gone or new among them, in order."""
    return [name for name in {**recorded, **now} if recorded.get(name) != now.get(name)]


def _parts(plan: Plan) -> Iterator[tuple[str, Any]]:
    yield from ((f"task {name}", task) for name, task in plan.tasks.items())
    yield from ((f"agent {name}", agent) for name, agent in plan.agents.items())
    yield from ((f"conversation {name}", held) for name, held in plan.conversations.items())
    yield from ((f"input {name}", value) for name, value in plan.inputs.items())
    yield from ((f"output {name}", output) for name, output in plan.outputs.items())
    yield "history", plan.history


def _digest(part: Any) -> str:
    text = json.dumps(_plain(part), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    from personas.sandbox import ExpressionText  # loaded with the squad that holds them, not with the package

    if isinstance(value, ExpressionText):
        return value.source
    if isinstance(value, Tool):
        return [value.name, value.description, value.parameters]
    if is_dataclass(value):
        told = (f.name for f in fields(value) if f.name not in LEFT_OUT and not f.name.startswith("_"))
        return {name: _plain(getattr(value, name)) for name in told}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in value)
    return (
        value
        if isinstance(value, str | int | float | bool | None)
        else getattr(value, "__qualname__", str(type(value)))
    )
