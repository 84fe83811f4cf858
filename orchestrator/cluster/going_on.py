"""Recorded runs of a cluster that workers are to go on with, or that a new run takes over from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import RunCancelled, RunOver
from orchestrator.fork import new_fork
from orchestrator.manifest import refuse_chat
from orchestrator.options import RunOptions, raised
from orchestrator.run.history import history_of
from orchestrator.squad.load import Squad

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.cluster.opening import ClusterDatabase


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
