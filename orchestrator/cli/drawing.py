"""A plan's tasks drawn: rails for a terminal, Mermaid and DOT for pages, JSON for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.graph import Needs, ancestry, order
from orchestrator.plan import Approval, Plan, TaskPlan
from orchestrator.state import who


@dataclass(frozen=True, slots=True)
class Node:
    """A task as it is drawn. `notes` are words like `if` or `for each`."""

    id: str
    who: str
    needs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    gate: bool = False


@dataclass(frozen=True, slots=True)
class Pen:
    """The characters of a drawing. `joints` maps where a line leads (of `udlr`) to a character."""

    dot: str
    gate: str
    joints: Mapping[str, str]


WAYS = ("ud", "lr", "udr", "udl", "udlr", "ulr", "dlr", "ur", "ul", "dr", "dl")
UNICODE = Pen("●", "◆", dict(zip(WAYS, "│─├┤┼┴┬└┘┌┐", strict=True)))
ASCII = Pen("o", "?", dict(zip(WAYS, "|-+++++++++", strict=True)))


def encodes(encoding: str, pen: Pen) -> bool:
    """Return whether text in `encoding` can hold all that the pen draws."""
    try:
        "".join((pen.dot, pen.gate, *pen.joints.values())).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def nodes_of(plan: Plan) -> list[Node]:
    """Return the plan's tasks, layer by layer: what can run at the same time stands together."""
    level: dict[str, int] = {}
    for task in plan.tasks.values():
        level[task.id] = 1 + max((level[need] for need in task.needs), default=-1)
    tasks = sorted(plan.tasks.values(), key=lambda task: level[task.id])
    return [Node(t.id, who(t.work), t.needs, tuple(_notes(t)), isinstance(t.work, Approval)) for t in tasks]


def _notes(task: TaskPlan) -> Iterable[str]:
    if task.condition is not None:
        yield "if"
    if task.for_each is not None:
        yield "for each"
    if task.repeat is not None:
        yield f"repeats up to {task.repeat.max_attempts}"


def direct_needs(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """Return the needs of each task without those that follow from its others."""
    needs: Needs = {node.id: node.needs for node in nodes}
    above = ancestry(needs, order(needs))
    return {
        node.id: [need for need in node.needs if not any(above.precedes(need, other) for other in node.needs)]
        for node in nodes
    }


def to_ascii(nodes: Sequence[Node], pen: Pen) -> str:
    """Return the tasks as rails, top to bottom: a rail leads from a task to those that need it.

    Each task takes one line; a line of joints stands above it where rails meet or part. A rail that only passes is
    drawn through the crossing line unbroken, so every joint is a real one.
    """
    needs = direct_needs(nodes)
    pending = {node.id: sum(node.id in needed for needed in needs.values()) for node in nodes}
    rails: list[str | None] = []
    lines: list[tuple[str, str]] = []
    for node in nodes:
        joints, rails, own = _join(needs[node.id], rails, pending, pen)
        if joints:
            lines.append((joints, ""))
        marks = [(pen.gate if node.gate else pen.dot) if i == own else _passing(r, pen) for i, r in enumerate(rails)]
        lines.append((" ".join(marks), _label(node)))
        rails[own] = node.id if pending[node.id] else None
        while rails and rails[-1] is None:
            rails.pop()
    width = max((len(drawn) for drawn, label in lines if label), default=0)
    return "\n".join(f"{drawn:{width}}  {label}".rstrip() for drawn, label in lines)


def _join(
    needs: Sequence[str], rails: list[str | None], pending: dict[str, int], pen: Pen
) -> tuple[str, list[str | None], int]:
    """Return the line of joints above a task (empty where none is needed), the rails below it, and the task's rail."""
    sources = [i for i, rail in enumerate(rails) if rail in needs]
    for need in needs:
        pending[need] -= 1
    below = [rail if rail is not None and pending[rail] else None for rail in rails]
    ending = [i for i in sources if below[i] is None]
    free = [i for i, rail in enumerate(below) if rail is None]
    own = (ending or free or [len(below)])[0]
    if own == len(below):
        below.append(None)
    ends = {*sources, own}
    if len(ends) == 1 or not sources:
        return "", below, own
    is_above = [i < len(rails) and rails[i] is not None for i in range(len(below))]
    is_below = [rail is not None or i == own for i, rail in enumerate(below)]
    return _joints(ends, is_above, is_below, pen), below, own


def _joints(ends: set[int], is_above: list[bool], is_below: list[bool], pen: Pen) -> str:
    """Return a crossing line from the first of the rails in `ends` to the last; only those are joined to it."""
    first, last = min(ends), max(ends)
    cells = []
    for i, (up, down) in enumerate(zip(is_above, is_below, strict=True)):
        passing = first < i < last and i not in ends and not up
        left = passing or (i in ends and i > first)
        right = passing or (i in ends and i < last)
        ways = "".join(way for way, there in zip("udlr", (up, down, left, right), strict=True) if there)
        cells.append(pen.joints.get(ways, " ") + (pen.joints["lr"] if first <= i < last else " "))
    return "".join(cells).rstrip()


def _passing(rail: str | None, pen: Pen) -> str:
    return " " if rail is None else pen.joints["ud"]


def _label(node: Node) -> str:
    notes = f"  [{', '.join(node.notes)}]" if node.notes else ""
    return f"{node.id}  ({node.who}){notes}"


def to_mermaid(nodes: Sequence[Node]) -> str:
    """Return a Mermaid flowchart. Ids are numbered: a task may be called `end`, which Mermaid reserves."""
    number = {node.id: f"t{index}" for index, node in enumerate(nodes)}
    lines = ["flowchart TD"]
    for node in nodes:
        text = _label(node).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        lines.append(f'    {number[node.id]}{{{{"{text}"}}}}' if node.gate else f'    {number[node.id]}["{text}"]')
    lines += [f"    {number[need]} --> {number[node.id]}" for node in nodes for need in node.needs]
    return "\n".join(lines)


def to_dot(nodes: Sequence[Node]) -> str:
    """Return a Graphviz digraph."""
    lines = ["digraph squad {", "  node [shape=box, style=rounded];"]
    for node in nodes:
        shape = ", shape=hexagon" if node.gate else ""
        lines.append(f"  {_dot_text(node.id)} [label={_dot_text(_label(node))}{shape}];")
    lines += [f"  {_dot_text(need)} -> {_dot_text(node.id)};" for node in nodes for need in node.needs]
    return "\n".join([*lines, "}"])


def _dot_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def to_document(name: str, nodes: Sequence[Node]) -> dict[str, Any]:
    """Return the graph as a document, in the drawing's order."""
    tasks = [
        {"id": node.id, "who": node.who, "needs": list(node.needs), "notes": list(node.notes), "gate": node.gate}
        for node in nodes
    ]
    return {"schema_version": 1, "squad": name, "tasks": tasks}
