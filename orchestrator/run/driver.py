"""One run from its first event to its last: drives the pure state with real work.

    next_action -> record -> submit -> a unit works -> record how it ended -> next_action ...

Where this process does the work, the worker whose unit ended records that at once and asks for the next action, so no
other task and no timer stands between the end of one task and the start of the next. Where others do it, they record
how it ended, and it is heard of here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from agents.run_context import StepKey
from orchestrator.dispatch import Dispatcher, EndedUnits
from orchestrator.dispatch.local import LocalDispatcher
from orchestrator.events import (
    BudgetReached,
    ElementStarted,
    FileUnwritten,
    GateOpened,
    RunResumed,
    RunStarted,
    TaskParked,
    TaskResumed,
    TaskStarted,
)
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import InFlightStep, Journal, JournalError
from orchestrator.run.accounts import AccountScope, CallsOfRun
from orchestrator.run.actions import Happening, next_action
from orchestrator.run.budget import open_account
from orchestrator.run.durable import Rehearse
from orchestrator.run.history import RunHistory
from orchestrator.run.questions import Ask, Asker
from orchestrator.run.recorder import Recorder
from orchestrator.run.state import RunState, units_at_work
from orchestrator.run.unit_work import Perform, UnitOutcome, UnitWork
from orchestrator.run.work_clock import RunClock
from orchestrator.squad.plan import Approval, Plan
from orchestrator.units import Unit
from providers.budgets import BudgetRef
from providers.emit import Emit, ignore
from providers.trace_context import TraceContext

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
        self._recorder = recorder
        self._journal = journal or MemoryJournal()
        self._dispatcher = dispatcher or LocalDispatcher()
        self._is_shared = dispatcher is not None
        self._clock = clock
        self._past = past = past or RunHistory()
        self._work_clock = work_clock or RunClock()
        self._work_clock.on_change = self._end_if_idle
        self._asker = Asker(self._journal, recorder, ask, past, self._work_clock, notify, flush=self.flush)
        for event in past.standing:
            self.state.apply(event.data)
        # What a resumed run has worked counts against its time; how long it lay does not.
        waited = self._work_clock.waited
        account = open_account(BudgetRef("squad"), plan.budget, clock() - past.worked_s, past.paid, waited)
        self._budgets = AccountScope((), clock, CallsOfRun(self.flush, past.sizes)).within(account)
        cut_short: defaultdict[Unit, set[StepKey]] = defaultdict(set)
        for unit, key in in_flight:
            cut_short[unit].add(key)
        self._units = UnitWork(
            self.state,
            perform,
            self._journal,
            recorder,
            self._asker,
            self._budgets,
            past,
            cut_short,
            clock,
            self._work_clock,
            stop_run=self.state.stop,
            is_stopped=lambda: self.interrupted,
            rehearse=rehearse,
            trace=trace,
        )
        self._writing = anyio.Lock()
        self._over = anyio.Event()
        self._asking = 0
        self._failure: Exception | None = None

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

    def units_at_work(self) -> Sequence[Unit]:
        """Return the units that are at work, here or elsewhere; none once the run ends: what is at work is cut off."""
        return () if self._over.is_set() else self._at_work()

    def _at_work(self) -> Sequence[Unit]:
        return [Unit(task, key, self.state.tasks[task].attempt) for task, key in units_at_work(self.state)]

    async def drive(self, opening: RunStarted | RunResumed | None = None, take_over: TakeOver | None = None) -> None:
        """Run until nothing more can happen. Cancelling it stops at once. Raises `JournalError`.

        `opening` is the run's first event, or that which takes it up again. `take_over` sees to what earlier processes
        wrote; where that cannot be, the run pauses before anything else is done.
        """
        goes_on = not self._past.is_new  # also where no process ended it: then units elsewhere went on meanwhile
        if opening is not None:
            self._record(opening)
        for lost in await take_over() if take_over is not None else ():
            self._recorder.record(lost)
            self.state.apply(lost)
        # What is at work elsewhere reports first: nothing of a run is recorded after its end.
        if self.state.stopping and not (self.state.running and (self._is_shared or self.interrupted)):
            return await self.flush()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._serve)
            if self._budgets.seconds_left() > 0:  # else others would pay for calls that are cut off at once
                if goes_on:
                    await self._take_up()
                await self._advance()
            await self._within_time(self._over.wait())
            if self.state.running and self._is_shared and self._failure is None:  # else it is for another driver to say
                await self._cut_off()
            # The dispatcher's workers wait for units, and unanswered gates for a person: neither ends by itself.
            tasks.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        return await self.flush()

    async def _cut_off(self) -> None:
        """End what is at work elsewhere, and take what ended until then."""
        try:
            await self._dispatcher.cancel(self._at_work())
            await self.catch_up()
            await self._submit(())
        except JournalError as error:
            self._break_off(error)

    async def _serve(self) -> None:
        """Have what is submitted done, here or elsewhere."""
        take, slots = self._recorder.take, self.plan.max_parallel
        try:
            await self._dispatcher.serve(self._worked_on, self._ended_elsewhere, take, slots)
        except JournalError as error:
            self._break_off(error)

    async def flush(self) -> None:
        """Let the journal have all events so far, in their order."""
        async with self._in_order():
            await self._journal.append(self._recorder.run_id, self._recorder.take())

    @asynccontextmanager
    async def _in_order(self) -> AsyncIterator[None]:
        """Let what is taken from the recorder be written in the order in which it was taken."""
        try:
            self._writing.acquire_nowait()  # no checkpoint: what happened is recorded even as the run is cancelled
        except anyio.WouldBlock:
            await self._writing.acquire()
        try:
            yield
        finally:
            self._writing.release()

    async def _submit(self, units: Sequence[Unit]) -> None:
        async with self._in_order():
            await self._dispatcher.submit(units, self._recorder.take)

    async def _take_up(self) -> None:
        """Submit what was at work once more, and ask what was open once more."""
        await self._submit(self.units_at_work())
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
        units: list[Unit] = []
        while (event := next_action(self.state)) is not None:
            self._record(event)
            units += self._act(event)
        if units:
            await self._submit(units)
        self._end_if_idle()

    def _record(self, event: Any) -> None:
        self.state.apply(event)
        task = getattr(event, "task", None)
        self._recorder.record(event, None if task is None else Unit(task))

    def _act(self, event: Happening) -> Sequence[Unit]:
        """Return the units that an event puts to work; a question is asked."""
        if isinstance(event, (TaskStarted, ElementStarted)):
            attempt = self.state.tasks[event.task].attempt
            return [Unit(event.task, event.key if isinstance(event, ElementStarted) else None, attempt)]
        if isinstance(event, GateOpened):
            self._asking += 1
            self._tasks.start_soon(self._asked, event, self._clock())
        return ()

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
            if self._over.is_set():  # too late, as for `resume_units`
                return
        if not self.state.stopping:
            self._record(answer)
            await self.flush()  # an answer is recorded before anything follows from it
        await self._advance()

    async def _worked_on(self, unit: Unit) -> None:
        try:
            await self._handle(unit)
        except JournalError as error:
            self._break_off(error)

    async def resume_units(self, units: Sequence[Unit]) -> None:
        """Put units to work again that had paused, while the run goes on. Others are left alone.

        Once the run ends, as nothing was at work, it is too late: who takes it up next puts them to work.
        """
        if self._over.is_set() or self.state.stopping:
            return
        parked = [unit for unit in units if self.state.is_parked(unit)]
        for unit in parked:
            self._record(TaskResumed(unit.task, unit.key))
        if parked:
            await self._submit(parked)

    async def catch_up(self) -> None:
        """Take how units ended elsewhere while no process drove the run."""
        self._take_ended(await self._dispatcher.left_over())

    def _take_ended(self, ended: EndedUnits) -> None:
        """Record how units ended that other processes worked on. One that is not at work had ended before."""
        for unit, outcome in ended:
            end, stops_run_as, last = UnitOutcome(*outcome)
            self._recorder.count_on(unit, last)
            if self.state.is_at_work(unit):
                self._record(end)
                if stops_run_as is not None:
                    self.state.stop(stops_run_as)

    async def _ended_elsewhere(self, ended: EndedUnits) -> None:
        try:
            self._take_ended(ended)
            await self._advance()
        except JournalError as error:
            self._break_off(error)

    async def _asked(self, gate: GateOpened, opened_at: float) -> None:
        try:
            await self._await_answer(gate, opened_at)
        except (JournalError, ValueError) as error:  # a program may answer what is no answer
            self._break_off(error)

    def _break_off(self, error: Exception) -> None:
        """End the run, as its journal fails: what is not recorded must not be done. The question stays open where a
        program's answer to it cannot be taken."""
        self._failure = self._failure or error
        self._over.set()

    async def _handle(self, unit: Unit) -> None:
        """Work on one unit and settle it."""
        run = self._recorder.run_id
        fence = await self._journal.claim(run, unit, "local")
        assert fence is not None, "a unit is submitted once"
        ended = await self._units.outcome(unit, fence)
        self._record(ended)
        if isinstance(ended, TaskParked):
            await self._journal.park(run, unit, fence, self._recorder.take())
        else:
            await self._journal.end(run, unit, fence, self._recorder.take())
        await self._advance()
