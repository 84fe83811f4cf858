"""Runs that the server itself drives, beside each other. What it drives is recorded: it can stop at any time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from orchestrator.errors import OrchestratorError
from orchestrator.execution import Run
from orchestrator.journal.protocols import Journal
from orchestrator.options import RunOptions
from orchestrator.run_opening import new_run_id, open_with, resume_with
from orchestrator.squad.load import Squad

MOST_AT_ONCE = 16
"""Runs at work at once; more wait."""


class RunHost:
    """Starts and resumes runs. `options` are those of each of them."""

    def __init__(self, tasks: TaskGroup, journal: Journal, options: RunOptions) -> None:
        self._tasks, self._journal, self._options = tasks, journal, options
        self._room = anyio.CapacityLimiter(MOST_AT_ONCE)
        self.running: dict[str, Run] = {}
        self._closed: dict[str, anyio.Event] = {}
        """Set once all that a run had open is closed, its claim on the journal among it."""
        self.failed: dict[str, str] = {}
        """Why runs ended that could not be driven on, by their id: these words are in no record."""

    async def start(self, squad: Squad, inputs: Mapping[str, Any], **more: Any) -> str:
        """Begin a run and return its id once it has begun. Raise what `open_run` raises, with nothing spent."""
        clock = self._options.clock
        assert clock is not None, "a host has a clock"
        run = str(more.pop("run_id", None) or new_run_id(squad.name, clock()))
        options = replace(self._options, inputs=inputs, run_id=run, journal=self._journal, **more)
        await self._tasks.start(self._drive, run, open_with(squad, options))
        return run

    async def resume(self, squad: Squad, run: str) -> None:
        """Go on with a recorded run, once one that ends here is closed. Raise what `resume_run` raises."""
        if (closing := self._closed.get(run)) is not None:
            await closing.wait()
        options = replace(self._options, journal=self._journal)
        await self._tasks.start(self._drive, run, resume_with(squad, run, self._journal, options))

    @asynccontextmanager
    async def driving(self, squad: Squad, inputs: Mapping[str, Any], run: str) -> AsyncIterator[Run]:
        """Yield a new run, for the caller to follow. Leaving the block cuts it short where it is."""
        options = replace(self._options, inputs=inputs, run_id=run, journal=self._journal)
        closed = self._closed[run] = anyio.Event()
        try:
            async with self._room, open_with(squad, options) as driven:
                self.running[run] = driven
                yield driven
        finally:
            self.running.pop(run, None)
            del self._closed[run]
            closed.set()

    async def _drive(
        self,
        run: str,
        opening: AbstractAsyncContextManager[Run],
        *,
        task_status: anyio.abc.TaskStatus[None],
    ) -> None:
        is_begun, closed = False, anyio.Event()
        self._closed[run] = closed
        try:
            async with self._room, opening as driven:
                self.running[run] = driven
                self.failed.pop(run, None)
                is_begun = True
                task_status.started()
                async for _ in driven:
                    pass  # who wants to know reads the journal
        except OrchestratorError as error:
            if not is_begun:
                raise
            self.failed[run] = str(error)
        finally:
            self.running.pop(run, None)
            if self._closed.get(run) is closed:
                del self._closed[run]
            closed.set()


@asynccontextmanager
async def hosting(journal: Journal, options: RunOptions) -> AsyncIterator[RunHost]:
    """Yield a host. Leaving the block cuts its runs short where they are: each can be resumed."""
    try:
        async with anyio.create_task_group() as tasks:
            yield RunHost(tasks, journal, options)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
