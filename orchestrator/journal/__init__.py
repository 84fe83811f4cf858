"""What happened, keyed by meaning: the truth of a run.

A *unit* is one task of a run (one element of a `for_each`, one conversation); its id is `run/path`. A *key* names a
step inside it by meaning: attempt, turn, call; never a count of calls, so code that runs again finds its own answers
even when tasks were reordered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.events import Event

Fence = int
"""Grows with each claim of a unit. Who holds an older one can no longer write."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The step ended before: this is its result."""

    result: Any


@dataclass(frozen=True, slots=True)
class Go:
    """The step is to be done now. `attempt` counts from 1; above 1, an earlier attempt was cut short."""

    attempt: int
    idempotency_key: str


class Fenced(Exception):
    """The unit was claimed by someone else: nothing that this owner writes counts any more."""


class StepChanged(Exception):
    """A recorded step was asked for with another request: the plan or the input changed under the run."""


class Journal(Protocol):
    """Guarantees: a step that `finish` recorded is handed back by every later `begin`; its events are recorded with it
    or not at all; a stale fence writes nothing."""

    async def claim(self, unit: str, owner: str) -> Fence | None:
        """Take the unit and return a fence above all earlier ones; None where it has ended."""

    async def begin(self, unit: str, key: str, request_hash: bytes, fence: Fence) -> Recorded | Go:
        """Return the step's recorded result, or record the intent. Raise `Fenced`, `StepChanged`."""

    async def finish(self, unit: str, key: str, fence: Fence, result: Any, events: Sequence[Event] = ()) -> None:
        """Record the step's result and its events in one transaction. Raise `Fenced`."""

    async def end(self, unit: str, fence: Fence, events: Sequence[Event] = ()) -> None:
        """Record that the unit is final: no later claim gets it. Raise `Fenced`."""

    async def park(self, unit: str, fence: Fence, waiting_for: str) -> None:
        """Give the unit up until something happens; the next claim gets it. Raise `Fenced`."""

    async def append(self, run: str, events: Sequence[Event]) -> None:
        """Record events that belong to no step. An event whose id is recorded is ignored."""

    async def signal(self, run: str, name: str, value: Any, idempotency_key: str) -> None:
        """Record a person's answer or another outside fact once for each `idempotency_key`."""

    async def signals(self, run: str) -> Sequence[tuple[str, Any]]:
        """Return the (name, value) pairs signalled so far, oldest first."""

    async def request_cancel(self, run: str) -> None:
        """Ask whoever drives the run to stop."""

    async def cancel_requested(self, run: str) -> bool: ...

    def watch(self, run: str, after_seq: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        """Yield (sequence, event) after `after_seq`, then each new one as it is recorded, without gap or duplicate.

        It never ends by itself: iterate inside `contextlib.aclosing`.
        """
