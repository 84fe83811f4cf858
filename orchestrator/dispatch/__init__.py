"""Who runs the work. The journal says what is to be done; a dispatcher only places it, at least once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from orchestrator.events import Event
from orchestrator.units import Unit

Handler = Callable[[Unit], Awaitable[None]]
EndedUnits = Sequence[tuple[Unit, Any]]
"""Units that other processes have worked on, and how each ended."""
Settle = Callable[[EndedUnits], Awaitable[None]]
TakeEvents = Callable[[], Sequence[Event]]
"""Returns the events that the journal does not have yet; they are its from then on."""


class Dispatcher(Protocol):
    """Where the units of one run work. Guarantees: each that is submitted is worked on, and settled once."""

    async def submit(self, units: Sequence[Unit], take: TakeEvents) -> None:
        """Hand units over. One that is submitted again while it waits or works changes nothing.

        Where other processes are to do them, the events of the run so far are recorded with it: they go by them.
        """

    async def serve(self, handler: Handler, settle: Settle, take: TakeEvents, slots: int) -> None:
        """Until cancelled, have what is submitted done: by `handler`, at most `slots` at a time, or by other processes,
        of each of whose units `settle` is told the end, and what follows from it is recorded."""

    async def left_over(self) -> EndedUnits:
        """Return how units ended elsewhere while no process drove the run."""

    async def cancel(self, units: Sequence[Unit]) -> None:
        """Let these units, which are at work elsewhere, end early: the run is over. Nothing of them is recorded once
        this returns."""
