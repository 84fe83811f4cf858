"""Runs that are submitted to a cluster from here, or gone on with there, and followed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from orchestrator.cli.app import Settings
from orchestrator.cli.cluster_desk import ClusterDesk
from orchestrator.cli.clusters import cluster_at
from orchestrator.cli.exits import Exit
from orchestrator.cli.journals import RecordedRuns
from orchestrator.cli.local_desk import LocalDesk
from orchestrator.cli.remote.begin import NO_CAPS, FollowOptions
from orchestrator.cli.remote.session import follow_there
from orchestrator.cli.session import RunSession
from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.console import Console
from orchestrator.cluster.going_on import resume_edited, resume_submitted, submit_fork
from orchestrator.cluster.submission import submit_run
from orchestrator.journal.opening import place_of_journal
from orchestrator.options import RunOptions
from orchestrator.squad.load import Squad
from providers.documents.unicode import printable


async def run_in_cluster(
    settings: Settings, db: str, squad: Squad, options: RunOptions, caps: Caps, how: FollowOptions, *, detach: bool
) -> Exit:
    """Submit a run and show it to its end; with `detach` only print its id. Nothing of it is done here."""
    console = Console(settings)
    async with cluster_at(db, console.warn) as cluster:
        run = await submit_run(squad, options, cluster.record_new)
        desk = ClusterDesk(RecordedRuns(cluster.journal, place_of_journal(db), settings, console, db), cluster)
        if detach:
            click.echo(run)
            if waits := await desk.where_it_waits():
                console.say(waits)
            console.say(f"next: {desk.command('runs', 'watch', run)}")
            return Exit.DONE
        console.say(printable(f"{run} is submitted to {desk.place}"))
        return await follow_in_cluster(desk, run, squad.file, caps, how)


async def resume_in_cluster(
    desk: LocalDesk, run: str, options: RunOptions, how: FollowOptions, edited: Squad | None
) -> Exit:
    """Have a worker go on with a run, as the squad was `edited`, and show the rest of it."""
    assert isinstance(desk, ClusterDesk), "of a cluster"
    past = len((await desk.record(run)).events)
    if edited is None:
        await resume_submitted(desk.cluster, run, options.caps)
    else:
        await resume_edited(edited, run, desk.cluster, options)
    manifest = await desk.cluster.journal.manifest(run)
    return await follow_in_cluster(desk, run, manifest.file, NO_CAPS, how, past)


async def fork_in_cluster(
    desk: LocalDesk, squad: Squad, run: str, options: RunOptions, start: str | None, how: FollowOptions
) -> Exit:
    """Have workers do a run that takes over what another did, and show it to its end."""
    assert isinstance(desk, ClusterDesk), "of a cluster"
    new = await submit_fork(squad, run, desk.cluster, options, start)
    desk.console.say(printable(f"{new} is submitted to {desk.place}"))
    # What it took over is no news: it is shown from where it goes on by itself.
    events = (await desk.record(new)).events
    taken = next((at for at, one in enumerate(events, 1) if one["type"] == "run.forked"), 0)
    return await follow_in_cluster(desk, new, squad.file, NO_CAPS, how, taken)


async def follow_in_cluster(
    desk: ClusterDesk, run: str, file: str, caps: Caps, how: FollowOptions, after: int = 0
) -> Exit:
    """Show a run from after so many events on, to its end, and write its files here."""
    session = RunSession(file, caps, how.approve, how.as_json, desk.settings, desk.console, desk.records.db, how.stream)
    past = list((await desk.record(run)).events[:after])
    out = Path("out") / run if how.out is None else Path(how.out)
    waits = partial(desk.tell_where_it_waits, run)
    return await follow_there(desk, session, run, past, out=out, overwrite=how.overwrite, beside=waits)
