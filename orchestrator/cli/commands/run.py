"""`run FILE`."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import click

from orchestrator.cli import app
from orchestrator.cli.app import Settings, argument, settings_of
from orchestrator.cli.consent import consent, consent_to_code, either
from orchestrator.cli.exits import Exit
from orchestrator.cli.files import environment
from orchestrator.cli.inputs import given_inputs
from orchestrator.cli.journals import cluster_url, db_beside, db_option, journal_url, record_for_run
from orchestrator.cli.local import local_environment
from orchestrator.cli.remote.begin import FollowOptions, only_here, run_there
from orchestrator.cli.session import RunSession
from orchestrator.cli.squad_files import load_squad
from orchestrator.cli.ui.arguments import (
    DurationOption,
    RunIdOption,
    UsdOption,
    overwrite_option,
    server_option,
)
from orchestrator.cli.ui.caps import Caps, caps_of
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.dry_run import print_dry_run
from orchestrator.cli.ui.gates import ApproveChoice, approve_option
from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.options import MOST_PRIORITY, RunOptions, capped
from orchestrator.run_opening import new_run_id, open_with, stub_answers, stub_would_answer
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Plan
from orchestrator.trust import trust_file
from providers.catalog.trust import Consent
from providers.documents.problems import to_text


@app.command("run")
@argument("file", required=False, metavar="FILE", help="A squad file; with --server also a squad that it offers.")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="An input; may be repeated.")
@click.option("--inputs", "inputs_file", metavar="FILE.json", help="Inputs as a JSON object; -i overrides it.")
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@click.option("--dry-run", is_flag=True, help="Show the tasks and which model would answer each. Spends nothing.")
@click.option("--max-cost", type=UsdOption(), metavar="USD", help="Stop before the run costs more.")
@click.option("--timeout", type=DurationOption(), metavar="DUR", help="Stop after this time: 90s, 10m, 2h.")
@approve_option
@click.option("--out", metavar="DIR", help="Where artifacts are written (out/<run-id>).")
@overwrite_option
@click.option("--run-id", type=RunIdOption(), metavar="ID", help="The run's id (the squad's name and the time).")
@click.option("--stream", is_flag=True, help="Show what agents say as they say it.")
@click.option("--json", "as_json", is_flag=True, help="Write all events to stdout as JSON Lines.")
@click.option("--detach", is_flag=True, help="With a cluster's --db: print the run's id, and do not wait for its end.")
@click.option(
    "--priority",
    type=click.IntRange(-MOST_PRIORITY, MOST_PRIORITY),
    default=0,
    metavar="N",
    help="In a cluster: workers begin what is of a higher priority first, -100 to 100 (0).",
)
@db_option
@server_option
@click.pass_context
def run_command(
    context: click.Context,
    file: str | None,
    pairs: tuple[str, ...],
    inputs_file: str | None,
    offline: bool,
    dry_run: bool,
    max_cost: float | None,
    timeout: float | None,
    approve: ApproveChoice,
    out: str | None,
    overwrite: bool,
    run_id: str | None,
    stream: bool,
    as_json: bool,
    detach: bool,
    priority: int,
    db: str | None,
    server: str | None,
) -> int:
    """Run the squad that FILE defines. Its outputs go to stdout, all else to stderr.

    With --server, FILE may be the name of a squad that the server offers; --out fetches the files that it made. With
    the --db of a cluster its workers do the work.
    """
    settings = settings_of(context)
    if file is None:
        raise click.UsageError("name the squad's file: orchestrator run squad.yaml")
    db = db_beside(context, db, server)
    how = FollowOptions(approve=approve, stream=stream, as_json=as_json, out=out, overwrite=overwrite)
    if server is not None:
        only_here(offline=offline, dry_run=dry_run, detach=detach)
        given = given_inputs(pairs, inputs_file)
        work = partial(run_there, settings, server, file, given, run_id=run_id, max_cost=max_cost, timeout_s=timeout)
        return anyio.run(partial(work, priority=priority, how=how))
    journal_url(settings, db)  # a --db that cannot be used is a mistake of its own, before any in the squad
    cluster = cluster_url(db)
    if detach and cluster is None:
        raise click.UsageError("--detach leaves the run to the workers of a cluster: --db postgresql://...")
    if priority and cluster is None:
        raise click.UsageError("--priority orders the runs of a cluster: --db postgresql://...")
    squad, console = load_squad(file, settings), Console(settings)
    environ = environment(settings)
    if squad.warnings:
        console.write(mask_secrets(to_text(squad.warnings), environ))  # it repeats lines of files
    inputs = given_inputs(pairs, inputs_file).of(squad)
    plan = squad.plan(inputs)
    squad.foresee(plan)
    if not offline and plan.offline != "always" and cluster is None:
        pinned = [agent.model for agent in plan.agents.values()]
        environ = local_environment(squad.policy, squad.catalog, environ, console.say, pinned)
    options = RunOptions(
        inputs=inputs,
        overwrite=overwrite,
        environ=environ,
        offline=offline or None,
        max_cost_usd=max_cost,
        timeout_s=timeout,
        priority=priority,
    )
    caps = caps_of(capped(plan, options.caps))
    if dry_run:
        return print_dry_run(squad, plan, caps, environ, offline=offline, as_json=as_json)
    code = consent_to_code(settings, squad.code_uses(), console)
    keys: Consent = trust_file().allows
    if cluster is not None:
        options = replace(options, run_id=run_id, trust=either(code, keys), state=settings.state_folder)
        return anyio.run(partial(_in_cluster, settings, cluster, squad, options, caps, how, detach=detach))
    if not stub_would_answer(squad, plan, environ, options.offline):
        keys = consent(settings, squad.catalog, environ, console)
    options = replace(options, trust=either(code, keys))
    name = run_id or new_run_id(plan.name, time.time())
    options = replace(options, run_id=name, out=out or Path("out") / name, state=settings.state_folder)
    session = RunSession(file, caps, approve, as_json, settings, console, db, stream)
    return anyio.run(execute, session, squad, plan, options)


async def _in_cluster(
    settings: Settings, db: str, squad: Squad, options: RunOptions, caps: Caps, how: FollowOptions, *, detach: bool
) -> Exit:
    from orchestrator.cli.cluster_runs import run_in_cluster  # PostgreSQL's client, an extra

    return await run_in_cluster(settings, db, squad, options, caps, how, detach=detach)


async def execute(session: RunSession, squad: Squad, plan: Plan, options: RunOptions) -> Exit:
    """Run with a record where one can be kept, and return the exit code."""
    assert options.environ is not None, "the command line read it"
    stub_answers(squad, plan, options.environ, options.offline)  # without a provider, nothing is written either
    async with record_for_run(session.settings, session.db, session.console.warn) as journal:
        return await session.run(partial(open_with, squad), replace(options, journal=journal))
