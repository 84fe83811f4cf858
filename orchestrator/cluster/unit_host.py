"""Work on the units of one run, in a process that does not drive it: opened once for all of them.

What the run has come to is read from its journal, before each unit what has happened since. So many processes may work
on one run, and none holds anything that another one needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio

from agents.run_context import Complete, Surroundings
from agents.run_folder import RunFolder, origins_of
from orchestrator.cluster.claiming import taken_over
from orchestrator.errors import RunChanged
from orchestrator.events import Event, RunEdited, RunFinished, RunForked, RunResumed, RunStatus, TaskParked
from orchestrator.execution import in_doubt
from orchestrator.journal.protocols import Fence, JournalError, RunManifest, SharedJournal
from orchestrator.mcp_tools import mcp_opened
from orchestrator.options import RunOptions, capped, leave_unanswered, steady
from orchestrator.out_folder import builtin_tools, run_folder
from orchestrator.rerun.fingerprint import changed, parts_of
from orchestrator.run.accounts import AccountScope
from orchestrator.run.artifacts import Artifacts
from orchestrator.run.budget import has_caps
from orchestrator.run.crew import Crew
from orchestrator.run.ended_outside import ended_outside
from orchestrator.run.history import RunHistory, standing
from orchestrator.run.memory import MemorySetting, RunMemory, open_memory
from orchestrator.run.questions import Asker
from orchestrator.run.recorder import Recorder
from orchestrator.run.shared_calls import SharedCalls
from orchestrator.run.state import FOLDED, RunState
from orchestrator.run.unit_accounts import OpenShared
from orchestrator.run.unit_work import UnitOutcome, UnitWork
from orchestrator.run.work_clock import RunClock
from orchestrator.run.worker import TaskRunner
from orchestrator.run_opening import check_tools, open_providers
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Plan
from orchestrator.squad.sources import definitions_in
from orchestrator.subscribers import NOBODY, Listeners, subject_of, subscribed
from orchestrator.units import Unit
from providers.budgets import BudgetRef
from providers.emit import Emit

SquadOf = Callable[[RunManifest], Squad]
"""Returns the squad that a run is recorded to be made of."""


class HostOutdated(Exception):
    """The run is made of something else by now than what this host was opened for."""


@dataclass(slots=True)
class UnitHost:
    """Works on units of the run `run`."""

    run: str
    manifest: RunManifest
    plan: Plan
    complete: Complete
    journal: SharedJournal
    clock: Callable[[], float]
    notify: Emit
    around: Surroundings
    memory: RunMemory | None = None
    folder: RunFolder | None = None
    told: Listeners = NOBODY
    """Those who are told of its units' work."""
    calls: SharedCalls | None = None
    """Those that draw on caps together with other processes; None: nothing of the run is capped."""
    is_cancelled: bool = False
    _state: RunState = field(init=False)
    _seq: int = 0
    """The number of the last event that the state has."""
    _is_over: bool = False
    _took_over: bool = False
    """Whether the run has taken over work of another one, or of what it was before."""
    _is_renamed: bool = False
    """Whether an edit gave a task another name."""
    _looking: anyio.Lock = field(default_factory=anyio.Lock)
    _looks_asked: int = 0
    _looks_done: int = 0

    def __post_init__(self) -> None:
        self._state = RunState(self.plan)

    async def work(self, unit: Unit, owner: str, is_handed_over: Callable[[], bool] = lambda: False) -> None:
        """Work on the unit, unless it is not at work by now, and report how it ended.

        Raises `JournalError`, `Fenced` where another process has the unit; `HandedOver` where this one is to stop, and
        the unit goes on elsewhere; and `HostOutdated` before anything is done.
        """
        await self._catch_up()
        if self._is_over or not self._state.is_at_work(unit):
            return
        fence = await self.journal.claim(self.run, unit, owner)
        if fence is None or (fence > 1 and await self._has_paused(unit)):
            return
        # Of one element all that is recorded without a claim is what a fork or an edit took over.
        is_new = unit.key is not None and not self._took_over
        recorded = self._recorded if self._is_renamed else None
        # Read after the claim: from then on no earlier owner adds to it.
        past, recorder = await taken_over(
            self.journal, self.run, unit, fence, self.clock, self.told.tell, is_new=is_new, recorded=recorded
        )
        async with self._budgets(unit, fence, recorder) as (budgets, shared):
            outcome = await self._outcome(unit, fence, past, recorder, budgets, shared, is_handed_over)
            is_final = not isinstance(outcome.end, TaskParked)
            await self.journal.report(self.run, unit, fence, outcome, recorder.take(), is_final=is_final)

    async def _has_paused(self, unit: Unit) -> bool:
        """Return whether a unit that was claimed from another process had paused there: the job of a worker that died
        right after its report is run again. It is for the driver to put the unit to work again.

        To be asked after the claim, as no former owner reports any more, and before the unit's record is read: what the
        driver tells of a unit and what its work tells are numbered as one.
        """
        if any(report.unit == unit for report in await self.journal.reports(self.run)):
            return True
        await self._catch_up()  # a report is taken together with what follows from it
        return not self._state.is_at_work(unit)

    @asynccontextmanager
    async def _budgets(
        self, unit: Unit, fence: Fence, recorder: Recorder
    ) -> AsyncIterator[tuple[AccountScope, OpenShared | None]]:
        """Yield what the unit's work is paid from, and what opens the accounts that processes share."""
        if self.calls is None:
            yield AccountScope((), self.clock), None
            return
        calls = await self.calls.of_unit(unit, fence, recorder.take)
        budgets, shared = AccountScope((), self.clock, calls), self.calls.tally.open
        if (cap := self.plan.budget) is not None:  # for how long the run may be at work its driver sees to
            budgets = budgets.within(shared("squad", BudgetRef("squad"), replace(cap, max_time=None), lambda _: True))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(calls.serve)
                yield budgets, shared
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            failed = [error for error in group.exceptions if isinstance(error, JournalError)]
            if len(group.exceptions) > 1 and not failed:
                raise
            raise (failed or group.exceptions)[0] from None  # both may have found out that the unit is another's
        finally:
            calls.close()

    async def _outcome(
        self,
        unit: Unit,
        fence: Fence,
        past: RunHistory,
        recorder: Recorder,
        budgets: AccountScope,
        shared: OpenShared | None,
        is_handed_over: Callable[[], bool],
    ) -> UnitOutcome:
        in_flight = in_doubt(await self.journal.cut_short(self.run, unit), past) if fence > 1 else ()
        work_clock = RunClock()

        async def flush() -> None:
            if events := recorder.take():
                await self.journal.record(self.run, unit, fence, events)

        stops: list[RunStatus] = []
        asker = Asker(self.journal, recorder, leave_unanswered, past, work_clock, self.notify, flush=flush)
        work_clock.on_change = asker.release  # a unit that waits for a person holds no slot
        crew = Crew(
            self.plan,
            self.complete,
            self.clock,
            recorder.at,
            past.paid,
            self.run,
            self.memory,
            work_clock,
            around=replace(self.around, hooks=(*self.told.hooks, *self.around.hooks)),
        )
        crew.accounts.shared = shared
        crew.ended_outside = partial(ended_outside, self.journal, self.run)
        work = UnitWork(
            self._state,
            TaskRunner(crew, Artifacts(self.folder, note=recorder.record)).perform,
            self.journal,
            recorder,
            asker,
            budgets,
            past,
            {unit: {step.key for step in in_flight}},
            self.clock,
            work_clock,
            stop_run=stops.append,
            is_stopped=lambda: self.is_cancelled or self._is_over,
            is_handed_over=is_handed_over,
            trace=self.told.trace,
        )
        end = await work.outcome(unit, fence)
        # The driver records it without telling its subscribers: here they were told of the unit's calls.
        self.told.tell(Event(self.run, Unit(unit.task), (), 0, 0, self.clock(), end))
        return UnitOutcome(end, stops[0] if stops else None, recorder.last_of(unit))

    async def _catch_up(self) -> None:
        """Fold in what has happened so far. Raise `HostOutdated` where the run is another one now.

        One look serves all units that asked for it before it began.
        """
        self._looks_asked += 1
        number = self._looks_asked
        async with self._looking:
            if self._looks_done < number:
                until = self._looks_asked
                await self._look()
                self._looks_done = until

    async def _look(self) -> None:
        found = await self.journal.events_of_kinds(self.run, (*FOLDED, RunFinished, RunForked), self._seq)
        turned = any(isinstance(event.data, RunEdited | RunResumed) for _, event in found)
        if turned and await self.journal.manifest(self.run) != self.manifest:
            raise HostOutdated(self.run)
        for seq, event in found:
            self._seq = seq
            self._is_over = isinstance(event.data, RunFinished)
            self._took_over = self._took_over or isinstance(event.data, RunForked | RunEdited)
            self._is_renamed = self._is_renamed or (isinstance(event.data, RunEdited) and bool(event.data.renamed))
        # All edits so far are among those that are found first: a later one makes this host an outdated one.
        for event in standing([event for _, event in found]):
            self._state.apply(event.data)

    async def _recorded(self, unit: Unit) -> Sequence[Event]:
        """Return what is recorded of the work of a unit, also under another name that it had before an edit."""
        return [event for event in standing(await self.journal.events(self.run)) if event.unit == unit]


