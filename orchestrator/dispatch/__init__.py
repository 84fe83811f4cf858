"""Who runs the work. The journal says what is to be done; a dispatcher only places it, at least once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from orchestrator.units import Unit

Handler = Callable[[Unit], Awaitable[None]]


class Dispatcher(Protocol):
    """Guarantees: each submitted unit of a run reaches a handler at least once, at most `slots` at a time."""

    async def submit(self, unit: Unit) -> None:
        """Hand the unit over. Submitting the same unit again changes nothing."""

    async def serve(self, handler: Handler, slots: int) -> None:
        """Run `handler` for what is submitted until cancelled."""
