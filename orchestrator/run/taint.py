"""Which values of a run others wrote, or what they wrote was made into: what reads them is tainted by them. Pure.

A value is known by its path in expressions. It is others' where an input says so, where the task that made it had read
such text, and where it is an item of a list that is others'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents.untrusted import joined
from orchestrator.run.state import RunState
from orchestrator.squad.elements import owner_of, squad_of
from orchestrator.squad.plan import INPUTS, SquadEntry, TaskPlan, local, scoped
from orchestrator.units import Unit

Sources = tuple[str, ...]
Names = Iterable[tuple[str, ...]]


class Fed(NamedTuple):
    """A text that a piece of work is given, and the sources that it is tainted by."""

    text: str
    untrusted: Sources = ()


@dataclass(frozen=True, slots=True)
class Taint:
    """The sources of untrusted values, by the paths of these."""

    paths: Mapping[tuple[str, ...], Sources] = field(default_factory=dict)

    def of(self, names: Names) -> Sources:
        """Return the sources of all that expressions with these paths read."""
        if not self.paths:
            return ()
        found: Sources = ()
        for name in sorted(names):
            for path, sources in self.paths.items():
                shorter = min(len(name), len(path))
                if name[:shorter] == path[:shorter]:
                    found = joined(found, sources)
        return found

    def plus(self, path: tuple[str, ...], sources: Sources) -> Taint:
        """Return the same with one more path."""
        return Taint({**self.paths, path: sources}) if sources else self


CLEAN = Taint()


def taint_of(state: RunState, task: TaskPlan, key: str | None = None) -> Taint:
    """Return what is tainted of all that the expressions of a task see; with a key, of its element."""
    if state.plan.edition < 3:
        return CLEAN
    taint = Taint(dict(_in_scope(state, task.reads)))
    each = task.work.each if isinstance(task.work, SquadEntry) else task.for_each if key is not None else None
    return taint if each is None else taint.plus((each.item,), taint.of(each.items.names))


def values_of(state: RunState, unit: Unit) -> Mapping[str, Any]:
    """Return what the expressions of a unit see."""
    task, elements = state.plan.tasks[unit.task], state.tasks[unit.task].elements
    values = state.values_for(task)
    if unit.key is None or task.for_each is None or elements is None:
        return values
    return {**values, task.for_each.item: elements.items[unit.key]}


def taint_of_unit(state: RunState, unit: Unit) -> Taint:
    """Return what is tainted of what a unit sees."""
    return taint_of(state, state.plan.tasks[unit.task], unit.key)


def _in_scope(state: RunState, scope: str) -> Iterator[tuple[tuple[str, ...], Sources]]:
    yield from _inputs(state, scope)
    for name, sources in state.untrusted.items():
        task = state.plan.tasks[name]
        if (task.squad or "") == scope and not isinstance(task.work, SquadEntry) and not owner_of(name):
            yield from ((("tasks", local(task.squad, name), part), sources) for part in ("output", "transcript"))


def _inputs(state: RunState, scope: str) -> Iterator[tuple[tuple[str, ...], Sources]]:
    """Yield the tainted inputs of the squad, or of a sub-squad: what it says itself, and what it is given."""
    plan = state.plan
    declared = squad_of(plan, scope).untrusted if scope else plan.untrusted
    given: Mapping[str, Any] = {}
    if scope:
        entry = plan.tasks[scoped(scope, INPUTS)]
        assert isinstance(entry.work, SquadEntry), "a sub-squad begins so"
        given = entry.work.given
        around = taint_of(state, entry)
    for name in dict.fromkeys((*declared, *given)):
        sources = around.of(_names(given[name])) if name in given else ()
        if name in declared:
            sources = joined(sources, [f"the input {name}"])
        if sources:
            yield ("inputs", name), sources


def _names(value: Any) -> Iterator[tuple[str, ...]]:
    """Yield the paths that the texts in a value read."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _names(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _names(one)
    elif hasattr(value, "names"):
        yield from value.names
