"""`run FILE`."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import click

from orchestrator.cli import app
from orchestrator.cli.app import Settings, settings_of
from orchestrator.cli.exits import Exit, Unusable, exit_of_run
from orchestrator.cli.gates import Approve, Asking, answering
from orchestrator.cli.given import Duration, Usd, json_object, load_squad, split_inputs
from orchestrator.cli.outcome import print_results, tell_end
from orchestrator.cli.record import LastRun
from orchestrator.cli.screens import STUB_NOTICE, Lines, Screen, open_screen
from orchestrator.cli.signals import Interruption
from orchestrator.cli.telling import Talk, print_json
from orchestrator.cli.view import Caps, Document, Progress
from orchestrator.plan import Budget

if TYPE_CHECKING:
    from orchestrator.plan import Plan
    from orchestrator.run import RunResult
    from orchestrator.runtime import Run
    from orchestrator.squad import Squad

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
@click.option("--db", metavar="URL", help="Journal database. Not in this version.")
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
    if db is not None:
        raise Unusable("--db: a run cannot be kept in a database in this version", "leave the option out")
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        raise Unusable(f"--run-id {run_id!r}: letters, digits, '.', '_' and '-' only, at most 100")
    settings = settings_of(context)
    squad = load_squad(file, settings)
    talk = Talk(settings)
    for problem in squad.warnings:
        talk.write(str(problem))
    inputs = {**(json_object(inputs_file) if inputs_file else {}), **squad.coerce(split_inputs(pairs))}
    plan = squad.plan(inputs)
    if dry_run:
        from orchestrator.cli.dry_run import print_dry_run

        caps = caps_of(plan, max_cost, timeout)
        return print_dry_run(squad, plan, caps, offline=offline, as_json=as_json)
    from orchestrator.runtime import new_run_id

    name = run_id or new_run_id(plan.name, time.time())
    folder = Path(out) if out else Path("out") / name
    order = Order(file, inputs, offline, max_cost, timeout, approve, folder, name, as_json, settings)
    return anyio.run(execute, order, squad, plan, talk)


async def execute(order: Order, squad: Squad, plan: Plan, talk: Talk) -> Exit:
    """Run, show it, print what came out, and return the exit code."""
    progress = Progress()
    caps = caps_of(plan, order.max_cost, order.timeout)
    screen = screen_for(order, talk, progress, caps)
    recorder = LastRun(order.settings.state_folder, talk.warn)
    try:
        with screen:
            result = await follow(order, squad, screen, progress, recorder)
    finally:
        recorder.close()
    if not order.json:
        print_results(result, progress)
    code = exit_of_run(result.status, result.error_kinds.values(), progress.attempt_errors)
    tell_end(talk, progress, result, order.file)
    return code


def screen_for(order: Order, talk: Talk, progress: Progress, caps: Caps) -> Screen:
    """Return where progress is shown. Events and a live table cannot share one terminal: the table yields."""
    if order.json and sys.stdout.isatty():
        return Lines(progress, talk)
    return open_screen(order.settings, talk, progress, caps)


async def follow(order: Order, squad: Squad, screen: Screen, progress: Progress, recorder: LastRun) -> RunResult:
    """Return how the run ended, having shown and recorded each of its events. Raises what a signal ended it with."""
    from orchestrator.events import to_json
    from orchestrator.runtime import open_run

    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    asking = Asking(answering(order.approve, at_terminal=at_terminal, aside=screen.aside))
    opening = open_run(
        squad,
        inputs=order.inputs,
        out=order.out,
        run_id=order.run_id,
        environ=os.environ,
        offline=order.offline or None,
        max_cost_usd=order.max_cost,
        timeout_s=order.timeout,
        ask=asking.ask,
    )
    result: RunResult | None = None
    async with anyio.create_task_group() as tasks:
        interruption = Interruption(tasks.cancel_scope, lambda: False)
        await tasks.start(interruption.watch)
        async with opening as run:
            interruption.stop = stopping(run, asking, screen, progress)
            tasks.start_soon(beat, screen)
            async for event in run:
                document = to_json(event)
                recorder.write(document)
                show(document, screen, progress, as_json=order.json)
        result = run.result
        tasks.cancel_scope.cancel()
    interruption.check()
    assert result is not None, "a run that nothing interrupted has a result"
    return result


def show(document: Document, screen: Screen, progress: Progress, *, as_json: bool) -> None:
    """Let one event be seen: on stdout where events are the result, and on the screen."""
    change = progress.apply(document)
    if as_json:
        print_json(document)
    if document["type"] == "run.started" and progress.stub:
        screen.say(STUB_NOTICE)
    screen.saw(document, change)


def stopping(run: Run, asking: Asking, screen: Screen, progress: Progress) -> Callable[[], bool]:
    """Return what the first Ctrl-C does: the calls in flight end, and it is said which."""

    def stop() -> bool:
        running = ", ".join(row.name for row in progress.running()) or "nothing"
        screen.say(f"stopping: waiting for the calls in flight of {running}; Ctrl-C again stops now")
        asking.end()
        run.stop()
        return True

    return stop


async def beat(screen: Screen) -> None:
    """Tick the screen until cancelled."""
    if screen.period < math.inf:
        while True:
            await anyio.sleep(screen.period)
            screen.tick()


def caps_of(plan: Plan, max_cost: float | None, timeout: float | None) -> Caps:
    """Return the run's limits: the squad's own, or the command line's where those are lower."""
    own = plan.budget or Budget()
    cost = None if own.max_cost is None else own.max_cost / 1e6
    return Caps(_lower(cost, max_cost), own.max_tokens, _lower(own.max_time, timeout))


def _lower(one: float | None, other: float | None) -> float | None:
    return min((cap for cap in (one, other) if cap is not None), default=None)
