"""One execution of a squad: driven in the background, while the caller reads its events."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from agents.run_folder import RunFolder
from agents.turn import Complete
from orchestrator.events import Event, FileUnwritten, FileWritten, RunResumed, RunStarted
from orchestrator.journal.protocols import InFlightStep, Journal, JournalError
from orchestrator.run.approvals import asking_outside_too
from orchestrator.run.artifacts import RETRIES_S, Artifacts, FileRefused
from orchestrator.run.driver import Driver, RunResult, result_of
from orchestrator.run.history import RunHistory
from orchestrator.run.recorder import Recorder
from orchestrator.run.state import units_at_work
from orchestrator.run.worker import Ask, TaskRunner
from orchestrator.squad.plan import Plan


class Run:
    """One execution of a squad: iterate its events, then read `result`. `past` holds those of earlier processes."""

    def __init__(
        self,
        driver: Driver,
        recorder: Recorder,
        runner: TaskRunner,
        events: Any,
        stub: bool,
        past: RunHistory | None = None,
    ) -> None:
        self._history = past or RunHistory()
        self.past = self._history.events
        self.run_id = recorder.run_id
        self._driver = driver
        self._recorder = recorder
        self._runner = runner
        self._events = events
        self._stub = stub
        self._result: RunResult | None = None
        self._failure: JournalError | None = None

    @property
    def result(self) -> RunResult:
        """How the run ended. Only there once its events have ended."""
        if self._result is None:
            raise RuntimeError("the run has not ended: iterate its events to their end first")
        return self._result

    def stop(self) -> None:
        """Let the calls in flight end and be recorded, start nothing more, end the run as cancelled."""
        self._driver.stop()

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._events.receive()  # type: ignore[no-any-return]  # a stream of events
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None

    async def drive(self, opening: RunStarted | RunResumed, close: Callable[[], None]) -> None:
        """Drive the run to its end; `close` ends the stream of its events. `running` calls it, once."""
        try:
            await self._driver.drive(opening, self._take_over)
            result = result_of(self._driver, self._recorder, stub=self._stub, crew=self._runner)
            await self._driver.flush()
            self._result = result
        except JournalError as error:
            self._failure = error  # raised where the events are read
        finally:
            close()

    async def _take_over(self) -> Sequence[FileUnwritten]:
        """See to it that the files of earlier processes are there, and return those that cannot be written now."""
        at_work = set(units_at_work(self._driver.state))
        lost: list[FileUnwritten] = []
        for unit, made in self._history.artifacts.values():
            retries = () if lost else RETRIES_S  # a disk that refused one file is not asked as long for the others
            try:
                is_at_work = (unit.task, unit.key) in at_work
                await self._runner.files.take_over(unit, made, is_at_work=is_at_work, retries=retries)
            except FileRefused as refused:
                lost.append(FileUnwritten(unit.task, made.path, str(refused)))
        return lost


@dataclass(frozen=True, slots=True)
class Setting:
    """What surrounds one run: its journal, its clock, what answers its gates, and what is recorded of it."""

    run_id: str
    journal: Journal
    ask: Ask
    clock: Callable[[], float]
    folder: RunFolder | None
    past: RunHistory = field(default_factory=RunHistory)
    in_flight: Sequence[InFlightStep] = ()


@asynccontextmanager
async def running(
    plan: Plan, complete: Complete, stub: bool, setting: Setting, started: RunStarted | None
) -> AsyncIterator[Run]:
    """Drive the run while the block lasts. `started` None: it goes on."""
    past, clock = setting.past, setting.clock
    send, receive = anyio.create_memory_object_stream[Event](math.inf)
    recorder = Recorder(setting.run_id, send.send_nowait, clock, past)

    async def flush() -> None:
        await setting.journal.append(setting.run_id, recorder.take())

    ask = asking_outside_too(setting.journal, setting.run_id, setting.ask, flush)
    files = Artifacts(setting.folder, note=recorder.record)
    if setting.folder is not None:
        setting.folder.tell = lambda *written: recorder.record(FileWritten(*written))
        for path, versions in past.written.items():
            setting.folder.wrote(path, versions)
    runner = TaskRunner(plan, complete, ask, clock, recorder.at, files, paid=past.paid, run=setting.run_id)
    driver = Driver(
        plan,
        runner.perform,
        recorder,
        ask=ask,
        journal=setting.journal,
        clock=clock,
        past=past,
        in_flight=setting.in_flight,
    )
    opening = started or _resumed(driver, setting)
    run = Run(driver, recorder, runner, receive, stub, past)
    with receive:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run.drive, opening, send.close)
                yield run
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None


def _resumed(driver: Driver, setting: Setting) -> RunResumed:
    done = tuple(name for name, task in driver.state.tasks.items() if task.status in ("ok", "skipped"))
    return RunResumed(done, tuple(step.path for step in setting.in_flight))
