"""Who runs the work. The journal says what is to be done; a dispatcher only places it, at least once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from orchestrator.events import Event
from orchestrator.units import Unit

Handler = Callable[[Unit], Awaitable[None]]
HearEvent = Callable[[Event], Awaitable[None]]
TakeEvents = Callable[[], Sequence[Event]]
"""Returns the events that the journal does not have yet; they are its from then on."""


class Dispatcher(Protocol):
    """Where the units of one run work. Guarantees: each that is submitted is worked on at least once."""

    async def submit(self, units: Sequence[Unit], take: TakeEvents) -> None:
        """Hand units over. One that is submitted again while it waits or works changes nothing.

        Where another process is to do them, the events of the run so far are recorded first, or with it: it goes by
        them.
        """

    async def serve(self, handler: Handler, hear: HearEvent, slots: int) -> None:
        """Until cancelled, have what is submitted done: by `handler`, at most `slots` at a time; or by other processes,
        each event of which `hear` is given, in the order of their recording."""

    async def cancel(self) -> None:
        """Let what is at work elsewhere end early: the run is over."""
