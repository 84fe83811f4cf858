"""Where the units of one run work in a cluster: jobs for any worker, whose reports come back by the journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from orchestrator.cluster.claiming import disown
from orchestrator.dispatch import EndedUnits, Handler, Settle, TakeEvents
from orchestrator.dispatch.cluster.job import Job
from orchestrator.events import Event
from orchestrator.journal.protocols import SharedJournal, UnitReport
from orchestrator.units import Unit


class HandOver(Protocol):
    """Records and submits at once: a job without what it goes by, or a record of work that no job does, is never
    left."""

    async def __call__(self, run: str, taken: int, events: Sequence[Event], jobs: Sequence[Job], priority: int) -> None:
        """Record events of the run, that its reports up to `taken` are taken, and submit jobs of this priority."""


class ClusterDispatcher:
    """A `Dispatcher` of the run `run`, for the one process that drives it."""

    def __init__(
        self,
        run: str,
        journal: SharedJournal,
        hand_over: HandOver,
        cut_off: Callable[[str], Awaitable[object]],
        clock: Callable[[], float],
        priority: int = 0,
    ) -> None:
        """`cut_off` ends the units of a run that are at work, and waits a while for those that are at workers.
        `priority` is the run's."""
        self._clock, self._priority = clock, priority
        self._run, self._journal, self._hand_over, self._cut_off = run, journal, hand_over, cut_off
        self._taken = 0
        """The number of the last report that the driver took."""

    async def submit(self, units: Sequence[Unit], take: TakeEvents) -> None:
        jobs = [Job(self._run, unit) for unit in units]
        await self._hand_over(self._run, self._taken, take(), jobs, self._priority)

    async def serve(self, handler: Handler, settle: Settle, take: TakeEvents, slots: int) -> None:  # noqa: ARG002  # others work
        async with aclosing(self._journal.watch_reports(self._run)) as batches:
            async for reports in batches:
                await settle(self._take(reports))
                await self._journal.take_reports(self._run, self._taken, take())

    async def left_over(self) -> EndedUnits:
        return self._take(await self._journal.reports(self._run))

    async def cancel(self, units: Sequence[Unit]) -> None:
        await self._cut_off(self._run)
        for unit in units:  # of what their workers have not written yet, and of dead ones, nothing comes any more
            await disown(self._journal, self._run, unit, self._clock)

    def _take(self, reports: Sequence[UnitReport]) -> EndedUnits:
        new = [report for report in reports if report.number > self._taken]
        self._taken = max((report.number for report in new), default=self._taken)
        return [(report.unit, report.outcome) for report in new]
