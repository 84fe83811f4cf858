"""What the parts of a run's view have in common: each takes the events that concern it, in order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from orchestrator.events import Event

Take = Callable[[Event], object]


class PartOfRun:
    """A fold of some events of a run. `TAKES`: by an event's payload, the method that takes it."""

    __slots__ = ()
    TAKES: ClassVar[Mapping[type, str]] = {}


def takers(parts: Iterable[PartOfRun]) -> dict[type[Any], tuple[Take, ...]]:
    """Return the methods that take an event, by its payload."""
    found: dict[type[Any], tuple[Take, ...]] = {}
    for part in parts:
        for kind, name in part.TAKES.items():
            found[kind] = (*found.get(kind, ()), getattr(part, name))
    return found
