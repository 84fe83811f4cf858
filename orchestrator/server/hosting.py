"""Runs that the server itself drives, beside each other. What it drives is recorded: it can stop at any time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from orchestrator.errors import OrchestratorError, RunNotFound, RunOver
from orchestrator.execution import Run
from orchestrator.fork import fork_with
from orchestrator.journal.protocols import Journal, RunBusy, RunExists
from orchestrator.options import RunOptions
from orchestrator.run_opening import new_run_id, open_with, resume_with
from orchestrator.server.chats import ChatHost
from orchestrator.server.driven_runs import DrivenRuns
from orchestrator.squad.load import Squad
from providers.documents.problems import ProblemsFound
from providers.trace_context import call_scope

MOST_AT_ONCE = 16
"""Runs at work at once; more wait."""


class HostStopping(OrchestratorError):
    """The server is about to stop: it begins no run."""

    hint = "ask again once it is back"


@dataclass(slots=True)
class _Driving:
    """A run that is driven here. `is_ending`: it takes nothing up any more. `closed` is set once all that it had open
    is closed, its claim on the journal among it."""

    is_ending: bool = False
    closed: anyio.Event = field(default_factory=anyio.Event)


class RunHost:
    """Starts and resumes runs. `options` are those of each of them; `out`: the folder of the folders of their files."""

    def __init__(
        self,
        tasks: TaskGroup,
        journal: Journal,
        options: RunOptions,
        out: Path | None = None,
        noted: DrivenRuns | None = None,
    ) -> None:
        self._tasks, self._journal, self._options, self._out, self._noted = tasks, journal, options, out, noted
        self._is_stopping = False
        self._room = anyio.CapacityLimiter(MOST_AT_ONCE)
        self.running: dict[str, Run] = {}
        self._driven: dict[str, _Driving] = {}
        self.failed: dict[str, str] = {}
        """Why runs ended that could not be driven on, by their id: these words are in no record."""
        self._listened: set[str] = set()
        """Runs that were begun to be listened to: when one goes on, it is so again."""
        self.chats = ChatHost(tasks, journal, options, out)

    @property
    def is_full(self) -> bool:
        """Whether a run that begins now waits until another one ends."""
        return self._room.available_tokens < 1

    async def start(self, squad: Squad, inputs: Mapping[str, Any], **more: Any) -> str:
        """Begin a run and return its id once it has begun. Raise what `open_run` raises, with nothing spent."""
        clock = self._options.clock
        assert clock is not None, "a host has a clock"
        run = str(more.pop("run_id", None) or new_run_id(squad.name, clock()))
        with self._taken(run) as driving:
            await self._refuse_known(run)
            opening = open_with(squad, replace(self._new(inputs, run), **more))
            await self._tasks.start(self._drive, run, driving, opening)
        return run

    async def fork(self, squad: Squad, source: str, inputs: Mapping[str, Any], start: str | None, **more: Any) -> str:
        """Begin a run that takes over what `source` did, and return its id once it has begun. Raise what `fork_run`
        raises, with nothing spent."""
        clock = self._options.clock
        assert clock is not None, "a host has a clock"
        run = str(more.pop("run_id", None) or new_run_id(squad.name, clock()))
        with self._taken(run) as driving:
            await self._refuse_known(run)
            options = replace(self._new(inputs, run), **more)
            opening = fork_with(squad, source, self._journal, options, start=start)
            await self._tasks.start(self._drive, run, driving, opening)
        return run

    async def _refuse_known(self, run: str) -> None:
        """Raise `RunExists` for a run that is recorded, before its files are found to be in the way of a new one's."""
        with suppress(RunNotFound):
            await self._journal.manifest(run)
            raise RunExists(f"there is a run {run} already")

    async def resume(self, squad: Squad, run: str, **more: Any) -> None:
        """Go on with a recorded run, once one that ends here is closed. Raise what `resume_run` raises: `RunBusy`
        where it is at work, here or elsewhere."""
        while (driving := self._driven.get(run)) is not None:
            if not driving.is_ending:
                raise RunBusy(f"the run {run} is at work")
            await driving.closed.wait()
        with self._taken(run) as driving:
            how = {"stream": run in self._listened, **more}
            options = replace(self._options, journal=self._journal, **how)
            await self._tasks.start(self._drive, run, driving, resume_with(squad, run, self._journal, options))

    def later(self, run: str, resume: Callable[[], Awaitable[None]]) -> None:
        """Resume a run in the background once there is room; `failed` tells why it was not."""

        async def go_on() -> None:
            try:
                await resume()
            except (RunBusy, RunOver):
                pass  # it goes on, or did
            except (OrchestratorError, ProblemsFound) as error:
                self.failed[run] = str(error)

        self._tasks.start_soon(go_on)

    def stop(self) -> None:
        """Begin no run any more; let the calls in flight of each end, and be recorded: each can be resumed."""
        self._is_stopping = True
        for run in self.running.values():
            run.stop()

    async def ended(self) -> None:
        """Wait until nothing is driven here."""
        while self._driven:
            await next(iter(self._driven.values())).closed.wait()
        await self.chats.ended()

    @asynccontextmanager
    async def driving(self, squad: Squad, inputs: Mapping[str, Any], run: str, **more: Any) -> AsyncIterator[Run]:
        """Yield a new run, for the caller to follow. Leaving the block cuts it short where it is.

        `more` are options of this run alone.
        """
        with self._taken(run) as driving:
            try:
                options = replace(self._new(inputs, run), **more)
                async with self._room, self._opened(run, open_with(squad, options)) as driven:
                    try:
                        yield driven
                    finally:
                        driving.is_ending = True
            finally:
                self._closed(run, driving)

    @asynccontextmanager
    async def _opened(self, run: str, opening: AbstractAsyncContextManager[Run]) -> AsyncIterator[Run]:
        """Open a run. Raise `HostStopping` instead where the server stops."""
        if self._is_stopping:
            raise HostStopping("the server stops, and begins no run")
        async with opening as driven:
            self.running[run] = driven
            self._stop_late(driven)
            yield driven

    def _stop_late(self, driven: Run) -> None:
        """Stop a run that was being opened as the server was told to stop."""
        if self._is_stopping:
            driven.stop()

    async def _note(self, change: Callable[[DrivenRuns, Any], None], of: Any) -> None:
        """Note in a file what is driven here. It only says what to go on with after a stop: a run does without."""
        if self._noted is not None:
            with suppress(OSError):
                await anyio.to_thread.run_sync(change, self._noted, of)

    def _new(self, inputs: Mapping[str, Any], run: str) -> RunOptions:
        out = None if self._out is None else self._out / run
        asked_by = call_scope().asked_by
        traceparent = None if asked_by is None else asked_by.headers["traceparent"]
        given = replace(self._options, inputs=inputs, run_id=run, journal=self._journal, out=out)
        return replace(given, traceparent=traceparent)

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
            async with self._room, self._opened(run, opening) as driven:
                self.failed.pop(run, None)
                if driven.is_streamed:
                    self._listened.add(run)
                await self._note(DrivenRuns.add, run)
                is_begun = True
                task_status.started()
                try:
                    async for _ in driven:
                        pass  # who wants to know reads the journal
                finally:
                    driving.is_ending = True
                if driven.result.status not in ("waiting", "paused", "cancelled"):
                    self._listened.discard(run)
                if driven.result.status not in ("paused", "cancelled"):
                    await self._note(DrivenRuns.take_out, [run])
        except OrchestratorError as error:
            if not is_begun:
                raise
            self.failed[run] = str(error)
        finally:
            self._closed(run, driving)


@asynccontextmanager
async def hosting(
    journal: Journal, options: RunOptions, out: Path | None = None, noted: DrivenRuns | None = None
) -> AsyncIterator[RunHost]:
    """Yield a host, which notes what it drives in `noted`.

    Leaving the block cuts its runs short where they are: each can be resumed.
    """
    async with hosted(lambda tasks: RunHost(tasks, journal, options, out, noted)) as host:
        yield host


@asynccontextmanager
async def hosted(made: Callable[[TaskGroup], RunHost]) -> AsyncIterator[RunHost]:
    """Yield the host that is made with tasks that end with the block."""
    try:
        async with anyio.create_task_group() as tasks:
            yield made(tasks)
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
