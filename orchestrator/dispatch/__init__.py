"""Who runs the work. The journal says what is to be done; a dispatcher only places it, at least once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol


class Unit(NamedTuple):
    """One task of a run, or one element of its `for_each`. `attempt` counts reruns that a reviewer asked for."""

    run: str
    task: str
    key: str | None = None
    attempt: int = 1

    @property
    def path(self) -> str:
        """Its place in the run by meaning: `build[S-1]`, `stories#2` after a revision."""
        element = "" if self.key is None else f"[{self.key}]"
        again = "" if self.attempt == 1 else f"#{self.attempt}"
        return f"{self.task}{element}{again}"

    @property
    def id(self) -> str:
        return f"{self.run}/{self.path}"


Handler = Callable[[Unit], Awaitable[None]]


class Dispatcher(Protocol):
    """Guarantees: each submitted unit reaches a handler at least once, at most `queues[queue]` of a queue at a time."""

    async def submit(self, unit: Unit, generation: int = 1, queue: str = "units") -> None:
        """Hand the unit over. Submitting the same unit and generation again changes nothing."""

    async def cancel(self, unit: Unit) -> None:
        """Stop the unit: it is taken out, or its handler is cancelled."""

    async def serve(self, handler: Handler, queues: Mapping[str, int]) -> None:
        """Run `handler` for what is submitted until cancelled."""
