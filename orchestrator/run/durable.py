"""A unit's durable calls: each is made once, and recorded with its events in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from agents.run_context import StepKey, Suspended
from orchestrator.events import CallRepeated
from orchestrator.journal.protocols import Fence, Journal, Recorded
from orchestrator.run.recorder import Recorder
from orchestrator.run.work_clock import UnitClock
from orchestrator.units import Unit, path_of, text_of
from providers.trace_context import CallScope, TraceContext, calls_of

Rehearse = Callable[[Unit, StepKey, bytes, Callable[[], Awaitable[Any]], Recorder], Awaitable[Any]]
"""Stands for the work of a step: returns its result, having recorded what happened in it."""


class HandedOver(Suspended):
    """This process is about to stop, and another one goes on with the unit, after what is recorded."""


@dataclass(frozen=True, slots=True)
class DurableCalls:
    """The `do` of a unit. Calls in `cut_short` were in flight when an earlier process ended: each is told of when it is
    made again. Once `is_stopped` or `is_handed_over`, none begins."""

    journal: Journal
    recorder: Recorder
    unit: Unit
    fence: Fence
    clock: UnitClock
    cut_short: Collection[StepKey] = ()
    is_stopped: Callable[[], bool] = lambda: False
    is_handed_over: Callable[[], bool] = lambda: False
    rehearse: Rehearse | None = None
    trace: TraceContext | None = None
    """The trace that attempts at providers belong to; None: nobody traces them."""

    async def do(self, key: StepKey, request_hash: bytes, work: Callable[[], Awaitable[Any]]) -> Any:
        """Return what is recorded under `key`, else what `work` makes.

        Raise `Suspended` once the run is stopped, and `HandedOver` once another process is to go on.
        """
        journal, recorder, unit, fence = self.journal, self.recorder, self.unit, self.fence
        run = recorder.run_id
        if self.is_stopped():
            raise Suspended("interrupted")
        if self.is_handed_over():
            raise HandedOver("handed over")
        if key in self.cut_short:  # recorded with the intent: this process may be killed before the call ends, too
            recorder.record(CallRepeated(text_of(unit, key)), unit)
        step = await journal.begin(run, unit, key, request_hash, fence, recorder.take())
        if isinstance(step, Recorded):
            return step.result
        try:
            scope = CallScope(run, path_of(unit, key.step), key.turn, self.trace)
            with self.clock.calling(key), calls_of(scope):
                rehearse = self.rehearse
                result = await (work() if rehearse is None else rehearse(unit, key, request_hash, work, recorder))
        except Exception:
            # A cancelled call is no `Exception`: it may have been billed, so its step stays in flight and a resume
            # reports it.
            await journal.give_up(run, unit, key, fence)
            raise
        # With its events, in one transaction: what a step cost is recorded if and only if its result is.
        await journal.finish(run, unit, key, fence, result, recorder.take())
        return result
