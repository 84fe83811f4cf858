"""`runs`: what is recorded of runs, going on with one, watching one, stopping one."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any

import anyio
import click

from orchestrator.cli.app import Group, Settings, settings_of
from orchestrator.cli.arguments import Duration, Usd, environment
from orchestrator.cli.commands.approvals import db_option, open_gates
from orchestrator.cli.commands.export import export_command
from orchestrator.cli.commands.fork import fork_command, preview_edit, told_edit
from orchestrator.cli.commands.list_runs import UNFINISHED, ls_command, state_of, when
from orchestrator.cli.commands.replay import in_full, replay_command
from orchestrator.cli.commands.rm import rm_command
from orchestrator.cli.commands.run import caps_of
from orchestrator.cli.exits import Exit, NothingSelected, cause_of
from orchestrator.cli.journals import open_record, squad_of
from orchestrator.cli.run_session import Manner, conduct
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from orchestrator.cli.ui.gates import Answer, Approve
from orchestrator.cli.ui.notices import telling
from orchestrator.cli.ui.progress import Progress, duration, tokens, usd
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.journal.protocols import About
    from orchestrator.runtime import Run


@click.group("runs", cls=Group)
def runs_command() -> None:
    """Recorded runs."""


runs_command.add_command(ls_command)
runs_command.add_command(rm_command)
runs_command.add_command(replay_command)
runs_command.add_command(export_command)
runs_command.add_command(fork_command)


@runs_command.command("show")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Write all its events as JSON Lines.")
@db_option
@click.pass_context
def show_run(context: click.Context, run: str, as_json: bool, db: str | None) -> None:
    """Show where a run stands: its tasks, what was spent, what waits, what to do next."""
    anyio.run(_show, settings_of(context), db, run, as_json)


async def _show(settings: Settings, db: str | None, run: str, as_json: bool) -> None:
    from orchestrator.events import to_json

    async with open_record(settings, db) as journal:
        about = await journal.about(run)
        documents = [to_json(event) for event in await journal.events(run)]
        if as_json:
            for document in documents:
                print_json(document)
            return
        progress = Progress()
        for document in documents:
            progress.apply(document)
        state = state_of(journal, run, progress.status)
        cut = [step.key for step in await journal.cut_short(run)] if state == UNFINISHED else []
        gates = [one.gate.task for one in await open_gates(journal, run)]
    click.echo(printable("\n".join(described(run, about, progress, state, cut, gates))))


def described(run: str, about: About, progress: Progress, state: str, cut: list[str], gates: list[str]) -> list[str]:
    """Return the lines that say where a run stands. Pure."""
    figures = "  ".join(filter(None, (tokens(progress.tokens), usd(progress.cost))))
    lines = [f"{run}: {state}  {figures}", f"squad: {about.squad} ({about.file})"]
    lines += [f"forked: {progress.forked}"] if progress.forked else []
    lines += [f"folder: {progress.out}"] if progress.out else []
    rows = [
        (r.name, r.who, r.state, duration(r.seconds(r.ended or 0.0)) if r.ended else "") for r in progress.rows.values()
    ]
    lines += ["", columns([("TASK", "WHO", "STATE", "TIME"), *rows]), ""]
    lines += [f"in flight when it was cut short: {key}" for key in cut]
    lines += [f"waits for a person: {task}" for task in gates]
    if state in (UNFINISHED, "waiting", "paused", "cancelled"):
        lines.append(f"next: orchestrator runs resume {run}")
    return lines


@runs_command.command("resume")
@click.argument("run")
@click.option("--max-cost", type=Usd(), metavar="USD", help="Instead of the cap that the run began with.")
@click.option("--timeout", type=Duration(), metavar="DUR", help="Instead of the time that the run began with.")
@click.option("--approve", type=click.Choice(["ask", "deny", "auto"]), default="ask", help="Who answers gates (ask).")
@click.option("--edited", is_flag=True, help="The squad was edited: do again what the edit touches, and no more.")
@click.option("--dry-run", is_flag=True, help="With --edited: say what would run again, no more. Spends nothing.")
@click.option("--json", "as_json", is_flag=True, help="Write the new events to stdout as JSON Lines.")
@db_option
@click.pass_context
def resume(
    context: click.Context,
    run: str,
    max_cost: float | None,
    timeout: float | None,
    approve: Approve,
    edited: bool,
    dry_run: bool,
    as_json: bool,
    db: str | None,
) -> int:
    """Go on with a run that was killed, interrupted or parked. What is recorded is not paid again."""
    if dry_run and not edited:
        raise click.UsageError("--dry-run says what an edit would do: give it with --edited")
    settings = settings_of(context)
    if dry_run:
        return anyio.run(preview_edit, settings, db, run)
    return anyio.run(_resume, settings, db, run, (max_cost, timeout), approve, edited, as_json)


async def _resume(
    settings: Settings,
    db: str | None,
    run: str,
    caps: tuple[float | None, float | None],
    approve: Approve,
    edited: bool,
    as_json: bool,
) -> Exit:
    from orchestrator.journal.protocols import StepChanged
    from orchestrator.options import capped, raised
    from orchestrator.runtime import resume_run

    talk = Console(settings)
    async with open_record(settings, db) as journal:
        about = await journal.about(run)
        squad = squad_of(about, settings)
        if edited:
            talk.say(await told_edit(squad, run, journal))
        cost, seconds = caps
        environ = environment(settings)

        def opening(ask: Answer) -> AbstractAsyncContextManager[Run]:
            return resume_run(
                squad,
                run,
                journal=journal,
                environ=environ,
                max_cost_usd=cost,
                timeout_s=seconds,
                ask=ask,
                state=settings.state_folder,
                edited=edited,
                notify=telling(talk.warn),
            )

        limits = caps_of(capped(squad.outline(), raised(about.options, {"max_cost_usd": cost, "timeout_s": seconds})))
        try:
            return await conduct(Manner(about.file, approve, as_json, settings, limits, journal), opening, talk)
        except (StepChanged, ExceptionGroup) as error:
            if isinstance(changed := cause_of(error), StepChanged):
                raise await in_full(changed, journal, run, squad) from error
            raise


@runs_command.command("cancel")
@click.argument("run")
@db_option
@click.pass_context
def cancel(context: click.Context, run: str, db: str | None) -> None:
    """End a run for good: calls in flight may end, nothing more is started, and it is not resumed."""
    driven = anyio.run(_cancel, settings_of(context), db, run)
    Console(settings_of(context)).say(f"{run}: {'asked to stop' if driven else 'cancelled'}")


async def _cancel(settings: Settings, db: str | None, run: str) -> bool:
    from orchestrator.run.history import history_of

    async with open_record(settings, db) as journal:
        await journal.about(run)
        past = history_of(await journal.events(run))
        if past.is_over:
            raise NothingSelected(f"the run {run} is over: {past.status}")
        await journal.request_cancel(run)
        return journal.is_driven(run)


@runs_command.command("watch")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Write all its events as JSON Lines.")
@db_option
@click.pass_context
def watch(context: click.Context, run: str, as_json: bool, db: str | None) -> None:
    """Show a run's events, the recorded ones first, then each new one until it ends."""
    anyio.run(_watch, settings_of(context), db, run, as_json)


async def _watch(settings: Settings, db: str | None, run: str, as_json: bool) -> None:
    from orchestrator.events import to_json

    async with open_record(settings, db) as journal:
        await journal.about(run)
        progress = Progress()
        async with aclosing(journal.watch(run)) as events:
            async for seq, event in events:
                document: Any = to_json(event)
                change = progress.apply(document)
                if as_json:
                    print_json(document)
                elif change is not None:
                    click.echo(printable(f"{when(event.at)}  {change.row}: {change.text}"))
                if event.type == "run.finished" and not await journal.events(run, seq):
                    return