@asynccontextmanager
async def open_unit_host(
    run: str, journal: SharedJournal, squad_of: SquadOf, options: RunOptions
) -> AsyncIterator[UnitHost]:
    """Open all that the run's units need in this process: its tools, its providers, its memory.

    Raises `RunChanged` where the code or the tools here are others than those that the run began with, and what
    `resume_run` does for what is missing here.
    """
    manifest = await journal.manifest(run)
    clock = options.clock or steady()
    async with AsyncExitStack() as opened:
        squad = await squad_of(manifest).loaded(options.trust, options.variables)
        recorded = definitions_in(manifest.sources)
        squad, remote = await opened.enter_async_context(mcp_opened(squad, options, recorded))
        folder = run_folder(options.folder, squad, options, overwrite=True)
        tools = builtin_tools(squad, folder, options, origins_of(folder)).plus(*remote)
        uncapped = squad.plan(manifest.inputs, tools, manifest.edition)
        if differing := changed(manifest.parts, parts_of(uncapped)):
            raise RunChanged(run, differing)
        check_tools(uncapped, options.deps)
        plan = capped(uncapped, manifest.options)
        providers = open_providers(squad, plan, options, bool(manifest.options.get("stub")))
        complete, _ = await opened.enter_async_context(providers)
        beside = Path(squad.file).parent
        remembered = MemorySetting(run, clock, beside, options.memory, options.state, complete)
        memory = await opened.enter_async_context(open_memory(plan, remembered))
        calls = SharedCalls(run, journal, clock) if has_caps(plan) else None
        subject = replace(subject_of(run, manifest.options.get("traceparent"), name=plan.name), part="units")
        told = await opened.enter_async_context(subscribed(options.subscribers, subject, options.notify, clock))
        async with anyio.create_task_group() as tasks:
            if calls is not None:
                tasks.start_soon(calls.serve)
            more = (options.notify, options.around, memory, folder, told, calls)
            yield UnitHost(run, manifest, plan, complete, journal, clock, *more)
            tasks.cancel_scope.cancel()
