"""A plan's tasks as any drawing of them has them: in layers, with what each needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.squad.elements import whole
from orchestrator.squad.graph import TaskNeeds, ancestry, order
from orchestrator.squad.parts import who
from orchestrator.squad.plan import Approval, Plan, SquadFanOut, TaskPlan


@dataclass(frozen=True, slots=True)
class DrawnTask:
    """A task as it is drawn. `notes` are words like `if` or `for each`."""

    id: str
    who: str
    needs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    gate: bool = False


def nodes_of(plan: Plan) -> list[DrawnTask]:
    """Return the plan's tasks, layer by layer: tasks that can run at the same time follow one another."""
    level: dict[str, int] = {}
    plan = whole(plan)
    for task in plan.tasks.values():
        level[task.id] = 1 + max((level[need] for need in task.needs), default=-1)
    tasks = sorted(plan.tasks.values(), key=lambda task: level[task.id])
    return [DrawnTask(t.id, who(t.work), t.needs, tuple(_notes(t)), isinstance(t.work, Approval)) for t in tasks]


def _notes(task: TaskPlan) -> Iterable[str]:
    if task.condition is not None:
        yield "if"
    if task.for_each is not None or isinstance(task.work, SquadFanOut):
        yield "for each"
    if task.repeat is not None:
        yield f"repeats up to {task.repeat.max_attempts}"


def direct_needs(nodes: Sequence[DrawnTask]) -> dict[str, list[str]]:
    """Return the needs of each task without those that follow from its others."""
    needs: TaskNeeds = {node.id: node.needs for node in nodes}
    above = ancestry(needs, order(needs))
    return {
        node.id: [need for need in node.needs if not any(above.precedes(need, other) for other in node.needs)]
        for node in nodes
    }
