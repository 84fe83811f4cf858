"""`run FILE`."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import click

from orchestrator.cli import app
from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.arguments import Duration, Usd, environment, json_object, load_squad, split_inputs
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.journals import journal_file, record_for_run
from orchestrator.cli.loading import interrupts_held
from orchestrator.cli.run_session import Manner, conduct
from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.gates import Answer, Approve
from orchestrator.cli.ui.notices import telling
from orchestrator.cli.ui.progress import Caps
from orchestrator.squad.plan import Budget

if TYPE_CHECKING:
    from orchestrator.runtime import Run
    from orchestrator.squad.load import Squad
    from orchestrator.squad.plan import Plan

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Order(NamedTuple):
    """What the command line asks of one run."""

    file: str
    inputs: Mapping[str, Any]
    offline: bool
    max_cost: float | None
    timeout: float | None
    approve: Approve
    out: Path
    run_id: str
    json: bool
    settings: Settings
    db: str | None


@app.command("run")
@click.argument("file")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="An input; may be repeated.")
@click.option("--inputs", "inputs_file", metavar="FILE.json", help="Inputs as a JSON object; -i overrides it.")
@click.option("--offline", is_flag=True, help="Ask no model: the built-in stub answers.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, by whom. Spends nothing.")
@click.option("--max-cost", type=Usd(), metavar="USD", help="Stop before the run costs more.")
@click.option("--timeout", type=Duration(), metavar="DUR", help="Stop after this time: 90s, 10m, 2h.")
@click.option("--approve", type=click.Choice(["ask", "deny", "auto"]), default="ask", help="Who answers gates (ask).")
@click.option("--out", metavar="DIR", help="Where artifacts are written (out/<run-id>).")
@click.option("--run-id", metavar="ID", help="The run's name (made from the squad's, and the time).")
@click.option("--db", metavar="URL", help="Where the run is recorded: sqlite:///PATH (STATE/journal.db).")
@click.option("--json", "as_json", is_flag=True, help="Write all events to stdout as JSON Lines.")
@click.pass_context
def run_command(
    context: click.Context,
    file: str,
    pairs: tuple[str, ...],
    inputs_file: str | None,
    offline: bool,
    dry_run: bool,
    max_cost: float | None,
    timeout: float | None,
    approve: Approve,
    out: str | None,
    run_id: str | None,
    db: str | None,
    as_json: bool,
) -> int:
    """Run the squad that FILE defines. Its outputs go to stdout, all else to stderr."""
    settings = settings_of(context)
    journal_file(settings, db)
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        raise Unusable(f"--run-id {run_id!r}: letters, digits, '.', '_' and '-' only, at most 100")
    squad = load_squad(file, settings)
    talk = Console(settings)
    for problem in squad.warnings:
        talk.write(str(problem))
    inputs = {**(json_object(inputs_file) if inputs_file else {}), **squad.coerce(split_inputs(pairs))}
    plan = squad.plan(inputs)
    if dry_run:
        from orchestrator.cli.ui.dry_run import print_dry_run

        caps = caps_of(plan, max_cost, timeout)
        return print_dry_run(squad, plan, caps, environment(settings), offline=offline, as_json=as_json)
    with interrupts_held():
        from orchestrator.runtime import new_run_id

    name = run_id or new_run_id(plan.name, time.time())
    folder = Path(out) if out else Path("out") / name
    order = Order(file, inputs, offline, max_cost, timeout, approve, folder, name, as_json, settings, db)
    return anyio.run(execute, order, squad, plan, talk)


async def execute(order: Order, squad: Squad, plan: Plan, talk: Console) -> Exit:
    """Run with a record where one can be kept, and return the exit code."""
    from orchestrator.runtime import open_run, stub_answers

    environ = environment(order.settings)
    stub_answers(squad, plan, environ, order.offline or None)  # without anybody to ask, nothing is written either
    async with record_for_run(order.settings, order.db, talk.warn) as journal:

        def opening(ask: Answer) -> AbstractAsyncContextManager[Run]:
            return open_run(
                squad,
                inputs=order.inputs,
                out=order.out,
                run_id=order.run_id,
                environ=environ,
                offline=order.offline or None,
                max_cost_usd=order.max_cost,
                timeout_s=order.timeout,
                ask=ask,
                journal=journal,
                state=order.settings.state_folder,
                notify=telling(talk.warn),
            )

        caps = caps_of(plan, order.max_cost, order.timeout)
        manner = Manner(order.file, order.approve, order.json, order.settings, caps, journal)
        return await conduct(manner, opening, talk)


def caps_of(plan: Plan, max_cost: float | None = None, timeout: float | None = None) -> Caps:
    """Return the run's limits: the squad's own, or the command line's where those are lower."""
    own = plan.budget or Budget()
    cost = None if own.max_cost is None else own.max_cost / 1e6
    return Caps(_lower(cost, max_cost), own.max_tokens, _lower(own.max_time, timeout))


def _lower(one: float | None, other: float | None) -> float | None:
    return min((cap for cap in (one, other) if cap is not None), default=None)
