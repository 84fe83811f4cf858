"""One run from its first event to its last: drives the pure state with real work.

    next_action -> record -> submit -> a unit works -> record how it ended -> next_action ...

The worker whose unit ended records that at once and asks for the next action, so no other task and no timer stands
between the end of one task and the start of the next.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any

import anyio

from agents import RunContext
from agents.run_context import CallToApprove, Leave, StepKey, Suspended
from orchestrator.dispatch import Dispatcher
from orchestrator.dispatch.local import LocalDispatcher
from orchestrator.errors import RepeatExhausted
from orchestrator.events import (
    BudgetReached,
    ElementEnded,
    ElementStarted,
    FileUnwritten,
    GateAnswered,
    GateOpened,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskParked,
    TaskStarted,
    TaskStatus,
)
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import InFlightStep, Journal, JournalError
from orchestrator.run.accounts import AccountScope, CallsOfRun
from orchestrator.run.actions import Happening, next_action
from orchestrator.run.artifacts import FileRefused
from orchestrator.run.assignment import Assignment, UnitResult
from orchestrator.run.budget import on_exceed, open_account
from orchestrator.run.durable import DurableCalls, Rehearse
from orchestrator.run.history import RunHistory
from orchestrator.run.questions import Ask, Asker
from orchestrator.run.recorder import Recorder
from orchestrator.run.state import RunState, units_at_work
from orchestrator.run.taint import taint_of_unit, values_of
from orchestrator.run.work_clock import RunClock, UnitClock
from orchestrator.squad.elements import squad_of, squads_around
from orchestrator.squad.plan import INPUTS, Approval, Plan, TaskPlan, scoped
from orchestrator.units import StepPath, Unit
from providers.budgets import BudgetRef
from providers.emit import Emit, ignore
from providers.errors import BudgetSpent, NoRoute
from providers.trace_context import TraceContext

NONE: frozenset[StepKey] = frozenset()
Limited = Suspended | FileRefused | BudgetSpent
Perform = Callable[[TaskPlan, Assignment, RunContext], Awaitable[UnitResult]]
"""Does one unit's work: `TaskRunner.perform`, or a test's function."""
TakeOver = Callable[[], Awaitable[Sequence[FileUnwritten]]]
"""Sees to the files of earlier processes, and returns those that cannot be written."""


class Driver:
    """Drives one plan to its verdict. Everything that acts is handed in."""

    def __init__(
        self,
        plan: Plan,
        perform: Perform,
        recorder: Recorder,
        *,
        ask: Ask,
        journal: Journal | None = None,
        dispatcher: Dispatcher | None = None,
        clock: Callable[[], float] = time.time,
        past: RunHistory | None = None,
        in_flight: Collection[InFlightStep] = (),
        work_clock: RunClock | None = None,
        notify: Emit = ignore,
        rehearse: Rehearse | None = None,
        trace: TraceContext | None = None,
    ) -> None:
        self.plan = plan
        self.state = RunState(plan)
        self.interrupted = False
        self._perform = perform
        self._rehearse, self._trace = rehearse, trace
        self._recorder = recorder
        self._journal = journal or MemoryJournal()
        self._dispatcher = dispatcher or LocalDispatcher()
        self._clock = clock
        self._past = past = past or RunHistory()
        self._work_clock = work_clock or RunClock()
        self._work_clock.on_change = self._end_if_idle
        self._asker = Asker(self._journal, recorder, ask, past, self._work_clock, notify)
        for event in past.standing:
            self.state.apply(event.data)
        # What a resumed run has worked counts against its time; how long it lay does not.
        waited = self._work_clock.waited
        account = open_account(BudgetRef("squad"), plan.budget, clock() - past.worked_s, past.paid, waited)
        self._budgets = AccountScope((), clock, CallsOfRun(self.flush, past.sizes)).within(account)
        self._cut_short: defaultdict[Unit, set[StepKey]] = defaultdict(set)
        for unit, key in in_flight:
            self._cut_short[unit].add(key)
        self._began: dict[tuple[str, int], float] = {}
        """When the first unit of a sub-squad was put to work, each time that it is tried."""
        self._over = anyio.Event()
        self._asking = 0
        self._failure: JournalError | None = None

    def stop(self) -> None:
        """Start nothing more; calls in flight end and are recorded, then the run ends as cancelled."""
        self.interrupted = True
        self.state.stop("cancelled")
        self._end_if_idle()

    def run_out_of_time(self) -> None:
        """End the run now, as its squad's own time is up."""
        budget = self.plan.budget
        assert budget is not None, "only a budget limits the run's time"
        worked = (budget.max_time or 0.0) - self._budgets.seconds_left()
        self._recorder.record(BudgetReached("squad", "max_time", budget.on_exceed, worked, budget.max_time))
        self.state.stop("paused" if budget.on_exceed == "pause" else "stopped")
        self._over.set()

    def done(self) -> tuple[str, ...]:
        """Return the tasks of which nothing is left to be done."""
        return tuple(name for name, task in self.state.tasks.items() if task.status in ("ok", "skipped"))

    async def drive(self, opening: RunStarted | RunResumed | None = None, take_over: TakeOver | None = None) -> None:
        """Run until nothing more can happen. Cancelling it stops at once. Raises `JournalError`.

        `opening` is the run's first event, or that which takes it up again. `take_over` sees to what earlier processes
        wrote; where that cannot be, the run pauses before anything else is done.
        """
        if opening is not None:
            self._record(opening)
        for lost in await take_over() if take_over is not None else ():
            self._recorder.record(lost)
            self.state.apply(lost)
        if self.state.stopping:
            return await self.flush()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._dispatcher.serve, self._worked_on, self.plan.max_parallel)
            if isinstance(opening, RunResumed):
                await self._take_up()
            await self._advance()
            await self._within_time(self._over.wait())
            # The dispatcher's workers wait for units, and unanswered gates for a person: neither ends by itself.
            tasks.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        return await self.flush()

    async def flush(self) -> None:
        """Let the journal have all events so far."""
        await self._journal.append(self._recorder.run_id, self._recorder.take())

    async def _take_up(self) -> None:
        """Submit what was at work once more, and ask what was open once more."""
        for task, key in list(units_at_work(self.state)):
            await self._dispatcher.submit(Unit(task, key, self.state.tasks[task].attempt))
        for task in [task for task in self.state.waiting if task in self._past.gates]:
            gate = self._past.gates[task]
            self._asking += 1
            self._tasks.start_soon(self._asked, gate.opened, gate.at)

    async def _within_time(self, over: Awaitable[None]) -> None:
        """Wait for the end; when the squad's own time is up, what is at work is cut off."""
        with self._work_clock.limit(self._budgets.seconds_left) as scope:
            await over
        if scope.cancelled_caught:
            self.run_out_of_time()

    async def _advance(self) -> None:
        """Let everything happen that may happen now."""
        while (event := next_action(self.state)) is not None:
            self._record(event)
            await self._act(event)
        self._end_if_idle()

    def _record(self, event: Any) -> None:
        self.state.apply(event)
        task = getattr(event, "task", None)
        self._recorder.record(event, None if task is None else Unit(task))

    async def _act(self, event: Happening) -> None:
        if isinstance(event, (TaskStarted, ElementStarted)):
            attempt = self.state.tasks[event.task].attempt
            key = event.key if isinstance(event, ElementStarted) else None
            await self._dispatcher.submit(Unit(event.task, key, attempt))
        elif isinstance(event, GateOpened):
            self._asking += 1
            self._tasks.start_soon(self._asked, event, self._clock())

    def _end_if_idle(self) -> None:
        """End the run where nothing can go on, and suspend the units that keep it from that, as they wait for people.

        They are suspended too where another one needs their slot.
        """
        asked, waiting = self._asking + self._asker.here, self._work_clock.waiting
        if self.state.running == 0 and (asked == 0 or self.state.stopping):
            self._over.set()
        elif waiting and (self.state.stopping or (asked == 0 and waiting == self.state.running) or self._is_crowded()):
            self._asker.release()

    def _is_crowded(self) -> bool:
        """Return whether something could start that has no slot."""
        if self.state.ready or self.state.running > self.plan.max_parallel:  # a resumed run may hold more than it takes
            return True
        return any(self.state.elements_of(task).pending for task in self.state.fanned)

    async def _await_answer(self, gate: GateOpened, opened_at: float) -> None:
        """Ask, and wait no longer than the gate allows. Unanswered, the run parks once nothing else can go on.

        As long as something else is at work, an answer from outside still counts.
        """
        plan = self.state.plan.tasks[gate.task].work
        assert isinstance(plan, Approval)
        answer = await self._asker.gate(gate, plan, opened_at, self._clock())
        # From here on the gate no longer keeps the run open: with nothing else at work the run ends as waiting, and its
        # process is free. While other work goes on, an answer from another process is still taken.
        self._asking -= 1
        if answer is None:
            await self._advance()
            answer = await self._asker.later(gate, plan, opened_at, self._clock())
        if not self.state.stopping:
            self._record(answer)
            await self.flush()  # an answer is recorded before anything follows from it
        await self._advance()

    async def _worked_on(self, unit: Unit) -> None:
        try:
            await self._handle(unit)
        except JournalError as error:
            self._break_off(error)

    async def _asked(self, gate: GateOpened, opened_at: float) -> None:
        try:
            await self._await_answer(gate, opened_at)
        except JournalError as error:
            self._break_off(error)

    def _break_off(self, error: JournalError) -> None:
        """End the run, as its journal fails: what is not recorded must not be done."""
        self._failure = self._failure or error
        self._over.set()

    async def _handle(self, unit: Unit) -> None:
        """Work on one unit and settle it."""
        run, task = self._recorder.run_id, self.state.plan.tasks[unit.task]
        fence = await self._journal.claim(run, unit, "local")
        assert fence is not None, "a unit is submitted once"
        ended: TaskEnded | ElementEnded | TaskParked
        try:
            with self._work_clock.unit() as clock:
                given, ctx = self._assignment(unit, clock), self._context(unit, fence, clock)
                ended = await settled(unit, self._perform(task, given, ctx))
        except (Suspended, FileRefused, BudgetSpent) as error:
            ended = self._limited(unit, error)
        except NoRoute as error:
            ended = self._penniless(unit, error)
        self._record(ended)
        if isinstance(ended, TaskParked):
            await self._journal.park(run, unit, fence, self._recorder.take())
        else:
            await self._journal.end(run, unit, fence, self._recorder.take())
        await self._advance()

    def _assignment(self, unit: Unit, clock: UnitClock) -> Assignment:
        async def ask(gate: GateOpened, step: StepPath, what: str) -> GateAnswered:
            return await self._asker.within(unit, step, gate, clock, what)

        own, tried = self.state.tasks[unit.task], self._past.tried.get(unit, 0)
        taint = taint_of_unit(self.state, unit)
        limits = tuple(self._time_limits(self.state.plan.tasks[unit.task].squad))
        return Assignment(unit, values_of(self.state, unit), own.comments, tried, ask, clock, taint, limits)

    def _time_limits(self, squad: str | None) -> Iterator[tuple[str, float, float]]:
        """Yield the sub-squads around a unit that may take only so long, and the seconds of work that each has left.

        Time counts from the first unit of it that this process works on, as it does for a task.
        """
        worked = self._clock() - self._work_clock.waited()
        for scope in squads_around(squad):
            if (most := squad_of(self.plan, scope).timeout) is not None:
                began = self._began.setdefault((scope, self.state.tasks[scoped(scope, INPUTS)].attempt), worked)
                yield f"the sub-squad {scope}", most, began + most - worked

    def _context(self, unit: Unit, fence: int, clock: UnitClock) -> RunContext:
        cut_short = frozenset(self._cut_short[unit]) if self._cut_short else NONE
        calls = DurableCalls(
            self._journal,
            self._recorder,
            unit,
            fence,
            clock,
            cut_short,
            lambda: self.interrupted,
            self._rehearse,
            self._trace,
        )

        async def approve(call: CallToApprove) -> Leave:
            return await self._asker.leave(unit, call, clock, self.plan.tool_sources.get(call.tool, ""))

        emit = self._recorder.at(unit)
        return RunContext(emit=emit, do=calls.do, budgets=self._budgets, approve=approve, cut_short=cut_short)

    def _limited(self, unit: Unit, error: Limited) -> TaskEnded | ElementEnded | TaskParked:
        if isinstance(error, FileRefused):
            return TaskParked(unit.task, unit.key, str(error), "cancelled" if self.interrupted else "paused", "file")
        if isinstance(error, Suspended):
            return TaskParked(unit.task, unit.key, error.reason, "cancelled" if self.interrupted else None)
        action = on_exceed(self.plan, error.budget)
        self._recorder.record(BudgetReached.by(error, action), unit)
        if action == "pause":
            return TaskParked(unit.task, unit.key, str(error), "paused")
        if error.budget.kind == "squad":
            self.state.stop("stopped")
        return _failed(unit, error)

    def _penniless(self, unit: Unit, error: NoRoute) -> TaskParked:
        """Wait for another day: what is spent on this one is no fault of the task's."""
        self._recorder.record(BudgetReached("day", "max_cost", "pause"), unit)
        return TaskParked(unit.task, unit.key, str(error), "paused")


