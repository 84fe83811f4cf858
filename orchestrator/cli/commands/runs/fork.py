"""`runs fork`: a new run that takes over what another did, up to a task."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click

from orchestrator.cli.app import Command, argument
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.desks import at_desk
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.files import environment
from orchestrator.cli.inputs import given_inputs
from orchestrator.cli.local import with_local_server
from orchestrator.cli.local_desk import LocalDesk
from orchestrator.cli.remote.begin import FollowOptions, fork_there, only_here
from orchestrator.cli.remote.desk import RemoteDesk
from orchestrator.cli.session import RunSession
from orchestrator.cli.squad_files import recorded_squad
from orchestrator.cli.ui.arguments import DurationOption, RunIdOption, UsdOption, overwrite_option
from orchestrator.cli.ui.caps import caps_of
from orchestrator.cli.ui.edits import fork_lines
from orchestrator.cli.ui.gates import ApproveChoice, approve_option
from orchestrator.fork import edit_of_run, fork_with
from orchestrator.options import RunOptions, capped, raised
from orchestrator.run_opening import new_run_id
from orchestrator.squad.load import Squad
from orchestrator.trust import trust_file
from providers.catalog.trust import Consent
from providers.documents.unicode import printable


@click.command("fork", cls=Command)
@argument("run", help="The run's id; `runs ls` lists them.")
@click.option("--from", "start", metavar="TASK", help="Run this task again, and all that needs it.")
@click.option("--file", "--squad", "file", metavar="FILE", help="The squad file to use (RUN's file, as it is now).")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="Another input; may be repeated.")
@click.option("--run-id", type=RunIdOption(), metavar="ID", help="The new run's id (the squad's name and the time).")
@click.option("--out", metavar="DIR", help="Where artifacts are written (out/<run-id>).")
@overwrite_option
@click.option("--max-cost", type=UsdOption(), metavar="USD", help="Stop before the new run costs more (as RUN).")
@click.option(
    "--timeout", "timeout_s", type=DurationOption(), metavar="DUR", help="Stop after this time: 90s, 10m, 2h (as RUN)."
)
@approve_option
@click.option("--dry-run", is_flag=True, help="Only show what is taken over and what runs. Spends nothing.")
@click.option("--stream", is_flag=True, help="Show what agents say as they say it.")
@click.option("--json", "as_json", is_flag=True, help="Write the new events to stdout as JSON Lines.")
@at_desk
async def fork_command(
    desk: LocalDesk | RemoteDesk,
    run: str,
    start: str | None,
    file: str | None,
    pairs: tuple[str, ...],
    run_id: str | None,
    out: str | None,
    overwrite: bool,
    max_cost: float | None,
    timeout_s: float | None,
    approve: ApproveChoice,
    dry_run: bool,
    stream: bool,
    as_json: bool,
) -> int:
    """Start a new run with the results of RUN, except TASK, what was edited, and all that needs these.

    What is taken over is not paid for again. RUN does not change, and may still be at work.
    """
    if isinstance(desk, RemoteDesk):
        only_here(file=file)
        return await fork_there(
            desk,
            run,
            given_inputs(pairs),
            start=start,
            run_id=run_id,
            max_cost=max_cost,
            timeout_s=timeout_s,
            dry_run=dry_run,
            how=FollowOptions(approve=approve, stream=stream, as_json=as_json, out=out, overwrite=overwrite),
        )
    records = desk.records
    journal, settings, console = records.journal, records.settings, records.console
    manifest = await journal.manifest(run)
    squad = recorded_squad(manifest, settings, file)
    inputs = given_inputs(pairs).of(squad)
    edit = await edit_of_run(squad, run, journal=journal, start=start, inputs=inputs)
    if not edit.is_more:
        raise Unusable(f"nothing of {run} would run again", "name a task: --from TASK")
    shown = printable("\n".join(fork_lines(edit)))
    if dry_run:
        click.echo(shown)
        return Exit.DONE
    console.say(f"{shown}\n")
    if desk.is_elsewhere:
        trust = either(consent_to_code(settings, squad.code_uses(), console), trust_file().allows)
        options = RunOptions(
            inputs=inputs,
            run_id=run_id,
            environ=environment(settings),
            trust=trust,
            max_cost_usd=max_cost,
            timeout_s=timeout_s,
        )
        how = FollowOptions(approve=approve, stream=stream, as_json=as_json, out=out, overwrite=overwrite)
        return await _in_cluster(desk, squad, run, options, start, how)
    name = run_id or new_run_id(edit.plan.name, time.time())
    environ = environment(settings)
    code = consent_to_code(settings, squad.code_uses(), console)
    keys: Consent = trust_file().allows
    if not manifest.options.get("stub"):
        pinned = [agent.model for agent in edit.plan.agents.values()]
        environ = await with_local_server(squad.policy, squad.catalog, environ, console.say, pinned)
        keys = consent(settings, squad.catalog, environ, console)
    options = RunOptions(
        inputs=inputs,
        out=out or Path("out") / name,
        overwrite=overwrite,
        run_id=name,
        environ=environ,
        trust=either(code, keys),
        max_cost_usd=max_cost,
        timeout_s=timeout_s,
        journal=journal,
        state=settings.state_folder,
    )
    caps = caps_of(capped(edit.plan, raised(manifest.options, options.caps)))
    session = RunSession(squad.file, caps, approve, as_json, settings, console, records.db, stream)
    return await session.run(partial(fork_with, squad, run, journal, start=start), options)


async def _in_cluster(
    desk: LocalDesk, squad: Squad, run: str, options: RunOptions, start: str | None, how: FollowOptions
) -> Exit:
    from orchestrator.cli.cluster_runs import fork_in_cluster  # PostgreSQL's client, an extra

    return await fork_in_cluster(desk, squad, run, options, start, how)
