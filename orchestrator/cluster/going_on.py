"""Recorded runs of a cluster that workers are to go on with, or that a new run takes over from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import RunCancelled, RunOver
from orchestrator.fork import new_fork
from orchestrator.journal.protocols import RunBusy, SharedJournal
from orchestrator.manifest import inputs_for, manifest_of, refuse_chat
from orchestrator.mcp_tools import mcp_opened
from orchestrator.options import RunOptions, raised, steady
from orchestrator.out_folder import builtin_tools
from orchestrator.rerun.fingerprint import changed
from orchestrator.run.history import history_of
from orchestrator.run_opening import check_tools, turn_into
from orchestrator.squad.load import Squad

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.cluster.opening import ClusterDatabase


class EditableRuns(Protocol):
    """A cluster, as far as a run of it is edited."""

    @property
    def journal(self) -> SharedJournal: ...

    async def withdraw(self, run: str) -> None:
        """End the run's units that are at work, and return once no worker that is alive has one. The caller drives the
        run. Raise `RunBusy` where that takes too long."""

    async def drive(self, run: str) -> None:
        """Have a worker drive the run on."""


FORK = "or begin a run that takes over what it did, and goes on as edited: `orchestrator runs fork`"


async def resume_submitted(cluster: ClusterDatabase, run: str, caps: Mapping[str, float | None]) -> None:
    """Have a worker go on with a run. Caps that are given hold instead of those that it had.

    Raise `RunNotFound`, `RunOver`, `RunCancelled`, `IsAChat`; and `RunBusy` where it is at work and other caps are
    given.
    """
    journal = cluster.journal
    manifest = await journal.manifest(run)
    refuse_chat(run, manifest)
    past = history_of(await journal.events(run))
    if past.is_over:
        raise RunOver(run, str(past.status))
    if await journal.cancel_requested(run):
        raise RunCancelled(run)
    if any(cap is not None for cap in caps.values()):
        async with journal.driving(run):
            now = replace(manifest, options=raised(manifest.options, caps), since=len(past.events))
            await journal.edit(run, now, ())
    await cluster.drive(run)


async def resume_edited(squad: Squad, run: str, cluster: EditableRuns, options: RunOptions) -> None:
    """Have workers go on with a run as `squad` has it now: what that changes runs again, the rest is kept, as
    `resume_run` does with `edited`.

    Raise what that does, with nothing changed; `RunBusy` where the run is at work. Killed in between, the edit is
    recorded or it is not; a recorded one is gone on with by the next sweep of the cluster.
    """
    journal, clock = cluster.journal, options.clock or steady()
    refuse_chat(run, await journal.manifest(run))
    loaded = await squad.loaded(options.trust, options.variables)
    async with AsyncExitStack() as opened:
        try:
            await opened.enter_async_context(journal.driving(run))
        except RunBusy as error:
            raise RunBusy(f"the run {run} is at work: it is edited once it waits or has ended", FORK) from error
        manifest, past = await journal.manifest(run), history_of(await journal.events(run))
        if await journal.cancel_requested(run):
            raise RunCancelled(run)
        bound, remote = await opened.enter_async_context(mcp_opened(loaded, options))
        tools = builtin_tools(bound, None, options).plus(*remote)
        plan = bound.plan(inputs_for(bound, manifest), tools, manifest.edition)
        check_tools(plan, options.deps)
        now = manifest_of(bound, plan, raised(manifest.options, options.caps), manifest.created_at)
        if past.is_over and not changed(manifest.parts, now.parts):
            raise RunOver(run, str(past.status))
        await cluster.withdraw(run)  # workers go on with units also while no process drives their run
        past = history_of(await journal.events(run))  # with what they recorded until then
        await turn_into(now, plan, journal, run, past, clock)
    await cluster.drive(run)


async def submit_fork(
    squad: Squad, source: str, cluster: ClusterDatabase, options: RunOptions, start: str | None
) -> str:
    """Record a run that takes over what another did, for workers to do, and return its id. Raise what `fork_run` does.

    Killed in between, it has no job yet: the next sweep of the cluster submits it.
    """
    squad = await squad.loaded(options.trust, options.variables)
    new = await new_fork(squad, source, cluster.journal, replace(options, out=None), start)
    await cluster.journal.create(new.run, new.manifest, new.events, new.steps)
    await cluster.drive(new.run)
    return new.run
