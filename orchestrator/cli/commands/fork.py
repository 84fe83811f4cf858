"""`runs fork`: a new run that takes over what another did, up to a task; and how an edit is shown before it is paid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import click

from orchestrator.cli.app import Command, Settings, settings_of
from orchestrator.cli.arguments import Duration, Usd, environment, load_squad, split_inputs
from orchestrator.cli.commands.approvals import db_option
from orchestrator.cli.commands.run import RUN_ID, caps_of
from orchestrator.cli.exits import Exit, Unusable
from orchestrator.cli.journals import open_record, squad_of
from orchestrator.cli.run_session import Manner, conduct
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, count
from orchestrator.cli.ui.gates import Answer, Approve
from orchestrator.cli.ui.progress import tokens, usd
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.journal.protocols import Journal
    from orchestrator.rerun.edit import Edit, Spent
    from orchestrator.runtime import Run
    from orchestrator.squad.load import Squad


class Order(NamedTuple):
    """What the command line asks of one fork."""

    source: str
    start: str | None
    file: str | None
    pairs: tuple[str, ...]
    run_id: str | None
    out: str | None
    max_cost: float | None
    timeout: float | None
    approve: Approve
    dry_run: bool
    json: bool
    settings: Settings
    db: str | None


@click.command("fork", cls=Command)
@click.argument("run")
@click.option("--from", "start", metavar="TASK", help="Do this task anew, and all that needs it.")
@click.option("--file", metavar="FILE", help="The squad from now on (the file that RUN began with, as it stands now).")
@click.option("-i", "--input", "pairs", multiple=True, metavar="KEY=VALUE", help="Another input; may be repeated.")
@click.option("--run-id", metavar="ID", help="The new run's name (made from the squad's, and the time).")
@click.option("--out", metavar="DIR", help="Where artifacts are written (out/<run-id>).")
@click.option("--max-cost", type=Usd(), metavar="USD", help="Stop before the new run costs more (as RUN).")
@click.option("--timeout", type=Duration(), metavar="DUR", help="Stop after this time: 90s, 10m, 2h (as RUN).")
@click.option("--approve", type=click.Choice(["ask", "deny", "auto"]), default="ask", help="Who answers gates (ask).")
@click.option("--dry-run", is_flag=True, help="Say what is taken over and what runs, no more. Spends nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the new events to stdout as JSON Lines.")
@db_option
@click.pass_context
def fork_command(context: click.Context, /, run: str, as_json: bool, **given: Any) -> int:
    """Begin a new run that takes over what RUN did, except TASK, what was edited, and all that needs these.

    What is taken over is not paid again. RUN stays as it is; it may be at work.
    """
    run_id: str | None = given["run_id"]
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        raise Unusable(f"--run-id {run_id!r}: letters, digits, '.', '_' and '-' only, at most 100")
    return anyio.run(_fork, Order(source=run, json=as_json, settings=settings_of(context), **given))


async def _fork(order: Order) -> Exit:
    import time

    from orchestrator.fork import edit_of_run, fork_run
    from orchestrator.options import capped, raised
    from orchestrator.runtime import new_run_id

    settings, talk = order.settings, Console(order.settings)
    async with open_record(settings, order.db) as journal:
        about = await journal.about(order.source)
        squad = squad_of(about, settings) if order.file is None else load_squad(order.file, settings)
        inputs = squad.coerce(split_inputs(order.pairs))
        edit = await edit_of_run(squad, order.source, journal=journal, start=order.start, inputs=inputs)
        if not edit.is_more:
            raise Unusable(f"nothing of {order.source} would run again", "name a task: --from TASK")
        lines = [*described(edit), inherited(edit)]
        if order.dry_run:
            click.echo(printable("\n".join(lines)))
            return Exit.DONE
        talk.say(printable("\n".join(lines)) + "\n")
        name = order.run_id or new_run_id(edit.plan.name, time.time())
        environ = environment(settings)

        def opening(ask: Answer) -> AbstractAsyncContextManager[Run]:
            return fork_run(
                squad,
                order.source,
                journal=journal,
                start=order.start,
                inputs=inputs,
                out=Path(order.out) if order.out else Path("out") / name,
                run_id=name,
                environ=environ,
                max_cost_usd=order.max_cost,
                timeout_s=order.timeout,
                ask=ask,
                state=settings.state_folder,
            )

        caps = caps_of(
            capped(edit.plan, raised(about.options, {"max_cost_usd": order.max_cost, "timeout_s": order.timeout}))
        )
        return await conduct(Manner(squad.file, order.approve, order.json, settings, caps, journal), opening, talk)


def described(edit: Edit) -> list[str]:
    """Return the lines that say what becomes of each task. Pure."""
    lines = [f"edited: {', '.join(edit.parts)}", ""] if edit.parts else []
    return [*lines, columns([("TASK", "STOOD", "NOW", "SPENT", "WHY"), *_rows(edit)]), ""]


def _rows(edit: Edit) -> Iterator[tuple[str, ...]]:
    former = {new: old for old, new in edit.kept.items()}
    for task in edit.plan.tasks:
        if task in former:
            stand, was = edit.stood[former[task]], former[task]
            now = "kept" if not stand.at_work else "goes on"
            yield task, stand.status, now, _figures(stand.spent), "" if was == task else f"it was called {was}"
        elif task in edit.again:
            stand = edit.stood[task]
            yield task, stand.status, "runs again", _figures(stand.spent), edit.again[task]
        else:
            yield task, "", "runs", "", ""
    for task in edit.gone:
        yield task, edit.stood[task].status, "gone", _figures(edit.stood[task].spent), ""


def _figures(spent: Spent) -> str:
    return "  ".join(filter(None, (tokens(spent.usage.total), usd(None if spent.cost is None else spent.cost / 1e6))))


def inherited(edit: Edit) -> str:
    """Return the line that says what a fork takes over."""
    kept, spent = count(len(edit.kept), "task"), _figures(edit.spent_on(edit.kept))
    return f"{kept} taken over, for which the other run paid {spent}; this one begins at $0.00"


async def preview_edit(settings: Settings, db: str | None, run: str) -> Exit:
    """Write to stdout what would run again if the run were resumed as edited."""
    async with open_record(settings, db) as journal:
        click.echo(await told_edit(squad_of(await journal.about(run), settings), run, journal))
    return Exit.DONE


async def told_edit(squad: Squad, run: str, journal: Journal) -> str:
    """Return what an edit does to a run: each task, and what was spent so far."""
    from orchestrator.fork import edit_of_run

    edit = await edit_of_run(squad, run, journal=journal)
    if not edit.parts:
        return "the squad is as it was recorded: nothing runs again"
    void = [name for name in edit.stood if name not in edit.kept]
    total, lost = _figures(edit.spent_on(edit.stood)), _figures(edit.spent_on(void))
    lines = [*described(edit), f"spent so far, and counted: {total}; of it on what is void: {lost}"]
    return printable("\n".join(lines))
