"""The work of a run's units, in whichever process: what a unit is given, what records its calls, and how it ends.

The process that drives the run may do the work itself, or leave it to workers elsewhere: both do it by this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents import RunContext
from agents.run_context import CallToApprove, Leave, StepKey, Suspended
from orchestrator.errors import RepeatExhausted
from orchestrator.events import (
    BudgetReached,
    ElementEnded,
    GateAnswered,
    GateOpened,
    RunStatus,
    TaskEnded,
    TaskParked,
    TaskStatus,
)
from orchestrator.journal.protocols import Journal, JournalError
from orchestrator.run.accounts import AccountScope
from orchestrator.run.artifacts import FileRefused
from orchestrator.run.assignment import Assignment, UnitResult
from orchestrator.run.budget import on_exceed
from orchestrator.run.durable import DurableCalls, HandedOver, Rehearse
from orchestrator.run.history import RunHistory
from orchestrator.run.questions import Asker
from orchestrator.run.recorder import Recorder
from orchestrator.run.state import RunState
from orchestrator.run.taint import taint_of_unit, values_of
from orchestrator.run.work_clock import RunClock, UnitClock
from orchestrator.squad.elements import squad_of, squads_around
from orchestrator.squad.plan import INPUTS, TaskPlan, scoped
from orchestrator.units import StepPath, Unit
from providers.errors import BudgetSpent, NoRoute
from providers.trace_context import TraceContext

NONE: frozenset[StepKey] = frozenset()
Limited = Suspended | FileRefused | BudgetSpent
UnitEnd = TaskEnded | ElementEnded | TaskParked


class UnitOutcome(NamedTuple):
    """How the work of a unit ended in another process than the one that drives its run, and whether the run ends by it.

    `last` is the number of the last event that was recorded there of the unit itself: that of its end comes after it.
    """

    end: UnitEnd
    stops_run_as: RunStatus | None = None
    last: int = 0


Perform = Callable[[TaskPlan, Assignment, RunContext], Awaitable[UnitResult]]
"""Does one unit's work: `TaskRunner.perform`, or a test's function."""


@dataclass(slots=True)
class UnitWork:
    """Does units of one run. `state` is the run's, as far as it is known here."""

    state: RunState
    perform: Perform
    journal: Journal
    recorder: Recorder
    asker: Asker
    budgets: AccountScope
    past: RunHistory
    cut_short: Mapping[Unit, Collection[StepKey]]
    """By unit: the calls that were in flight when an earlier process ended."""
    clock: Callable[[], float]
    work_clock: RunClock
    stop_run: Callable[[RunStatus], None]
    """Is told where a unit ends the run by what it has spent."""
    is_stopped: Callable[[], bool]
    """Whether the run is to stop: then no call begins any more."""
    is_handed_over: Callable[[], bool] = lambda: False
    """Whether another process is to go on with the work: then no call begins here any more."""
    rehearse: Rehearse | None = None
    trace: TraceContext | None = None
    _began: dict[tuple[str, int], float] = field(default_factory=dict)
    """When the first unit of a sub-squad was put to work here, each time that it is tried."""

    async def outcome(self, unit: Unit, fence: int) -> UnitEnd:
        """Do a unit's work, and return how it ended, which is for the caller to record. Raises `JournalError`, and
        `HandedOver` where it has not ended, and another process is to go on with it."""
        task = self.state.plan.tasks[unit.task]
        try:
            with self.work_clock.unit() as clock:
                given, ctx = self._assignment(unit, clock), self._context(unit, fence, clock)
                return await settled(unit, self.perform(task, given, ctx))
        except HandedOver:
            raise
        except (Suspended, FileRefused, BudgetSpent) as error:
            return self._limited(unit, error)
        except NoRoute as error:
            return self._penniless(unit, error)

    def _assignment(self, unit: Unit, clock: UnitClock) -> Assignment:
        async def ask(gate: GateOpened, step: StepPath, what: str) -> GateAnswered:
            return await self.asker.within(unit, step, gate, clock, what)

        own, tried = self.state.tasks[unit.task], self.past.tried.get(unit, 0)
        taint = taint_of_unit(self.state, unit)
        limits = tuple(self._time_limits(self.state.plan.tasks[unit.task].squad))
        return Assignment(unit, values_of(self.state, unit), own.review_of(unit.key), tried, ask, clock, taint, limits)

    def _time_limits(self, squad: str | None) -> Iterator[tuple[str, float, float]]:
        """Yield the sub-squads around a unit that may take only so long, and the seconds of work that each has left.

        Time counts from the first unit of it that this process works on, as it does for a task.
        """
        worked = self.clock() - self.work_clock.waited()
        for scope in squads_around(squad):
            if (most := squad_of(self.state.plan, scope).timeout) is not None:
                began = self._began.setdefault((scope, self.state.tasks[scoped(scope, INPUTS)].attempt), worked)
                yield f"the sub-squad {scope}", most, began + most - worked

    def _context(self, unit: Unit, fence: int, clock: UnitClock) -> RunContext:
        cut_short = frozenset(self.cut_short.get(unit, NONE)) if self.cut_short else NONE
        calls = DurableCalls(
            self.journal,
            self.recorder,
            unit,
            fence,
            clock,
            cut_short,
            self.is_stopped,
            self.is_handed_over,
            self.rehearse,
            self.trace,
        )

        async def approve(call: CallToApprove) -> Leave:
            source = self.state.plan.tool_sources.get(call.tool, "")
            return await self.asker.leave(unit, call, clock, source)

        emit = self.recorder.at(unit)
        return RunContext(emit=emit, do=calls.do, budgets=self.budgets, approve=approve, cut_short=cut_short)

    def _limited(self, unit: Unit, error: Limited) -> UnitEnd:
        if isinstance(error, FileRefused):
            return TaskParked(unit.task, unit.key, str(error), "cancelled" if self.is_stopped() else "paused", "file")
        if isinstance(error, Suspended):
            return TaskParked(unit.task, unit.key, error.reason, "cancelled" if self.is_stopped() else None)
        action = on_exceed(self.state.plan, error.budget)
        self.recorder.record(BudgetReached.by(error, action), unit)
        if action == "pause":
            return TaskParked(unit.task, unit.key, str(error), "paused")
        if error.budget.kind == "squad":
            self.stop_run("stopped")
        return _failed(unit, error)

    def _penniless(self, unit: Unit, error: NoRoute) -> TaskParked:
        """Wait for another day: what is spent on this one is no fault of the task's."""
        self.recorder.record(BudgetReached("day", "max_cost", "pause"), unit)
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
