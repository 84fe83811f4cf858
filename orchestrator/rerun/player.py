"""A record played to the code that made it: nobody is asked, nothing is written, time is the record's.

The code is driven event by event. What happened inside a step is told out of the record; what the code itself says must
be the next event of the record, byte for byte. So it ends equal, or at the first difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, cast

import anyio
import anyio.lowlevel

from agents import RunContext
from agents.turn import StepKey
from orchestrator.dispatch import Handler
from orchestrator.dispatch.local import LocalDispatcher
from orchestrator.errors import CannotWrite
from orchestrator.events import (
    ArtifactWritten,
    ElementEnded,
    Event,
    GateAnswered,
    GateOpened,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskParked,
)
from orchestrator.journal.codec import pack
from orchestrator.journal.protocols import Fence, Go, Journal, Recorded, StepRecord
from orchestrator.rerun.record import Part, Place, StepAt, failure_at, stand_in
from orchestrator.run.driver import Driver, Recorder, result_of
from orchestrator.run.history import history_of
from orchestrator.run.worker import SAID, Assignment, Suspended, TaskRunner, UnitResult
from orchestrator.squad.plan import Approval, Budget, Plan, Steps, TaskPlan
from orchestrator.units import Unit
from providers.messages import Request, Response

DECISION = "a decision of the run"
FLUSH = "a record of what was said"
MOST_UNITS = 1 << 30
PATIENCE = 20
"""Rounds of the event loop in which a replay in which everything waits may still move."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a replay departs from the record, after `number` equal events.

    `step` is set where a step asks for something else than was recorded: `request` is what it asks for now, None where
    that is not a model's request.
    """

    number: int
    recorded: Event | None
    replayed: Event | None
    step: StepAt | None = None
    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """What a replay is answered from: the steps of a run, and the part of its record in which each one ended."""

    run: str
    steps: Mapping[StepAt, StepRecord]
    ended_in: Mapping[StepAt, int] = field(default_factory=dict)
    stub: bool = False


@dataclass(eq=False, slots=True)
class _Waiter:
    """Code that waits for its turn. `key` is the step that it waits for; None: it has nothing to be answered."""

    key: StepAt | None = None
    woken: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: Exception | None = None


class _Dry(TaskRunner):
    """A crew whose files stay in memory. A disk that failed is in the record."""

    failed: Callable[[], str | None]
    turn: Callable[[Unit], Awaitable[Any]]

    async def _write(self, path: str, text: str, unit: Unit, ctx: RunContext) -> None:
        # A disk takes its time, and other units go on meanwhile: the record says when the file was there.
        await self.turn(unit)
        await super()._write(path, text, unit, ctx)

    async def _put(self, written: ArtifactWritten, data: bytes) -> None:
        if (text := self.failed()) is not None:
            raise stand_in(CannotWrite, "CannotWrite", text)
        await super()._put(written, data)


class _Wide(LocalDispatcher):
    """A dispatcher with a worker for every unit: whose turn it is says the record."""

    async def serve(self, handler: Handler, slots: int) -> None:  # noqa: ARG002  # as many as there are units
        await super().serve(handler, MOST_UNITS)


class Player:
    """One part of a record being played to the code that made it.

    It is the run's journal, its clock, whoever is asked, and its listener. `target`: the step whose request is wanted;
    the part is played as far as that, and then `request` is there.
    """

    def __init__(self, part: Part, number: int, plan: Plan, answers: Answers, target: StepAt | None = None) -> None:
        self.equal = 0
        self.difference: Difference | None = None
        self.request: Request | None = None
        self.artifacts: Mapping[str, str] = {}
        self._part, self._number, self._target = part, number, target
        self._plan, self._answers = _untimed(plan), answers
        self._stopped_after = part.stopped_after
        self._over = anyio.Event()
        self._begun: set[StepAt] = set()
        self._waiting: defaultdict[Hashable, list[_Waiter]] = defaultdict(list)
        self._telling = False
        self._captured: StepAt | None = None
        """The step whose request is being made: what is said meanwhile does not count."""

    async def play(self) -> None:
        """Run the code until the part is over, or departs from the record."""
        past = history_of(self._part.before)
        self._recorder = recorder = Recorder(self._answers.run, self._heard, self._next_at, past)
        crew = _Dry(
            self._plan, self, self._ask, self._now, recorder.at, paid=past.paid, pause=_no_pause, run=self._answers.run
        )
        crew.failed, crew.turn = self._unwritten, self._turn
        for unit, written in past.artifacts.values():
            await crew.take_over(unit, written)
        self._driver = driver = Driver(
            self._plan,
            partial(self._perform, crew),
            recorder,
            ask=self._ask,
            journal=cast(Journal, self),
            dispatcher=_Wide(),
            clock=self._now,
            past=past,
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            tasks.start_soon(self._drive, driver, recorder, crew)
            await self._over.wait()
            tasks.cancel_scope.cancel()
        self.artifacts = crew.artifacts

    async def _drive(self, driver: Driver, recorder: Recorder, crew: TaskRunner) -> None:
        await driver.drive(self._opening(driver))
        result_of(driver, recorder, stub=self._answers.stub, crew=crew)
        self._over.set()

    def _opening(self, driver: Driver) -> RunStarted | RunResumed:
        """Return what the process said first: what it found around it is the record's, the rest the code's."""
        recorded = self._part.places[0].event.data
        if isinstance(recorded, RunStarted):
            return RunStarted(self._plan.name, tuple(self._plan.tasks), recorded.stub, recorded.out)
        assert isinstance(recorded, RunResumed), "a part begins with how its process began"
        return replace(recorded, done=driver.done())

    # -- the listener and the clock

    def _heard(self, event: Event) -> None:
        """Compare what was said with what was recorded."""
        if self._captured is not None or self._over.is_set():
            return
        places = self._part.places
        if self.equal == len(places):
            if self._part.finished is not None:
                self._differ(None, event)
            return  # said, and never recorded: its process was killed first
        recorded = places[self.equal].event
        if not _same(recorded, event):
            self._differ(recorded, event)
            return
        self.equal += 1
        self._go_on()

    def _differ(
        self,
        recorded: Event | None,
        replayed: Event | None,
        step: StepAt | None = None,
        request: Request | None = None,
    ) -> None:
        number = len(self._part.before) + self.equal
        self.difference = self.difference or Difference(number, recorded, replayed, step, request)
        self._over.set()

    def _next_at(self) -> float:
        """Return when the event that is said now was said."""
        places = self._part.places
        return places[min(self.equal, len(places) - 1)].event.at

    def _now(self) -> float:
        return self._part.places[max(self.equal - 1, 0)].event.at

    # -- whose turn it is

    def _go_on(self) -> None:
        """Tell what happened inside steps that were begun, then wake whoever says the next event."""
        if self._telling:
            return
        self._telling = True
        places, begun = self._part.places, self._begun
        while self.equal < len(places) and not self._over.is_set():
            place = places[self.equal]
            if place.at not in begun and not place.is_chance:
                break
            self._recorder.record(place.event.data, place.event.unit, place.event.step)
        self._telling = False
        if self._stopped_after is not None and self.equal >= self._stopped_after:
            self._driver.state.stop("cancelled")
        if self.equal < len(places):
            self._wake(places[self.equal])
        elif self._part.finished is None:
            self._over.set()

    def _wake(self, place: Place) -> None:
        data = place.event.data
        if isinstance(data, TaskParked) and data.ends_run_as == "cancelled":
            self._driver.interrupted = True
        if place.unit is not None:
            self._wake_unit(place.unit, place)
        elif isinstance(data, GateAnswered):
            self._release(FLUSH)
            self._release(_Gate(data.task))
        elif place.is_decision:
            self._release(FLUSH)
            self._release(DECISION)
            if self._is_last():
                for topic in [topic for topic in self._waiting if isinstance(topic, _Gate)]:
                    self._release(topic)  # nobody answered
        elif not isinstance(data, RunStarted | RunResumed):
            self._driver.run_out_of_time()

    def _is_last(self) -> bool:
        return self._part.finished is not None and self.equal == len(self._part.places) - 1

    def _release(self, topic: Hashable) -> None:
        for waiter in self._waiting.pop(topic, ()):
            waiter.woken.set()

    def _wake_unit(self, unit: Unit, place: Place) -> None:
        """Wake the unit's code where it can be answered. A person's word comes last: nothing tells when it came."""
        waiting = self._waiting.get(unit, [])
        ready = [waiter for waiter in waiting if waiter.key is None or self._has_ended(waiter)]
        spoken = [waiter for waiter in waiting if waiter.key is not None and _is_spoken(waiter.key)]
        if isinstance(place.event.data, TaskParked) or not ready:
            ready = [*ready, *(waiter for waiter in spoken if self._is_answered(waiter, place))]
        if not ready:
            ready = self._failed(waiting, place)
        for waiter in ready:
            waiting.remove(waiter)
            waiter.woken.set()

    def _has_ended(self, waiter: _Waiter) -> bool:
        """Whether the step's result was there by now. Then the waiter has it."""
        assert waiter.key is not None
        step, span = self._answers.steps.get(waiter.key), self._part.spans.get(waiter.key)
        if step is None or not step.done or (span is not None and span.last >= self.equal):
            return False
        waiter.result = step.result
        if _is_spoken(waiter.key):
            return False  # no event tells when
        return self._answers.ended_in.get(waiter.key, self._number) <= self._number  # else it was taken over

    def _is_answered(self, waiter: _Waiter, place: Place) -> bool:
        assert waiter.key is not None
        step = self._answers.steps.get(waiter.key)
        if isinstance(place.event.data, TaskParked):
            waiter.error = Suspended(place.event.data.reason)
            return True
        waiter.result = None if step is None else step.result
        return step is not None and step.done

    def _failed(self, waiting: Sequence[_Waiter], place: Place) -> list[_Waiter]:
        """Return the step that failed, with its error, where the unit's next event says that one did."""
        data = place.event.data
        for waiter in waiting:
            span = None if waiter.key is None else self._part.spans.get(waiter.key)
            if waiter.key is None or (span is not None and span.last >= self.equal):
                continue
            if isinstance(data, TaskParked):
                waiter.error = Suspended(data.reason)
            else:
                waiter.error = failure_at(self._part, self.equal, self._causes(waiter.key.unit))
            if waiter.error is not None:
                return [waiter]
        return []

    def _causes(self, unit: Unit) -> frozenset[Any]:
        task = self._plan.tasks.get(unit.task)
        return frozenset() if task is None else task.retry.on

    async def _turn(self, topic: Hashable, key: StepAt | None = None) -> _Waiter:
        """Wait until the record has come to what the caller says next."""
        waiter = _Waiter(key)
        self._waiting[topic].append(waiter)
        self._go_on()
        try:
            await waiter.woken.wait()
        finally:
            if waiter in self._waiting.get(topic, ()):
                self._waiting[topic].remove(waiter)
        return waiter

    async def _watch(self) -> None:
        """Notice where the code waits for ever: what was recorded does not come."""
        while True:
            before = (self.equal, len(self._begun))
            for _ in range(PATIENCE):
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            if before == (self.equal, len(self._begun)) and self.equal < len(self._part.places):
                self._differ(self._part.places[self.equal].event, None)

    # -- what surrounds a unit

    async def _perform(self, crew: TaskRunner, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        """Do the unit's work, and let it end when it ended."""
        try:
            done = await crew.perform(task, given, ctx)
        except Exception:
            await self._turn(given.unit)
            raise
        await self._turn(given.unit)
        return done

    def _unwritten(self) -> str | None:
        """Return why the file that is written now could not be."""
        match self._part.places[min(self.equal, len(self._part.places) - 1)].event.data:
            case TaskEnded(error=str(text), error_kind="CannotWrite"):
                return text
            case ElementEnded(error=str(text), error_kind="CannotWrite"):
                return text
        return None

    async def _ask(self, gate: GateOpened) -> GateAnswered | None:
        """Answer a gate as it was answered."""
        await self._turn(_Gate(gate.task))
        data = self._part.places[self.equal].event.data
        return data if isinstance(data, GateAnswered) and data.task == gate.task else None

    async def complete(self, request: Request, **_: Any) -> Response:
        """Take the request of the step that is looked for."""
        self.request = request
        if self._target is None:
            self._differ(None, None, self._captured, request)
        self._over.set()
        await anyio.sleep_forever()
        raise AssertionError("it was cancelled")

    # -- the journal

    async def claim(self, *_: Any) -> Fence:
        return 1

    async def begin(self, run: str, unit: Unit, key: StepKey, request_hash: bytes, *_: Any) -> Recorded | Go:  # noqa: ARG002
        at = StepAt(unit, key)
        step = self._answers.steps.get(at)
        changed = step is not None and step.request_hash != request_hash
        if changed or at == self._target:
            return await self._capture(at, changed=changed)
        self._begun.add(at)
        waiter = await self._turn(unit, at)
        if waiter.error is not None:
            raise waiter.error
        return Recorded(waiter.result)

    async def _capture(self, key: StepAt, *, changed: bool) -> Go:
        """Let the step make its request, which goes no further than `complete`."""
        if changed and (self._target == key or key.key.call != "model"):
            self._differ(None, None, key)
            await anyio.sleep_forever()
        self._captured = key
        return Go(1)

    async def end(self, *_: Any) -> None:
        await self._turn(DECISION)

    async def park(self, *_: Any) -> None:
        await self._turn(DECISION)

    async def append(self, *_: Any) -> None:
        await self._turn(FLUSH)

    async def signals(self, *_: Any) -> Sequence[tuple[str, Any]]:
        """Let nobody be heard from outside: `_ask` knows all answers."""
        await anyio.sleep_forever()
        raise AssertionError("it was cancelled")


def _same(one: Event, other: Event) -> bool:
    return one[:6] == other[:6] and (one.data is other.data or pack(one.data).data == pack(other.data).data)


class _Gate(NamedTuple):
    """What code waits for that asks a person."""

    task: str


def _is_spoken(key: StepAt) -> bool:
    return key.key.call == SAID


async def _no_pause(seconds: float) -> None:  # noqa: ARG001  # time is the record's
    await anyio.lowlevel.checkpoint()


def _untimed(plan: Plan) -> Plan:
    """Return the plan without limits of time: whether one was reached is recorded."""
    return replace(
        plan,
        budget=_without_time(plan.budget or Budget()),
        tasks={name: _patient(task) for name, task in plan.tasks.items()},
        agents={name: replace(agent, budget=_without_time(agent.budget)) for name, agent in plan.agents.items()},
        conversations={
            name: replace(held, budget=_without_time(held.budget)) for name, held in plan.conversations.items()
        },
    )


def _without_time(budget: Budget | None) -> Budget | None:
    return None if budget is None else replace(budget, max_time=None)


def _patient(task: TaskPlan) -> TaskPlan:
    work = task.work
    if isinstance(work, Steps):
        work = Steps(tuple(replace(step, timeout=None) for step in work.steps))
    elif isinstance(work, Approval):
        work = replace(work, timeout=None)
    return replace(task, work=work, timeout=None, budget=_without_time(task.budget))
