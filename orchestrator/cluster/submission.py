"""A new run for a cluster: planned and recorded here, with nothing spent, and done by workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from orchestrator.events import Event, RunStarted
from orchestrator.journal.protocols import RunManifest
from orchestrator.manifest import manifest_of
from orchestrator.mcp_tools import mcp_opened
from orchestrator.options import MOST_PRIORITY, RunOptions, recorded_options, steady
from orchestrator.out_folder import builtin_tools
from orchestrator.run.recorder import Recorder
from orchestrator.run_opening import check_tools, new_run_id
from orchestrator.squad.load import Squad


class RecordNew(Protocol):
    """Records a run and submits the job that drives it, at once. Raises `RunExists`."""

    async def __call__(self, run: str, manifest: RunManifest, events: Sequence[Event]) -> None: ...


async def submit_run(squad: Squad, options: RunOptions, record: RecordNew) -> str:
    """Record a new run for workers to do, and return its id.

    Its files are in its record: no folder of this machine is any worker's. Whether a provider is configured is for the
    workers to say; the offline stub answers where the caller or the squad wants it. Raises what `open_run` does for a
    squad, inputs and tools that will not do, and `ValueError` for a priority beyond -100 to 100, before anything is
    recorded.
    """
    if abs(options.priority) > MOST_PRIORITY:
        raise ValueError(f"a priority is from -{MOST_PRIORITY} to {MOST_PRIORITY}, not {options.priority}")
    options = replace(options, out=None)
    if squad.servers():
        squad.plan(options.inputs)  # what is wrong with it is told before a server is started for it
    loaded = await squad.loaded(options.trust, options.variables)
    async with mcp_opened(loaded, options) as (bound, remote):
        plan = bound.plan(options.inputs, tools=builtin_tools(bound, None, options).plus(*remote))
        bound.foresee(plan)
        check_tools(plan, options.deps)
        clock = options.clock or steady()
        stub = options.offline if options.offline is not None else plan.offline == "always"
        run = options.run_id or new_run_id(plan.name, clock())
        manifest = manifest_of(bound, plan, recorded_options(options, stub), clock())
        recorder = Recorder(run, None, clock)
        recorder.record(RunStarted(plan.name, tuple(plan.tasks), stub, None))
        await record(run, manifest, recorder.take())
        return run
