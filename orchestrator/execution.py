"""One execution of a squad: driven in the background, while the caller reads its events."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import anyio

from agents.events import TurnEnded
from agents.file_origins import FileOrigins
from agents.run_context import NOTHING_AROUND, Complete, Surroundings
from agents.run_folder import RunFolder
from orchestrator.dispatch import Dispatcher
from orchestrator.errors import NotEndedOutside
from orchestrator.events import (
    ElementEnded,
    ElementStarted,
    Event,
    FileUnwritten,
    FileWritten,
    RunResumed,
    RunStarted,
    TaskStarted,
)
from orchestrator.journal.protocols import InFlightStep, Journal, JournalError
from orchestrator.run.approvals import digest_of, questions_of
from orchestrator.run.artifacts import RETRIES_S, Artifacts, FileRefused
from orchestrator.run.crew import Crew
from orchestrator.run.delta_stream import DeltaStream
from orchestrator.run.deltas import DeltaLog
from orchestrator.run.driver import Driver
from orchestrator.run.durable import Rehearse
from orchestrator.run.ended_outside import ended_outside
from orchestrator.run.history import RunHistory, history_of
from orchestrator.run.memory import RunMemory
from orchestrator.run.questions import Ask
from orchestrator.run.recorder import Recorder
from orchestrator.run.result import RunResult, result_of
from orchestrator.run.state import units_at_work
from orchestrator.run.work_clock import RunClock
from orchestrator.run.worker import TaskRunner
from orchestrator.squad.plan import Plan
from orchestrator.squad.termination import listens
from orchestrator.subscribers import Listeners, Subscriber, subject_of, subscribed
from orchestrator.units import HARMLESS, Unit
from providers.emit import Emit, ignore

OF_ELEMENTS = (ElementStarted, ElementEnded)


class Driven(NamedTuple):
    """What drives a run, from its beginning or from where it was taken up."""

    driver: Driver
    recorder: Recorder
    runner: TaskRunner
    past: RunHistory


TakeUp = Callable[[RunHistory, Sequence[InFlightStep]], Driven]
"""Returns what drives a run on from its history, and the steps that were in flight then."""


class Run:
    """One execution of a squad: iterate its events, then read `result`. `past` holds those of earlier processes."""

    def __init__(
        self,
        driven: Driven,
        take_up: TakeUp,
        journal: Journal,
        events: Any,
        stub: bool,
        past: Sequence[Event] = (),
        *,
        is_shared: bool = False,
    ) -> None:
        """`is_shared`: other processes do its units' work."""
        self.past = past
        self.run_id = driven.recorder.run_id
        self._driven = driven
        self._take_up = take_up
        self._journal = journal
        self._deltas = driven.runner.crew.deltas
        self._events = events
        self._stub = stub
        self._is_shared = is_shared
        self._result: RunResult | None = None
        self._failure: JournalError | None = None
        self._taken: set[str] = set()
        """The digests of the questions whose answers it was taken up for."""

    @property
    def result(self) -> RunResult:
        """How the run ended. Only there once its events have ended."""
        if self._result is None:
            raise RuntimeError("the run has not ended: iterate its events to their end first")
        return self._result

    async def resume_units(self, units: Sequence[Unit]) -> None:
        """Put units to work again that had paused, as what they waited for is there, while the run goes on."""
        if not self.has_ended:
            await self._driven.driver.resume_units(units)

    @property
    def plan(self) -> Plan:
        """What is being done."""
        return self._driven.driver.plan

    def units_at_work(self) -> Collection[Unit]:
        """Return the units that were put to work and of which it is not known here that they have ended."""
        return self._driven.driver.units_at_work()

    @property
    def has_ended(self) -> bool:
        """Whether there is a result."""
        return self._result is not None

    def stop(self) -> None:
        """Let the calls in flight end and be recorded, start nothing more, end the run as cancelled."""
        self._driven.driver.stop()

    def end_conversation(self, name: str) -> None:
        """Let a conversation end after the utterance at work, where its `terminate` has `external: true`.

        A moderator still concludes. One that is held later in the run ends after its first utterance. Raises `KeyError`
        for a name that the squad does not have, `NotEndedOutside` where `external: true` is not there. What this
        process has not acted on when it is killed is lost with it: `end_conversation(journal, run_id, name)` is
        recorded, and reaches a run that another process drives.
        """
        if not listens(self._driven.runner.crew.plan.conversations[name].terminate):
            raise NotEndedOutside(name)
        self._driven.runner.crew.ended_conversations.add(name)

    @property
    def is_streamed(self) -> bool:
        """Whether it was opened with `stream=True`."""
        return self._deltas is not None

    def stream(self, after: str | None = None) -> DeltaStream:
        """Return what the agents say as they say it: `async for delta in run.stream()`. It ends with the run.

        Only of a run that was opened with `stream=True`. `after` is the `position` of the last delta that was seen,
        here or in an earlier process of the run: what was missed comes first. None: all since this process took the
        run up; "0": all that is on record, too. Iterate the run's events beside it. Raises `ValueError` for what is
        no position.
        """
        if self._deltas is None:
            raise RuntimeError("the run is not streamed: open it with stream=True")
        return DeltaStream.after(self._deltas, self._journal, after)

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._events.receive()  # type: ignore[no-any-return]  # a stream of events
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None

    async def drive(self, opening: RunStarted | RunResumed | None, close: Callable[[], None]) -> None:
        """Drive the run to its end; `close` ends the stream of its events. `running` calls it, once."""
        try:
            result = await self._to_its_end(opening)
            # Whoever answered until the end was recorded was told that the run goes on with it: it does.
            while result.status == "waiting" and await self._is_answered():
                result = await self._to_its_end(await self._go_on())
            self._result = result
        except JournalError as error:
            self._failure = error  # raised where the events are read
        finally:
            if self._deltas is not None:
                self._deltas.close()
            close()

    async def _to_its_end(self, opening: RunStarted | RunResumed | None) -> RunResult:
        await self._driven.driver.drive(opening, self._take_over)
        while self._driven.driver.state.verdict() == "waiting" and await self._is_answered():
            resumed = await self._go_on()
            await self._driven.driver.drive(resumed, self._take_over)
        driver, recorder, runner, _ = self._driven
        if self._is_shared:
            others = await self._journal.events(self.run_id)
            recorder.hear(others)
            runner.files.hear(event.data for event in others)
        result = result_of(driver, recorder, stub=self._stub, files=runner.files)
        await driver.flush()
        return result

    async def _is_answered(self) -> bool:
        """Return whether a question that the run waits for has been answered since it was taken up last."""
        found = await questions_of(self._journal, self.run_id)
        answered = {digest_of(gate.opened) for name, gate in found.past.gates.items() if name in found.answered}
        new, self._taken = answered - self._taken, self._taken | answered
        return bool(new)

    async def _go_on(self) -> RunResumed:
        """Take the run up where it stands, as another process would."""
        past = history_of(await self._journal.events(self.run_id))
        in_flight = in_doubt(await self._journal.cut_short(self.run_id), past)
        self._driven = self._take_up(past, in_flight)
        await self._driven.driver.catch_up()
        return _resumed(self._driven.driver, in_flight, by_workers=self._is_shared)

    async def _take_over(self) -> Sequence[FileUnwritten]:
        """See to it that the files of earlier processes are there, and return those that cannot be written now."""
        driver, recorder, runner, past = self._driven
        while runner.crew.memory is not None and runner.crew.memory.news:
            recorder.record(runner.crew.memory.news.pop(0))
        at_work = set(units_at_work(driver.state))
        lost: list[FileUnwritten] = []
        for unit, made in past.artifacts.values():
            retries = () if lost else RETRIES_S  # a disk that refused one file is not asked as long for the others
            try:
                is_at_work = (unit.task, unit.key) in at_work
                await runner.files.take_over(unit, made, is_at_work=is_at_work, retries=retries)
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
    notify: Emit = ignore
    stream: bool = False
    """Whether its answers are asked for as streams, so that they can be told as they come."""
    memory: RunMemory | None = None
    around: Surroundings = NOTHING_AROUND
    rehearse: Rehearse | None = None
    """Answers the run's steps instead of their work."""
    origins: FileOrigins = field(default_factory=FileOrigins)
    """Which of the files that the run works on hold what others wrote; its tools share it."""
    subscribers: Sequence[Subscriber] = ()
    dispatcher: Dispatcher | None = None
    """Has other processes do the units' work; None: this one does it."""
    traceparent: str | None = None
    """The span that asked for the run, as W3C Trace Context has it."""


