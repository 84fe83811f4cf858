"""Runs that the server itself drives, beside each other. What it drives is recorded: it can stop at any time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from orchestrator.errors import OrchestratorError
from orchestrator.execution import Run
from orchestrator.journal.protocols import Journal, RunBusy
from orchestrator.options import RunOptions
from orchestrator.run_opening import new_run_id, open_with, resume_with
from orchestrator.squad.load import Squad

MOST_AT_ONCE = 16
"""Runs at work at once; more wait."""


@dataclass(slots=True)
class _Driving:
    """A run that is driven here. `is_ending`: it takes nothing up any more. `closed` is set once all that it had open
    is closed, its claim on the journal among it."""

    is_ending: bool = False
    closed: anyio.Event = field(default_factory=anyio.Event)


class RunHost:
    """Starts and resumes runs. `options` are those of each of them; `out`: the folder of the folders of their files."""

    def __init__(self, tasks: TaskGroup, journal: Journal, options: RunOptions, out: Path | None = None) -> None:
        self._tasks, self._journal, self._options, self._out = tasks, journal, options, out
        self._room = anyio.CapacityLimiter(MOST_AT_ONCE)
        self.running: dict[str, Run] = {}
        self._driven: dict[str, _Driving] = {}
        self.failed: dict[str, str] = {}
        """Why runs ended that could not be driven on, by their id: these words are in no record."""

    async def start(self, squad: Squad, inputs: Mapping[str, Any], **more: Any) -> str:
        """Begin a run and return its id once it has begun. Raise what `open_run` raises, with nothing spent."""
        clock = self._options.clock
        assert clock is not None, "a host has a clock"
        run = str(more.pop("run_id", None) or new_run_id(squad.name, clock()))
        with self._taken(run) as driving:
            opening = open_with(squad, replace(self._new(inputs, run), **more))
            await self._tasks.start(self._drive, run, driving, opening)
        return run

    async def resume(self, squad: Squad, run: str, **more: Any) -> None:
        """Go on with a recorded run, once one that ends here is closed. Raise what `resume_run` raises: `RunBusy`
        where it is at work, here or elsewhere."""
        while (driving := self._driven.get(run)) is not None:
            if not driving.is_ending:
                raise RunBusy(f"the run {run} is at work")
            await driving.closed.wait()
        with self._taken(run) as driving:
            options = replace(self._options, journal=self._journal, **more)
            await self._tasks.start(self._drive, run, driving, resume_with(squad, run, self._journal, options))

    @asynccontextmanager
    async def driving(self, squad: Squad, inputs: Mapping[str, Any], run: str) -> AsyncIterator[Run]:
        """Yield a new run, for the caller to follow. Leaving the block cuts it short where it is."""
        with self._taken(run) as driving:
            try:
                async with self._room, open_with(squad, self._new(inputs, run)) as driven:
                    self.running[run] = driven
                    try:
                        yield driven
                    finally:
                        driving.is_ending = True
            finally:
                self._closed(run, driving)

    def _new(self, inputs: Mapping[str, Any], run: str) -> RunOptions:
        out = None if self._out is None else self._out / run
        return replace(self._options, inputs=inputs, run_id=run, journal=self._journal, out=out)

    @contextmanager
    def _taken(self, run: str) -> Iterator[_Driving]:
        """Be the only one here that drives the run, from before anything of it is opened on. Raise `RunBusy`."""
        if run in self._driven:
            raise RunBusy(f"the run {run} is at work")
        driving = self._driven[run] = _Driving()
        try:
            yield driving
        except BaseException:
            self._closed(run, driving)  # it did not begin
            raise

    def _closed(self, run: str, driving: _Driving) -> None:
        if self._driven.get(run) is driving:
            del self._driven[run]
            self.running.pop(run, None)
        driving.closed.set()

    async def _drive(
        self,
        run: str,
        driving: _Driving,
        opening: AbstractAsyncContextManager[Run],
        *,
        task_status: anyio.abc.TaskStatus[None],
    ) -> None:
        is_begun = False
        try:
            async with self._room, opening as driven:
                self.running[run] = driven
                self.failed.pop(run, None)
                is_begun = True
                task_status.started()
                try:
                    async for _ in driven:
                        pass  # who wants to know reads the journal
                finally:
                    driving.is_ending = True
        except OrchestratorError as error:
            if not is_begun:
                raise
            self.failed[run] = str(error)
        finally:
            self._closed(run, driving)


@asynccontextmanager
async def hosting(journal: Journal, options: RunOptions, out: Path | None = None) -> AsyncIterator[RunHost]:
    """Yield a host. Leaving the block cuts its runs short where they are: each can be resumed."""
    try:
        async with anyio.create_task_group() as tasks:
            yield RunHost(tasks, journal, options, out)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