async def settled(unit: Unit, work: Awaitable[UnitResult]) -> TaskEnded | ElementEnded:
    """Do a unit's work and return how it ended. The task boundary: whatever the work raises ends the task, not the run.

    Raised again is what it does not end by: `Suspended`, a refused file, a spent budget, a journal that fails.
    """
    try:
        return _well(unit, await work)
    except (Suspended, FileRefused, BudgetSpent, JournalError):
        raise
    except NoRoute as error:
        if error.over_budget:
            raise
        return _failed(unit, error)
    except Exception as error:  # noqa: BLE001  # the task boundary
        return _failed(unit, error)


def _well(unit: Unit, done: UnitResult) -> TaskEnded | ElementEnded:
    return _ended(unit, "ok", done)


def _failed(unit: Unit, error: Exception) -> TaskEnded | ElementEnded:
    kept: UnitResult | None = error.last if isinstance(error, RepeatExhausted) else None
    text, kind = str(error) or type(error).__name__, type(error).__name__
    return _ended(unit, "failed", kept or UnitResult(None, ""), error=text, error_kind=kind)


def _ended(unit: Unit, status: TaskStatus, done: UnitResult, **more: str) -> TaskEnded | ElementEnded:
    told: dict[str, Any] = {"truncated": done.truncated, "transcript": done.transcript, **more}
    if done.untrusted:
        told["untrusted"] = done.untrusted
    if unit.key is not None:
        return ElementEnded(unit.task, unit.key, status, done.output, **told)
    return TaskEnded(unit.task, status, done.output, done.output_file, **told)
