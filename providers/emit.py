"""Who is told of what happens: a function that takes any event. It is synchronous, never blocks and never raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Emit = Callable[[Any], None]


def ignore(_: Any) -> None:
    """Take an event and do nothing: the emitter where there is no listener."""
