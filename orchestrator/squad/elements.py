"""The elements of a `for_each`: their keys, and which tasks their sub-squads are once they are known. Pure.

`review: {for_each: ..., squad: review.yaml}` is `review.inputs` (the list), for each element a sub-squad by the name of
its key (`review@S-1.inputs`, `review@S-1.draft`, `review@S-1`), and `review`, whose output are their results. A plan
has the tasks of an element as templates (`review@*.draft`): it grows by those of all elements where a run, or its
record, says which they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.squad.plan import (
    INPUTS,
    Approval,
    CaseSquad,
    ForEach,
    Plan,
    SquadFanOut,
    SubSquad,
    Switch,
    TaskBody,
    TaskPlan,
    scoped,
)

MOST_TASKS = 10_000
"""Tasks of a squad with all its sub-squads."""
EACH = "*"
"""Stands for the key of an element in the names of templates."""
_RESERVED = frozenset("%*@.[]#/")
_KEY = re.compile(r"@([^.@]*)")


def as_text(value: Any) -> str:
    """Return a value as a reader sees it: text as it is, anything else as indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def keys_of(each: ForEach, items: Iterable[Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the key of each element of the list. Raise `TemplateError` where one cannot be told."""
    return tuple(as_text(each.key.render({**values, each.item: item})) for item in items)


def repeated_key(keys: Sequence[str]) -> tuple[str, list[int]] | None:
    """Return the key that stands for most elements, and the numbers of these from 1; None where each has its own."""
    found: dict[str, list[int]] = {}
    for number, key in enumerate(keys, 1):
        found.setdefault(key, []).append(number)
    key, numbers = max(found.items(), key=lambda one: len(one[1]), default=("", []))
    return (key, numbers) if len(numbers) > 1 else None


def element_of(task: str, key: str) -> str:
    """Return what the sub-squad of an element is called as a task: the key, with escapes where names have none such."""
    shown = (one if one.isprintable() and not one.isspace() and one not in _RESERVED else _escaped(one) for one in key)
    return f"{task}@{''.join(shown)}"


def template_for(task: str) -> str:
    """Return what stands for the sub-squads of all elements of a task."""
    return f"{task}@{EACH}"


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def template_of(name: str) -> str:
    """Return the name of the template that an element's task, or sub-squad, was made of; any other name as it is."""
    return _KEY.sub(f"@{EACH}", name)


def people_of(squad: str | None) -> str | None:
    """Return the sub-squad under whose name the agents of another one go: those of all elements are the same."""
    return None if squad is None else _KEY.sub("", squad)


def owner_of(name: str) -> str:
    """Return the task that has the sub-squad of an element, by the name of that; empty: it is none of an element."""
    head, at, key = name.rpartition("@")
    return head if at and "." not in key else ""


def squads_around(scope: str | None) -> list[str]:
    """Return the sub-squads that a task of `scope` is in, the outermost first: `a`, `a.b`, `a.b@S-1`."""
    if not scope:
        return []
    ends = [at for at, character in enumerate(scope) if character in ".@"]
    return [*(scope[:end] for end in ends), scope]


def is_inside(task: str, scope: str) -> bool:
    """Return whether a task is one of a sub-squad, or of one for an element of it."""
    return task.startswith((f"{scope}.", f"{scope}@"))


def task_of(plan: Plan, name: str) -> TaskPlan:
    """Return a task of the plan, or of an element's sub-squad. Raise `KeyError` where there is none of that name."""
    if name in plan.tasks:
        return plan.tasks[name]
    keys = _KEY.findall(name)
    return renamed(plan.templates[template_of(name)], lambda text: _filled(text, keys))


def has_task(plan: Plan, name: str) -> bool:
    """Return whether the plan has such a task, or may have it for an element."""
    return name in plan.tasks or template_of(name) in plan.templates


def squad_of(plan: Plan, scope: str) -> SubSquad:
    """Return what holds for a sub-squad, be it that of an element."""
    return plan.squads[template_of(scope)]


def grown(plan: Plan, task: str, keys: Iterable[str]) -> Plan:
    """Return the plan with a sub-squad for each of the elements of `task`, and none for others."""
    own = task_of(plan, task)
    elements = [element_of(task, key) for key in keys]
    made = [task_of(plan, name) for element in elements for name in _names_for(plan, element)]
    tasks: dict[str, TaskPlan] = {}
    for name, one in plan.tasks.items():
        if name == task:  # after all that it needs: the plan's order is topological
            tasks |= {part.id: part for part in made}
            tasks[name] = replace(own, needs=(scoped(task, INPUTS), *elements))
        elif not name.startswith(f"{task}@"):
            tasks[name] = one
    return replace(plan, tasks=tasks)


def tasks_an_element(plan: Plan, task: str) -> int:
    """Return how many tasks the plan grows by with each element of `task`."""
    return sum(1 for _ in _names_for(plan, template_for(task)))


def _names_for(plan: Plan, element: str) -> Iterator[str]:
    """Yield the tasks of an element's sub-squad in their order. Those of elements within it are not known yet."""
    template = template_of(element)
    for name in plan.templates:
        rest = name.removeprefix(template)
        if name.startswith(template) and "@" not in rest and rest[:1] in ("", "."):
            yield f"{element}{rest}"


def whole(plan: Plan) -> Plan:
    """Return the plan with its templates among its tasks, as if each list had one element."""
    owners = filter(None, map(owner_of, plan.templates))
    for owner in sorted(owners, key=lambda name: name.count("@")):
        plan = _with_templates(plan, owner)
    return plan


def _with_templates(plan: Plan, task: str) -> Plan:
    tasks: dict[str, TaskPlan] = {}
    element = template_for(task)
    for name, one in plan.tasks.items():
        if name == task:
            tasks |= {part: plan.templates[part] for part in _names_for(plan, element)}
        tasks[name] = one if name != task else replace(one, needs=(*one.needs, element))
    return replace(plan, tasks=tasks)


def fan_outs(plan: Plan, outputs: Mapping[str, Any]) -> Plan:
    """Return the plan, grown by the elements of all lists that `outputs` has: task -> what it came to."""
    names = [name for name, task in plan.tasks.items() if isinstance(task.work, SquadFanOut)]
    while names:
        name = names.pop(0)
        if name in outputs:
            before = plan
            plan = grown(plan, name.removesuffix(f".{INPUTS}"), outputs[name]["keys"])
            new = (task for task in plan.tasks.values() if task.id not in before.tasks)
            names += [task.id for task in new if isinstance(task.work, SquadFanOut)]
    return plan


def renamed(task: TaskPlan, name: Callable[[str], str]) -> TaskPlan:
    """Return a task with all tasks that it names, and itself, by other names."""

    def all_of(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name(one) for one in names)

    work: TaskBody = task.work
    if isinstance(work, Approval):
        work = replace(work, show=all_of(work.show), rerun=all_of(work.rerun))
    elif isinstance(work, Switch):
        cases = work.cases.items()
        work = replace(
            work,
            cases={
                case: replace(one, task=name(one.task)) if isinstance(one, CaseSquad) else one for case, one in cases
            },
        )
    return replace(
        task,
        id=name(task.id),
        work=work,
        needs=all_of(task.needs),
        context=all_of(task.context),
        squad=None if task.squad is None else name(task.squad),
    )


def _filled(text: str, keys: list[str]) -> str:
    """Return the name of a template with these keys in it, the outermost first."""
    left = iter(keys)
    return _KEY.sub(lambda found: f"@{next(left)}" if found[1] == EACH else found[0], text)
