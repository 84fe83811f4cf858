"""A plan's tasks drawn: rails for a terminal, Mermaid and DOT for pages, JSON for programs. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from orchestrator.squad.drawn import DrawnTask, direct_needs


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


def to_ascii(nodes: Sequence[DrawnTask], pen: Pen) -> str:
    """Return the tasks as rails, top to bottom: a rail leads from a task to those that need it.

    Each task takes one line; with a line of joints above it where rails meet or part. A rail that only passes is
    drawn through the crossing line unbroken, so every joint is a real one.
    """
    rails = _Rails(direct_needs(nodes), pen)
    lines = [(drawn, label) for node in nodes for drawn, label in rails.draw(node)]
    width = max((len(drawn) for drawn, label in lines if label), default=0)
    return "\n".join(f"{drawn:{width}}  {label}".rstrip() for drawn, label in lines)


class _Rails:
    """The columns of a drawing: each holds the task whose rail runs down it, None where there is none."""

    def __init__(self, needs: Mapping[str, Sequence[str]], pen: Pen) -> None:
        self._needs = needs
        self._pen = pen
        self._pending = Counter(need for needed in needs.values() for need in needed)
        self._columns: list[str | None] = []
        self._ended = -1
        """The column of the task just drawn, where nothing needs it."""

    def draw(self, node: DrawnTask) -> Iterator[tuple[str, str]]:
        """Yield the lines of one task, each with its label: the joints above it have none."""
        above, joined = self._columns, self._joined(node.id)
        own = self._place(node.id)
        ends = {*joined, own}
        if joined and len(ends) > 1:
            yield self._joints(ends, above, own), ""
        dot = self._pen.gate if node.gate else self._pen.dot
        marks = [dot if i == own else " " if c is None else self._pen.joints["ud"] for i, c in enumerate(self._columns)]
        yield " ".join(marks).rstrip(), _label(node)
        needed = bool(self._pending[node.id])
        self._columns[own] = node.id if needed else None
        self._ended = -1 if needed else own

    def _joined(self, task: str) -> list[int]:
        return [i for i, column in enumerate(self._columns) if column in self._needs[task]]

    def _place(self, task: str) -> int:
        """End the rails that lead nowhere else, and return the task's column: one that ends in it, else a free one."""
        joined = self._joined(task)
        self._pending.subtract(self._needs[task])
        self._columns = [c if c is not None and self._pending[c] else None for c in self._columns]
        # Right below a task that nothing needs, one that needs nothing would look as if it came from there.
        shunned = self._ended if not joined else -1
        free = [i for i, column in enumerate(self._columns) if column is None and i != shunned]
        own = next((i for i in (*joined, *free) if self._columns[i] is None), len(self._columns))
        if own == len(self._columns):
            self._columns.append(None)
        return own

    def _joints(self, ends: set[int], above: Sequence[str | None], own: int) -> str:
        """Return a crossing line from the first of the columns in `ends` to the last; only those are joined to it."""
        first, last = min(ends), max(ends)
        cells = []
        for i, column in enumerate(self._columns):
            up, down = i < len(above) and above[i] is not None, column is not None or i == own
            crossing = first < i < last and i not in ends and not up
            left = crossing or (i in ends and i > first)
            right = crossing or (i in ends and i < last)
            ways = "".join(way for way, there in zip("udlr", (up, down, left, right), strict=True) if there)
            cells.append(self._pen.joints.get(ways, " ") + (self._pen.joints["lr"] if first <= i < last else " "))
        return "".join(cells).rstrip()


def _label(node: DrawnTask) -> str:
    notes = f"  [{', '.join(node.notes)}]" if node.notes else ""
    return f"{node.id}  ({node.who}){notes}"


def to_mermaid(nodes: Sequence[DrawnTask]) -> str:
    """Return a Mermaid flowchart. Ids are numbered: a task may be called `end`, which Mermaid reserves."""
    number = {node.id: f"t{index}" for index, node in enumerate(nodes)}

    def drawn(node: DrawnTask) -> str:
        text = _label(node).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        return f'{number[node.id]}{{{{"{text}"}}}}' if node.gate else f'{number[node.id]}["{text}"]'

    clusters = count()

    def opened(squad: str) -> str:
        return f'subgraph s{next(clusters)}["{squad}"]'

    lines = ["flowchart TD", *_clustered(nodes, drawn, opened, "end")]
    lines += [f"    {number[need]} --> {number[node.id]}" for node in nodes for need in node.needs]
    return "\n".join(lines)


def to_dot(nodes: Sequence[DrawnTask]) -> str:
    """Return a Graphviz digraph."""
    lines = ["digraph squad {", "  node [shape=box, style=rounded];"]

    def drawn(node: DrawnTask) -> str:
        shape = ", shape=hexagon" if node.gate else ""
        return f"{_dot_text(node.id)} [label={_dot_text(_label(node))}{shape}];"

    def opened(squad: str) -> str:
        return f"subgraph {_dot_text(f'cluster_{squad}')} {{ label={_dot_text(squad)};"

    lines += [line[2:] for line in _clustered(nodes, drawn, opened, "}")]
    lines += [f"  {_dot_text(need)} -> {_dot_text(node.id)};" for node in nodes for need in node.needs]
    return "\n".join([*lines, "}"])


def _clustered(
    nodes: Iterable[DrawnTask],
    drawn: Callable[[DrawnTask], str],
    opened: Callable[[str], str],
    closed: str,
    of: str = "",
) -> Iterator[str]:
    """Yield the lines of the tasks, those of each sub-squad together after the others, between two lines of its own."""
    inside: dict[str, list[DrawnTask]] = {}
    indent = "    " * (1 + (of.count(".") + 1 if of else 0))
    for node in nodes:
        name, dot, _ = node.id.removeprefix(f"{of}." if of else "").partition(".")
        if dot:
            inside.setdefault(f"{of}.{name}" if of else name, []).append(node)
        else:
            yield indent + drawn(node)
    for squad, own in inside.items():
        yield indent + opened(squad)
        yield from _clustered(own, drawn, opened, closed, squad)
        yield indent + closed


def _dot_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def to_document(name: str, nodes: Sequence[DrawnTask]) -> dict[str, Any]:
    """Return the graph as a document, in the drawing's order."""
    tasks = [
        {"id": node.id, "who": node.who, "needs": list(node.needs), "notes": list(node.notes), "gate": node.gate}
        for node in nodes
    ]
    return {"schema_version": 1, "squad": name, "tasks": tasks}
