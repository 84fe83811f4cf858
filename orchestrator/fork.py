"""A new run that takes over what another one did, up to a task, and runs the rest: `fork_run`.

What is taken over was paid for by the other run: it is in the fork's record, and counts in none of its budgets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.run_context import Complete
from orchestrator.events import Event, RunStarted
from orchestrator.execution import Run
from orchestrator.journal.protocols import Journal, RunManifest, StepRecord
from orchestrator.manifest import inputs_for, manifest_of, refuse_chat
from orchestrator.options import RunOptions, leave_unanswered, raised, steady
from orchestrator.out_folder import refuse_foreign, run_folder
from orchestrator.rerun.edit import Edit, edit_of, events_of_fork, moved_steps
from orchestrator.run.history import history_of
from orchestrator.run.questions import Ask
from orchestrator.run_opening import new_run_id, resume_with
from orchestrator.squad.load import Squad
from orchestrator.squad.sources import definitions_in
from providers.catalog.trust import Consent, of_the_program
from providers.emit import Emit, ignore

if TYPE_CHECKING:
    from agents.memory.store import MemoryStore


async def edit_of_run(
    squad: Squad,
    run_id: str,
    *,
    journal: Journal,
    start: str | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Edit:
    """Return what becomes of a recorded run when it is resumed as edited, or forked: what is kept, what runs again.

    Nothing is recorded, and no model is asked.

    - `squad`: the edited one.
    - `run_id`: the run's name in the record.
    - `journal`: holds the record.
    - `start`: a task that runs again whatever was edited.
    - `inputs`: replace those of the run; None: these hold.

    Raises `RunNotFound`, `UnknownTask`, `EditUnknown`, and `PlanError` for inputs that do
    not fit.
    """
    manifest, events = await journal.manifest(run_id), await journal.events(run_id)
    refuse_chat(run_id, manifest)
    squad = squad.with_mcp({**definitions_in(manifest.sources), **squad.definitions})
    plan = squad.plan({**inputs_for(squad, manifest), **(inputs or {})}, edition=manifest.edition)
    return edit_of(manifest, events, plan, manifest_of(squad, plan, manifest.options, 0.0), start)


def fork_run(
    squad: Squad,
    source: str,
    *,
    journal: Journal,
    start: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
    run_id: str | None = None,
    manager: Complete | None = None,
    environ: Mapping[str, str] | None = None,
    max_cost_usd: float | None = None,
    timeout_s: float | None = None,
    ask: Ask = leave_unanswered,
    clock: Callable[[], float] | None = None,
    state: Path | None = None,
    notify: Emit = ignore,
    trust: Consent = of_the_program,
    memory: MemoryStore | Path | str | None = None,
) -> AbstractAsyncContextManager[Run]:
    """Begin a new run that shares the record of `source`, and drive it as `resume_run` does.

    The task `start`, what `squad` and `inputs` changed, and all that needs these run again; everything else is
    taken over, files included, and is not paid for again.

    - `squad`: the one that `source` began with, or an edited one.
    - `source`: the run to begin from, by its name in the record. It does not change, and may still be at work.
    - `journal`: holds the record of `source`, and keeps that of the new run.
    - `start`: a task that runs again whatever was edited.
    - `inputs`: replace those of `source`; None: these hold.
    - `out`: the folder of the files that the new run writes; None: they are kept in memory.
    - `run_id`: the new run's name in the record; None: one is made.
    - `max_cost_usd`: the most that the new run may cost, in USD; None: the cap of `source`, whose cost does not count.
    - `timeout_s`: the most seconds that the new run may take; None: the cap of `source`, whose time does not count.

    All else is as `open_run` takes it. Raises what `edit_of_run` and
    `resume_run` raise, and `RunExists`.
    """
    options = RunOptions(
        inputs=inputs,
        out=out,
        overwrite=overwrite,
        run_id=run_id,
        manager=manager,
        environ=environ,
        max_cost_usd=max_cost_usd,
        timeout_s=timeout_s,
        ask=ask,
        clock=clock,
        journal=journal,
        state=state,
        notify=notify,
        trust=trust,
        memory=memory,
    )
    return fork_with(squad, source, journal, options, start=start)


@asynccontextmanager
async def fork_with(
    squad: Squad, source: str, journal: Journal, options: RunOptions, *, start: str | None = None
) -> AsyncIterator[Run]:
    """Fork a run that `journal` holds: `fork_run` for callers that hold the options as a value."""
    clock = options.clock or steady()
    squad = await squad.loaded(options.trust, options.variables)
    new = await new_fork(squad, source, journal, replace(options, clock=clock), start)
    await journal.create(new.run, new.manifest, new.events, new.steps)
    async with resume_with(squad, new.run, journal, replace(options, clock=clock)) as run:
        yield run


class NewFork(NamedTuple):
    """A run that takes over what another did, as it is to be recorded."""

    run: str
    manifest: RunManifest
    events: Sequence[Event]
    steps: Sequence[StepRecord]


async def new_fork(squad: Squad, source: str, journal: Journal, options: RunOptions, start: str | None) -> NewFork:
    """Return the fork of a run, of which nothing is recorded yet. The squad is loaded."""
    clock, folder = options.clock or steady(), options.folder
    was, past, now = await journal.manifest(source), await journal.events(source), clock()
    refuse_chat(source, was)
    squad = squad.with_mcp({**definitions_in(was.sources), **squad.definitions})
    plan = squad.plan({**inputs_for(squad, was), **(options.inputs or {})}, squad.builtin(None), was.edition)
    squad.foresee(plan)
    recorded = raised(was.options, options.caps)
    for name in ("overwrite", "traceparent"):  # the source's own
        recorded.pop(name, None)
    recorded |= {"overwrite": True} if options.overwrite else {}
    recorded |= {} if options.traceparent is None else {"traceparent": options.traceparent}
    recorded["out"] = None if folder is None else str(folder.absolute())
    manifest = manifest_of(squad, plan, recorded, now)
    edit = edit_of(was, past, plan, manifest, start)
    name, shown = options.run_id or new_run_id(plan.name, now), None if folder is None else str(folder)
    kept = {path: made.sha256 for path, (unit, made) in history_of(past).artifacts.items() if unit.task in edit.kept}
    refuse_foreign(plan, run_folder(folder, squad, options, overwrite=options.overwrite), kept)
    started = RunStarted(plan.name, tuple(plan.tasks), bool(recorded.get("stub")), shown)
    events = events_of_fork(source, past, edit, Event(name, None, (), 0, 1, now, started))
    return NewFork(name, manifest, events, moved_steps(await journal.steps(source), edit.kept))
