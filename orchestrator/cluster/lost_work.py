"""What is to go on and has no job: the units of a run whose jobs are lost, and runs that wait until a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import anyio
import structlog

from orchestrator.cluster.waking import AskedQuestions, deadline_of
from orchestrator.dispatch.cluster.job import Job
from orchestrator.errors import OrchestratorError
from orchestrator.execution import Run
from orchestrator.journal.protocols import SharedJournal
from orchestrator.run.history import Gate
from orchestrator.squad.plan import Approval, Plan

LOOK_S = 10.0
LEAST_S = 1.0
"""The least time after which a run is driven again whose question's time is up."""
_log = structlog.get_logger("orchestrator.cluster")


class PlacedJobs(Protocol):
    """The queue, as far as it is known which jobs there are."""

    async def live(self, run: str) -> set[Job]:
        """Return the jobs of a run that wait or run."""

    async def place(self, run: str, jobs: Sequence[Job], after_s: float = 0.0) -> None:
        """Submit jobs of a run that may run in so many seconds, by the queue's own clock."""


async def resubmit_lost(run: Run, placed: PlacedJobs, every_s: float = LOOK_S) -> None:
    """Until cancelled, submit the units at work again that have no job. The run is driven here.

    A unit that has ended is at work until its report is taken: one is lost that was without a job twice in a row. Where
    that was too hasty, its new job finds that it has ended, and does nothing.
    """
    missing: set[Job] = set()
    while True:
        await anyio.sleep(every_s)
        try:
            there = await placed.live(run.run_id)
            without = {Job(run.run_id, unit) for unit in run.units_at_work()} - there
            if lost := sorted(without & missing):
                _log.warning("jobs_lost", run=run.run_id, jobs=len(lost))
                await placed.place(run.run_id, lost)
            missing = without
        except OrchestratorError as error:  # the database is away
            _log.warning("jobs_not_looked_for", run=run.run_id, error=str(error))


async def wake_at_deadline(run: Run, journal: SharedJournal, placed: PlacedJobs, now: float) -> None:
    """Have a run that waits for people be driven again when the time of the first of its questions is up."""
    gates = await AskedQuestions(run.run_id, journal).gates()
    deadline = min((_deadline(gate, run.plan) for gate in gates), default=math.inf)
    if deadline < math.inf:
        # One job for each time: that which drives the run when it is answered before does not wait for it.
        job = Job(run.run_id, generation=1 + math.ceil(deadline))
        await placed.place(run.run_id, [job], max(deadline - now, LEAST_S))


def _deadline(gate: Gate, plan: Plan) -> float:
    task = plan.tasks.get(gate.opened.task)
    if task is None or not isinstance(task.work, Approval):
        return deadline_of(gate)
    if task.work.timeout is None or task.work.on_timeout == "pause":  # no answer comes of its time
        return math.inf
    return gate.at + task.work.timeout
