"""What tasks that need each other form: an order, cycles, ancestors. Pure, and linear in the size of the squad."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

TaskNeeds = Mapping[str, Sequence[str]]
"""Task -> the tasks that it needs, all of them keys too. The order of the keys is that of the file."""


def order(needs: TaskNeeds) -> list[str]:
    """Return the tasks so that each stands after all it needs, else in the order of the file.

    Tasks on a cycle, and those that need one, are left out.
    """
    names = list(needs)
    position = {name: index for index, name in enumerate(names)}
    dependents: dict[str, list[str]] = {name: [] for name in names}
    missing = {name: len(set(needs[name])) for name in names}
    for name in names:
        for needed in set(needs[name]):
            dependents[needed].append(name)
    ready = [position[name] for name in names if not missing[name]]  # in order, so a heap
    ordered = []
    while ready:
        name = names[heappop(ready)]
        ordered.append(name)
        for dependent in dependents[name]:
            missing[dependent] -= 1
            if not missing[dependent]:
                heappush(ready, position[dependent])
    return ordered


def cycles(needs: TaskNeeds, ordered: Sequence[str]) -> list[list[str]]:
    """Return cycles among the tasks that `order` left out: each task needs the next, the last one the first.

    Every task that can never start has at least one of them before it.
    """
    left = {name: None for name in needs if name not in set(ordered)} if len(ordered) < len(needs) else {}
    seen: set[str] = set()
    found = []
    for start in left:
        walk: dict[str, int] = {}
        here = start
        while here not in seen:
            seen.add(here)
            walk[here] = len(walk)
            here = next(needed for needed in needs[here] if needed in left)
        if here in walk:
            found.append(_from_first(list(walk)[walk[here] :], left))
    return found


def _from_first(cycle: list[str], file_order: Mapping[str, None]) -> list[str]:
    members = set(cycle)
    start = cycle.index(next(name for name in file_order if name in members))
    return cycle[start:] + cycle[:start]


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Which tasks must have ended before which. A set is one integer with a bit for each task."""

    bits: Mapping[str, int]
    above: Mapping[str, int]
    torn: Collection[str] = ()

    def knows(self, task: str) -> bool:
        """Whether all ancestors of the task are known: it is on no cycle and behind none, and behind no torn task."""
        return task in self.above and task not in self.torn

    def precedes(self, ancestor: str, task: str) -> bool:
        return bool(self.above.get(task, 0) & self.bits.get(ancestor, 0))


def ancestry(needs: TaskNeeds, ordered: Sequence[str], torn: Collection[str] = ()) -> Ancestry:
    """Return the ancestors of each task in `ordered`. Of `torn` tasks not all needs are known."""
    torn = set(torn)
    bits = {name: 1 << index for index, name in enumerate(ordered)}
    above: dict[str, int] = {}
    for name in ordered:
        above[name] = 0
        for needed in needs[name]:
            above[name] |= above[needed] | bits[needed]
        if not torn.isdisjoint(needs[name]):
            torn.add(name)
    return Ancestry(bits, above, torn)


def between(dependents: Mapping[str, Iterable[str]], starts: Iterable[str], end: str) -> set[str]:
    """Return the tasks on any way from `starts` to `end`, both included: what a revision does again."""
    reaches: dict[str, bool] = {end: True}
    # Depth first with an explicit stack: a chain of 10,000 tasks must not meet the recursion limit.
    stack = list(starts)
    while stack:
        task = stack[-1]
        unknown = [d for d in dependents[task] if d not in reaches] if task not in reaches else []
        if unknown:
            stack.extend(unknown)
        else:
            reaches.setdefault(task, any(reaches[d] for d in dependents[task]))
            stack.pop()
    return {task for task, does in reaches.items() if does}
