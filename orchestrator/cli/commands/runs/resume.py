"""`runs resume`: continue a run."""

from __future__ import annotations

from functools import partial

import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.desks import at_desk
from orchestrator.cli.exits import Exit, cause_of
from orchestrator.cli.files import environment
from orchestrator.cli.journals import RecordedRuns
from orchestrator.cli.local import with_local_server
from orchestrator.cli.local_desk import LocalDesk
from orchestrator.cli.remote.begin import FollowOptions, only_here, resume_there
from orchestrator.cli.remote.desk import RemoteDesk
from orchestrator.cli.session import RunSession
from orchestrator.cli.squad_files import recorded_squad
from orchestrator.cli.ui.arguments import DurationOption, UsdOption, overwrite_option
from orchestrator.cli.ui.caps import caps_of
from orchestrator.cli.ui.edits import edit_lines
from orchestrator.cli.ui.gates import ApproveChoice, approve_option
from orchestrator.cli.ui.replays import replay_lines
from orchestrator.fork import edit_of_run
from orchestrator.journal.protocols import StepChanged
from orchestrator.options import RunOptions, capped, raised
from orchestrator.rerun.replay import replay
from orchestrator.run_opening import resume_with
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from providers.catalog.trust import Consent
from providers.documents.unicode import printable


@click.command("resume", cls=Command)
@argument("run", help="The run's id; `runs ls` lists them.")
@click.option("--max-cost", type=UsdOption(), metavar="USD", help="Replace the cost limit that the run began with.")
@click.option(
    "--timeout",
    "timeout_s",
    type=DurationOption(),
    metavar="DUR",
    help="Replace the time limit that the run began with.",
)
@click.option("--out", metavar="DIR", help="Where artifacts are written from now on (where they were before).")
@overwrite_option
@click.option("--squad", "file", metavar="FILE", help="Where the squad's file is now (where it was).")
@approve_option
@click.option("--edited", is_flag=True, help="The squad was edited: run again only what the edit affects.")
@click.option("--dry-run", is_flag=True, help="With --edited: only show what would run again. Spends nothing.")
@click.option("--stream", is_flag=True, help="Show what agents say as they say it.")
@click.option("--json", "as_json", is_flag=True, help="Write the new events to stdout as JSON Lines.")
@at_desk
async def resume_command(
    desk: LocalDesk | RemoteDesk,
    run: str,
    max_cost: float | None,
    timeout_s: float | None,
    out: str | None,
    overwrite: bool,
    file: str | None,
    approve: ApproveChoice,
    edited: bool,
    dry_run: bool,
    stream: bool,
    as_json: bool,
) -> int:
    """Continue a run that was killed, interrupted or paused. What is recorded is not paid for again."""
    if dry_run and not edited:
        raise click.UsageError("--dry-run shows what an edit would run again: give it with --edited")
    how = FollowOptions(approve=approve, stream=stream, as_json=as_json, out=out, overwrite=overwrite)
    if isinstance(desk, RemoteDesk):
        only_here(squad=file, edited=edited)
        return await resume_there(desk, run, max_cost=max_cost, timeout_s=timeout_s, how=how)
    records = desk.records
    journal, settings = records.journal, records.settings
    if desk.is_elsewhere and not edited:
        if file is not None:
            raise click.UsageError("--squad: workers of a cluster have the squad from the record; add --edited")
        return await _in_cluster(desk, run, RunOptions(max_cost_usd=max_cost, timeout_s=timeout_s), how)
    manifest = await journal.manifest(run)
    squad = recorded_squad(manifest, settings, file)
    if edited:
        shown = printable("\n".join(edit_lines(await edit_of_run(squad, run, journal=journal))))
        if dry_run:
            click.echo(shown)
            return Exit.DONE
        records.console.say(shown)
    environ = environment(settings)
    code = consent_to_code(settings, squad.code_uses(), records.console)
    keys: Consent = trust_file().allows
    if desk.is_elsewhere:
        options = RunOptions(environ=environ, trust=either(code, keys), max_cost_usd=max_cost, timeout_s=timeout_s)
        return await _in_cluster(desk, run, options, how, squad)
    if not manifest.options.get("stub"):
        pinned = [agent.model for agent in squad.outline().agents.values()]
        environ = await with_local_server(squad.policy, squad.catalog, environ, records.console.say, pinned)
        keys = consent(settings, squad.catalog, environ, records.console)
    options = RunOptions(
        out=out,
        overwrite=overwrite,
        environ=environ,
        trust=either(code, keys),
        max_cost_usd=max_cost,
        timeout_s=timeout_s,
        journal=journal,
        state=settings.state_folder,
    )
    caps = caps_of(capped(squad.outline(), raised(manifest.options, options.caps)))
    session = RunSession(file or manifest.file, caps, approve, as_json, settings, records.console, records.db, stream)
    try:
        return await session.run(partial(resume_with, squad, run, journal, edited=edited), options)
    except (StepChanged, ExceptionGroup) as error:
        if isinstance(changed := cause_of(error), StepChanged):
            raise await _in_full(changed, records, run, squad) from error
        raise


async def _in_cluster(
    desk: LocalDesk, run: str, options: RunOptions, how: FollowOptions, edited: Squad | None = None
) -> Exit:
    from orchestrator.cli.cluster_runs import resume_in_cluster  # PostgreSQL's client, an extra

    return await resume_in_cluster(desk, run, options, how, edited)


async def _in_full(error: StepChanged, records: RecordedRuns, run: str, squad: Squad) -> StepChanged:
    """Return the failure with which step differs, and how, field by field."""
    ended = await replay(records.journal, run, against=squad)
    return type(error)("\n".join([str(error), *([] if ended.is_equal else replay_lines(ended)[1:])]))
