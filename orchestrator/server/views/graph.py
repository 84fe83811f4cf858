"""The tasks of a run as a graph: what each needs and is at, and many drawn as one where there are too many. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.server.views.tasks import ENDED, TaskView
from orchestrator.squad.drawn import DrawnTask, direct_needs
from orchestrator.squad.elements import template_of

MOST_DRAWN = 60
"""Tasks that are drawn each by itself."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A task, all tasks of the elements of a list, or `many` tasks that are alike, drawn as one.

    `of` are the tasks that it stands for; `done` of `elements` of its list have ended. `notes` are words like `if`.
    """

    id: str
    label: str
    who: str
    status: str
    needs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    done: int = 0
    elements: int = 0
    many: bool = False


def reduced(plan: Sequence[DrawnTask]) -> list[DrawnTask]:
    """Return the tasks of a plan without the needs that follow from others."""
    needs = direct_needs(plan)
    return [replace(one, needs=tuple(needs[one.id])) for one in plan]


def graph_of(plan: Sequence[DrawnTask], tasks: Mapping[str, TaskView]) -> list[GraphNode]:
    """Return the tasks of a plan as a run has them. Without a plan nothing needs anything."""
    needs = {one.id: one.needs for one in plan}
    real: dict[str, list[TaskView]] = {}
    for name, task in tasks.items():
        own = name if name in needs else template_of(name)
        real.setdefault(own, []).append(task)
    drawn = [*plan, *(DrawnTask(name, "") for name in real if name not in needs)]
    return [_node(one, needs.get(one.id, ()), real.get(one.id, ())) for one in drawn]


def _node(drawn: DrawnTask, needs: tuple[str, ...], real: Sequence[TaskView]) -> GraphNode:
    elements = [status for task in real for status in task.elements.values()]
    if len(real) > 1 or "@*" in drawn.id:
        elements = [task.status for task in real]
    status = real[0].status if len(real) == 1 else joint([task.status for task in real])
    done = sum(one in ENDED for one in elements)
    who = ", ".join(dict.fromkeys(task.who for task in real if task.who)) or drawn.who
    of = tuple(task.id for task in real)
    return GraphNode(drawn.id, drawn.id, who, status, needs, drawn.notes, of, done, len(elements))


def joint(statuses: Collection[str]) -> str:
    """Return what several tasks are at together: what asks most for a look."""
    for one in ("gate", "running", "failed", "parked", "interrupted", "cancelled"):
        if one in statuses:
            return one
    if not statuses or "waiting" in statuses:
        return "running" if ENDED.intersection(statuses) else "waiting"
    return "ok" if "ok" in statuses else next(iter(statuses))


def layers_of(nodes: Iterable[GraphNode]) -> list[list[GraphNode]]:
    """Return the nodes in layers: each is below all that it needs. They stand in an order in which that comes first."""
    level: dict[str, int] = {}
    layers: list[list[GraphNode]] = []
    for node in nodes:
        level[node.id] = at = 1 + max((level[need] for need in node.needs if need in level), default=-1)
        if at == len(layers):
            layers.append([])
        layers[at].append(node)
    return layers


def collapsed(nodes: Sequence[GraphNode], most: int = MOST_DRAWN, keep: Collection[str] = ()) -> list[GraphNode]:
    """Return the graph with no more than about `most` nodes: those at work, those that failed and those in `keep` stay,
    the others of a layer are one for each status, and so are layers behind each other in which nothing stays.
    """
    if len(nodes) <= most:
        return list(nodes)
    shown = _telling(nodes, most, keep)
    group_of: dict[str, str] = {}
    groups: dict[str, list[GraphNode]] = {}
    before: dict[str, str] = {}
    for number, layer in enumerate(layers_of(nodes)):
        here: dict[str, str] = {}
        goes_on = not any(node.id in shown for node in layer)
        for node in layer:
            if node.id in shown:
                group_of[node.id] = node.id
                continue
            known = here.get(node.status) or (before.get(node.status) if goes_on else None)
            group = known or f"{number} {node.status}"  # no task can have a blank in its name
            here[node.status] = group_of[node.id] = group
            groups.setdefault(group, []).append(node)
        before = here if goes_on else {}
    return _acyclic(_merged(nodes, group_of, groups))


def _telling(nodes: Sequence[GraphNode], most: int, keep: Collection[str]) -> set[str]:
    """Return the nodes that are worth a look each: at most half of those that there is room for."""
    ranks = {"gate": 0, "failed": 1, "running": 2, "parked": 3, "interrupted": 3}
    telling = sorted((node for node in nodes if node.status in ranks), key=lambda node: ranks[node.status])
    return {*(node.id for node in telling[: most // 2]), *keep}


def _merged(
    nodes: Sequence[GraphNode], group_of: Mapping[str, str], groups: Mapping[str, list[GraphNode]]
) -> list[GraphNode]:
    needs: dict[str, dict[str, None]] = {}
    for node in nodes:
        own = group_of[node.id]
        joined = needs.setdefault(own, {})
        for need in node.needs:
            if group_of.get(need, own) != own:
                joined[group_of[need]] = None
    single = {node.id: node for node in nodes}
    made: list[GraphNode] = []
    for own, joined in needs.items():
        members = groups.get(own, ())
        if len(members) > 1:
            of = tuple(task for member in members for task in member.of)
            done = sum(member.status in ENDED for member in members)
            label, status = f"{len(members):,} tasks", members[0].status
            made.append(GraphNode(own, label, "", status, tuple(joined), (), of, done, len(members), many=True))
        else:
            made.append(replace(members[0] if members else single[own], id=own, needs=tuple(joined)))
    return made


def _acyclic(nodes: Sequence[GraphNode]) -> list[GraphNode]:
    """Return the nodes in an order in which what is needed comes first. Tasks of several layers in one may need each
    other both ways: the line that would lead back is left out."""
    ordered: list[GraphNode] = []
    there: set[str] = set()
    left = {node.id: node for node in nodes}
    while left:
        ready = [node for node in left.values() if all(need in there for need in node.needs)]
        if not ready:
            first = next(iter(left.values()))
            ready = [replace(first, needs=tuple(need for need in first.needs if need in there))]
        for node in ready:
            ordered.append(node)
            there.add(node.id)
            del left[node.id]
    return ordered
