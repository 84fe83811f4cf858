"""A plan as digests: what tells that, and where, a run's squad was changed, and which of its work still counts. Pure.

Left out is what changes no request: budgets, time limits, retries, slots, the place in the file. So a run that a budget
paused goes on after the budget was raised.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from agents.tools import Tool
from orchestrator.squad.elements import squad_of, whole
from orchestrator.squad.given_values import InputFile, InputImage
from orchestrator.squad.helpers import asked_in, helpers_of
from orchestrator.squad.parts import (
    everyone,
    nested_in,
    possible_agents,
    works_of,
)
from orchestrator.squad.plan import (
    Approval,
    ConversationWork,
    Plan,
    TaskPlan,
    local,
    scoped,
)
from orchestrator.squad.resolve import tools_used, with_tools
from orchestrator.squad.termination import AllOf, AnyOf, Termination, written

LEFT_OUT = frozenset(
    {
        *("budget", "timeout", "retry", "max_parallel", "position", "tier", "model", "chain", "edition", "names"),
        *("roles", "sees", "squad", "source", "accept", "judge", "approvals"),
    }
)
ADDED = frozenset(
    {"max_output_tokens", "values", "choice", "goal", "instructions", "temperature", "effort", "memory", "knowledge"}
    | {"risky_tools", "context_max_tokens", "guardrails", "compact_at", "prompt", "result"}
)
"""Fields that earlier releases did not have: where they are not set, the digest is as it was."""
ADDED_TO_CONVERSATIONS = frozenset(
    {
        "selector",
        "allow_repeated_speaker",
        "transitions",
        "turns_of",
        "rounds",
        "positions",
        "mentions",
        "nested",
        "human",
    }
)
"""The same, of conversations."""
_OPTIONAL = ADDED | ADDED_TO_CONVERSATIONS
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_TASK_READ = re.compile(r"""(?<![\w.])tasks\s*(?:\.\s*(\w+)|\[\s*(['"])(\w+)\2\s*\])""")
CONDITION_FIELDS = ("max_turns", "text", "text_from", "no_progress_rounds", "tokens", "time", "function")
NOTHING: Mapping[str, str] = {}
_SCALARS = frozenset({str, int, float, bool, type(None)})


def parts_of(plan: Plan) -> dict[str, str]:
    """Return a digest of each part of the plan, under the name by which people know it."""
    return {name: _digest(part) for name, part in _parts(_as_declared(whole(plan)))}


def changed(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the parts that differ, those that are gone or new among them, in order."""
    return [name for name in {**recorded, **now} if recorded.get(name) != now.get(name)]


def dependency_digests(plan: Plan) -> dict[str, str]:
    """Return a digest of all that each task's work is made of: its own words, its agents and conversations, the inputs
    that it reads, and the digest of every task that it needs.

    The names of tasks do not count: a task that was renamed, and one that needs it, keep their digests.
    """
    made: dict[str, str] = {}
    named = defaultdict[str, dict[str, str]](dict, {"": made})
    plan = _as_declared(whole(plan))
    agents = {name: _digest(agent) for name, agent in plan.agents.items()}
    for task in plan.tasks.values():
        reads = {name for text in _texts(task) for name in text.names}
        made[task.id] = _digest(
            {
                "task": _nameless(task, made, named[task.reads]),
                "needs": sorted(made[need] for need in task.needs),
                "agents": {name: agents[name] for name in doers_of(plan, task) if name in agents},
                "conversations": [plan.conversations[name] for name in conversations_of(plan, task)],
                # The inputs of a sub-squad are what its first task makes.
                "inputs": {} if task.reads else {name: _input(plan, name) for name in _inputs(plan, reads)},
                "history": squad_of(plan, task.squad).history if task.squad else plan.history,
                # Who picks tasks by a name that is only known later reads their names, too.
                "names": sorted(plan.tasks) if ("tasks",) in reads else [],
            }
        )
        named[task.squad or ""][local(task.squad, task.id)] = made[task.id]
    return made


def _as_declared(plan: Plan) -> Plan:
    """Return the plan with the tools that files declare as these do: their digests tell what they take.

    So it is the same where a record stands for the file of a tool, and says only what a model was shown of it.
    """
    if not plan.tool_sources:
        return plan
    declared = [tool for tool in tools_used(plan) if tool.name in plan.tool_sources]
    return with_tools(plan, {tool.name: replace(tool, parameters=None) for tool in declared})


def inputs_of(plan: Plan, task: TaskPlan) -> set[str]:
    """Return the inputs that the task's expressions read."""
    return set() if task.reads else _inputs(plan, {name for text in _texts(task) for name in text.names})


def _inputs(plan: Plan, reads: Collection[tuple[str, ...]]) -> set[str]:
    read = {name[:2] for name in reads if name[0] == "inputs"}
    return set(plan.inputs) if ("inputs",) in read else {name for _, name in read}


def _input(plan: Plan, name: str) -> Any:
    value = plan.inputs.get(name)
    return ["untrusted", value] if name in plan.untrusted else value


def conversations_of(plan: Plan, task: TaskPlan) -> list[str]:
    """Return the conversations that the task holds, and those that are held inside them."""
    held = [work.conversation for work in works_of(task.work) if isinstance(work, ConversationWork)]
    for name in held:  # which grows on the way
        held += [inner for inner in nested_in(plan.conversations[name]) if inner not in held]
    return held


def doers_of(plan: Plan, task: TaskPlan) -> set[str]:
    """Return everybody who works on the task: its agents, and who takes part in its conversations."""
    held = [plan.conversations[name] for name in conversations_of(plan, task)]
    agents = set(possible_agents(task.work))
    talk = [scoped(one.squad, name) for one in held for name in everyone(one)]
    return helpers_of(plan.agents, agents.union(asked_in([task]), talk))


def _nameless(task: TaskPlan, digests: Mapping[str, str], named: Mapping[str, str]) -> Any:
    """Return the task as plain values, with other tasks' digests for their names; `named`: as its texts name them."""
    work = task.work
    if isinstance(work, Approval):
        show, rerun = (tuple(digests[name] for name in names) for names in (work.show, work.rerun))
        work = replace(work, show=show, rerun=rerun)
    context = tuple(digests[name] for name in task.context)
    return _plain(replace(task, id="", needs=(), context=context, work=work), named)


def _texts(value: Any) -> Iterator[Any]:
    """Yield the texts with expressions that stand in a plan's part."""
    kind: Any = type(value)
    if kind in _SCALARS:
        return
    if _is_text(kind):
        yield value
    elif not isinstance(value, Tool) and (told := _told(kind)) is not None:
        for name in told:
            yield from _texts(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))


def _parts(plan: Plan) -> Iterator[tuple[str, Any]]:
    yield from ((f"task {name}", task) for name, task in plan.tasks.items())
    yield from ((f"agent {name}", agent) for name, agent in plan.agents.items())
    yield from ((f"conversation {name}", held) for name, held in plan.conversations.items())
    yield from ((f"input {name}", value) for name, value in plan.inputs.items())
    yield from ((f"output {name}", output) for name, output in plan.outputs.items())
    yield "history", plan.history
    if plan.untrusted:
        yield "untrusted inputs", plan.untrusted
    # A change is told, and makes no finished work void: who mends a tool goes on with the run that it stopped.
    yield from ((f"tool {name}", sha256) for name, sha256 in plan.tool_sources.items())


def _is_text(kind: type) -> bool:
    """Return whether it is the class of texts with expressions: it is loaded with the squad that holds them."""
    return kind.__name__ == "ExpressionText"


@lru_cache(maxsize=256)
def _told(kind: type) -> tuple[str, ...] | None:
    """Return the fields of a class that a digest tells, None where it is no dataclass."""
    if not is_dataclass(kind):
        return None
    return tuple(f.name for f in fields(kind) if f.name not in LEFT_OUT and not f.name.startswith("_"))


def _digest(part: Any) -> str:
    text = json.dumps(_plain(part), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any, named: Mapping[str, str] = NOTHING) -> Any:
    """Return the value as JSON knows it; in expressions the tasks in `named` stand under what they are named there."""
    kind: Any = type(value)
    if kind in _SCALARS:
        return value
    if _is_text(kind):
        return _renamed(value.source, named) if named else value.source
    if isinstance(value, Tool):
        return [value.name, value.description, value.parameters]
    if isinstance(value, InputFile):
        return [value.name, str.__str__(value)]
    if isinstance(value, InputImage):
        return [value.name, hashlib.sha256(value.data).hexdigest()]
    if isinstance(value, Termination):
        return _plain(_condition(value), named)
    if (told := _told(kind)) is not None:
        held = {name: getattr(value, name) for name in told}
        return {
            name: _plain(item, named) for name, item in held.items() if name not in _OPTIONAL or item not in (None, "")
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item, named) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, named) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(item) for item in value)
    return (
        value
        if isinstance(value, str | int | float | bool | None)
        else getattr(value, "__qualname__", str(type(value)))
    )


def _condition(end: Termination) -> dict[str, Any]:
    """Return the condition in the form of the digests that are recorded: each field of a squad file, set or not."""
    said = written(end)
    inner = [_condition(one) for one in end.conditions] if isinstance(end, AnyOf | AllOf) else []
    joined = {name: inner if name in said else [] for name in ("any", "all")}
    return {**dict.fromkeys(CONDITION_FIELDS), **said, **joined}


def _renamed(source: str, named: Mapping[str, str]) -> str:
    """Return a text in whose expressions the tasks in `named` go by other names."""

    def rename(read: re.Match[str]) -> str:
        task = read[1] or read[3]
        return f"tasks.{named.get(task, task)}"

    return _EXPRESSION.sub(lambda expression: _TASK_READ.sub(rename, expression[0]), source)
