"""Units as anyio tasks of this process.

A worker takes units until none waits, so a chain of short ones costs no task switches; workers grow to the number of
slots only while units wait for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from orchestrator.dispatch import EndedUnits, Handler, Settle, TakeEvents
from orchestrator.units import Unit

UNITS_BETWEEN_CHECKPOINTS = 64
"""A worker whose units never wait lets others run so often: cancellation and listeners must not starve."""


class LocalDispatcher:
    """A `Dispatcher` inside one task group."""

    def __init__(self) -> None:
        self._waiting: deque[Unit] = deque()
        self._seen: set[Unit] = set()
        self._workers = 0
        self._slots = 0
        self._tasks: TaskGroup | None = None
        self._handler: Handler | None = None
        self._growing = False

    async def submit(self, units: Sequence[Unit], take: TakeEvents) -> None:  # noqa: ARG002  # recorded as units work
        new = [unit for unit in units if unit not in self._seen]
        self._seen.update(new)
        self._waiting.extend(new)
        if new:
            self._grow_soon()

    async def left_over(self) -> EndedUnits:
        return ()

    async def cancel(self, units: Sequence[Unit]) -> None:
        """Nothing is at work elsewhere."""

    async def serve(self, handler: Handler, settle: Settle, take: TakeEvents, slots: int) -> None:  # noqa: ARG002  # no other process works
        self._handler, self._slots = handler, slots
        async with anyio.create_task_group() as self._tasks:
            self._grow_soon()
            await anyio.sleep_forever()

    def _grow_soon(self) -> None:
        # Not at once: the worker that submits is often about to be free, and takes the unit itself.
        if self._tasks is not None and not self._growing:
            self._growing = True
            self._tasks.start_soon(self._grow)

    async def _grow(self) -> None:
        self._growing = False
        assert self._tasks is not None
        for _ in range(min(len(self._waiting), self._slots - self._workers)):
            self._workers += 1
            self._tasks.start_soon(self._work)

    async def _work(self) -> None:
        """Take units until none waits."""
        handler, waiting, done = self._handler, self._waiting, 0
        assert handler is not None
        try:
            while waiting:
                await handler(waiting.popleft())
                done += 1
                if done % UNITS_BETWEEN_CHECKPOINTS == 0:
                    await anyio.lowlevel.checkpoint()
        finally:
            self._workers -= 1
