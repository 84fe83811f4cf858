"""Who is told of what happens: a function that takes any event. It is synchronous, never blocks and never raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Emit = Callable[[Any], None]


class EndsOnly:
    """An emitter for a listener that only needs how attempts end: no events are made of how they begin."""

    __slots__ = ("_tell",)

    def __init__(self, tell: Emit) -> None:
        self._tell = tell

    def __call__(self, event: Any) -> None:
        self._tell(event)


def ignore(_: Any) -> None:
    """Take an event and do nothing: the emitter where there is no listener."""
