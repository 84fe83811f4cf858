"""Units as anyio tasks of this process.

A worker takes units until none waits, so a chain of short ones costs no task switches; workers grow to the queue's size
only while units wait for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import anyio
from anyio.abc import TaskGroup

from orchestrator.dispatch import Handler, Unit

UNITS_BETWEEN_CHECKPOINTS = 64


class LocalDispatcher:
    """A `Dispatcher` inside one task group."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Unit]] = {}
        self._seen: set[tuple[Unit, int]] = set()
        self._running: dict[Unit, anyio.CancelScope] = {}
        self._workers: dict[str, int] = {}
        self._queues: Mapping[str, int] = {}
        self._tasks: TaskGroup | None = None
        self._handler: Handler | None = None
        self._growing = False

    async def submit(self, unit: Unit, generation: int = 1, queue: str = "units") -> None:
        place = (unit, generation)
        if place in self._seen:
            return
        self._seen.add(place)
        waiting = self._waiting.get(queue)
        if waiting is None:
            waiting = self._waiting[queue] = deque()
        waiting.append(unit)
        self._grow_soon()

    async def cancel(self, unit: Unit) -> None:
        for waiting in self._waiting.values():
            if unit in waiting:
                waiting.remove(unit)
        if (scope := self._running.get(unit)) is not None:
            scope.cancel()

    async def serve(self, handler: Handler, queues: Mapping[str, int]) -> None:
        self._handler, self._queues = handler, queues
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
        for queue, waiting in self._waiting.items():
            free = self._queues.get(queue, 0) - self._workers.get(queue, 0)
            for _ in range(min(len(waiting), free)):
                self._workers[queue] = self._workers.get(queue, 0) + 1
                self._tasks.start_soon(self._work, queue, waiting)

    async def _work(self, queue: str, waiting: deque[Unit]) -> None:
        """Take units until none waits. One cancel scope a worker: a cancelled unit takes its worker with it."""
        handler, running, done = self._handler, self._running, 0
        assert handler is not None
        unit: Unit | None = None
        try:
            with anyio.CancelScope() as scope:
                while waiting:
                    unit = waiting.popleft()
                    running[unit] = scope
                    await handler(unit)
                    del running[unit]
                    done += 1
                    if done % UNITS_BETWEEN_CHECKPOINTS == 0:
                        await anyio.lowlevel.checkpoint()
        finally:
            self._workers[queue] -= 1
            if scope.cancelled_caught:
                self._running.pop(unit, None)  # type: ignore[arg-type]  # only a unit at work is cancelled
                self._grow_soon()