def in_doubt(in_flight: Sequence[InFlightStep], past: RunHistory) -> Sequence[InFlightStep]:
    """Return the steps that may have taken effect, of those that were in flight. One that waited for a person, or that
    a person refused, has not, nor has one that only looks something up."""
    waited = {name for name, gate in past.gates.items() if not gate.opened.again}
    refused = {name for name, answers in past.answers.items() if answers[-1].choice == "reject"}
    return [step for step in in_flight if step.key.call not in HARMLESS and step.path not in waited | refused]


@asynccontextmanager
async def running(
    plan: Plan, complete: Complete, stub: bool, setting: Setting, started: RunStarted | None
) -> AsyncIterator[Run]:
    """Drive the run while the block lasts. `started` None: it goes on."""
    clock, run = setting.clock, setting.run_id
    subject = subject_of(run, setting.traceparent, name=plan.name)
    async with subscribed(setting.subscribers, subject, setting.notify, clock) as told:
        around = replace(setting.around, hooks=(*told.hooks, *setting.around.hooks))
        async with _driven(plan, complete, stub, replace(setting, around=around), started, told) as opened:
            yield opened


@asynccontextmanager
async def _driven(
    plan: Plan, complete: Complete, stub: bool, setting: Setting, started: RunStarted | None, told: Listeners
) -> AsyncIterator[Run]:
    journal, clock, run = setting.journal, setting.clock, setting.run_id
    is_shared = setting.dispatcher is not None
    send, receive = anyio.create_memory_object_stream[Event](math.inf)

    ended = sum(isinstance(event.data, TurnEnded) for event in setting.past.events)
    deltas = DeltaLog(run, ended) if setting.stream else None

    elsewhere: set[str] = set()
    """Tasks that other processes do: those tell their subscribers what came of it."""

    def heard(event: Event) -> None:
        if deltas is not None:
            deltas.saw(event)
        if is_shared and isinstance(event.data, TaskStarted):
            elsewhere.add(event.data.task)
        is_told = is_shared and (isinstance(event.data, OF_ELEMENTS) or getattr(event.data, "task", "") in elsewhere)
        if not is_told:
            told.tell(event)
        send.send_nowait(event)

    def take_up(past: RunHistory, in_flight: Sequence[InFlightStep]) -> Driven:
        recorder, work_clock = Recorder(run, heard, clock, past), RunClock()
        files = Artifacts(setting.folder, note=recorder.record)
        if setting.folder is not None:
            setting.folder.tell = lambda *written: recorder.record(FileWritten(*written))
            for path, versions in past.written.items():
                setting.folder.wrote(path, versions)
        for (where, path), untrusted in past.origins.items():
            setting.origins.note(where, path, untrusted)
        at, paid = recorder.at, past.paid
        crew = Crew(plan, complete, clock, at, paid, run, setting.memory, work_clock, deltas, setting.around)
        crew.ended_outside = partial(ended_outside, journal, run)
        runner = TaskRunner(crew, files)
        driver = Driver(
            plan,
            runner.perform,
            recorder,
            ask=setting.ask,
            journal=journal,
            dispatcher=setting.dispatcher,
            clock=clock,
            past=past,
            in_flight=in_flight,
            work_clock=work_clock,
            notify=setting.notify,
            rehearse=setting.rehearse,
            trace=told.trace,
        )
        return Driven(driver, recorder, runner, past)

    in_flight = in_doubt(setting.in_flight, setting.past)
    driven = take_up(setting.past, in_flight)
    opened = Run(driven, take_up, journal, receive, stub, setting.past.events, is_shared=is_shared)
    await driven.driver.catch_up()
    if is_shared and await journal.cancel_requested(run):
        driven.driver.stop()  # nothing more of it is done, and its record says so
    opening: RunStarted | RunResumed | None = started
    if opening is None and not (is_shared and setting.past.status is None):
        opening = _resumed(driven.driver, in_flight, by_workers=is_shared)
    with receive:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(opened.drive, opening, send.close)
                yield opened
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None


def _resumed(driver: Driver, in_flight: Sequence[InFlightStep], *, by_workers: bool) -> RunResumed:
    done = tuple(name for name, task in driver.state.tasks.items() if task.status in ("ok", "skipped"))
    return RunResumed(done, tuple(step.path for step in in_flight), by_workers)
