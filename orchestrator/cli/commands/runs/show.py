"""`runs show`: the state of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

from orchestrator.cli.app import Command, Settings, argument
from orchestrator.cli.desk import Desk
from orchestrator.cli.desks import at_desk
from orchestrator.cli.files import environment
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.cuts import cut_lines
from orchestrator.cli.ui.figures import duration, tokens, usd
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.outcome import cut_short_lines, state_document, with_reasons
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.reasons import by_command, reason_lines
from orchestrator.cli.ui.task_row import in_words
from orchestrator.run.recorded import RecordedRun
from orchestrator.run.standing import INTERRUPTED, UNFINISHED
from orchestrator.run.tool_calls import LISTED, ShownCall
from providers.documents.unicode import printable

MOST_UNREAD = 12

MOST_CALLS = 20


@click.command("show", cls=Command)
@argument("run", help="The run's id; `runs ls` lists them.")
@click.option("--json", "as_json", is_flag=True, help="Write all its events as JSON Lines.")
@at_desk
async def show_command(desk: Desk, run: str, as_json: bool) -> None:
    """Show the state of a run: its tasks, its cost, what awaits approval, what to do next."""
    found = await desk.record(run)
    progress, environ = Progress(), environment(desk.settings)
    for document in found.events:
        progress.apply(document)
        if as_json:
            print_json(mask_document(with_reasons(document, progress), environ))
    state = found.state
    if state not in ("running", "queued"):
        progress.leave("cancelled" if state == "cancelled" else INTERRUPTED)
    if as_json:
        if state != progress.status:  # no event tells of it
            print_json(mask_document(state_document(run, state, progress, found.cut_short), environ))
        return
    lines = [*described(found, progress, desk.command), *_calls(found.calls, desk.settings)]
    if state == "cancelled":
        fork = desk.command("runs", "fork", run)
        lines.append(f"it was cancelled for good; `{fork}` begins a new run that takes over what it did")
    if state in (UNFINISHED, INTERRUPTED, "waiting", "paused"):
        questions = [(gate.name, gate.choices) for gate in found.questions]
        lines.append(f"next: {desk.goes_on_by(run, questions, is_chat=found.is_chat)}")
    click.echo(printable("\n".join(lines)))


def _calls(calls: Sequence[ShownCall], settings: Settings) -> list[str]:
    """Return a line for each of the latest calls of tools; with `--verbose` all of them, whole."""
    environ = environment(settings)
    shown = calls if settings.verbose else calls[-MOST_CALLS:]
    more = [f"tool: {len(calls) - len(shown)} earlier calls: --verbose shows them"] if len(shown) < len(calls) else []
    most = None if settings.verbose else LISTED
    return [*more, *(mask_secrets(f"tool: {one.place}, turn {one.turn}: {one.line(most)}", environ) for one in shown)]


def described(found: RecordedRun, progress: Progress, command: Callable[..., str]) -> list[str]:
    """Return the lines that show a run's state. Pure."""
    figures = "  ".join(filter(None, (tokens(progress.tokens), usd(progress.cost))))
    lines = [f"{found.run}: {found.state}  {figures}", f"squad: {found.squad} ({found.file})"]
    lines += [f"priority: {found.priority}"] if found.priority else []
    lines += [f"forked: {progress.forked}"] if progress.forked else []
    lines += [f"folder: {progress.out}"] if progress.out else []
    rows = [
        (row.name, row.who, in_words(row.state), duration(row.seconds(row.ended or 0.0)) if row.ended else "")
        for row in progress.rows.values()
    ]
    lines += ["", columns([("TASK", "WHO", "STATE", "TIME"), *rows]), ""]
    lines += [by_command(line, command, found.run) for line in reason_lines(progress.reasons)]
    lines += [f"paused: {row}: {why}" for row, why in progress.reasons.parked.items() if found.state == "paused"]
    lines += [f"warning: {line}" for line in cut_lines(progress.truncated())]
    lines += list(_unread(progress))
    lines += [f"in flight when the run was cut short: {key}" for key in found.in_flight]
    lines += cut_short_lines(found.cut_short)
    lines += [f"awaiting approval: {gate.name}: {gate.prompt}" for gate in found.questions]
    return lines


def _unread(progress: Progress) -> Iterator[str]:
    """Yield the control lines of conversations that could not be followed, and how many there are."""
    if progress.unread:
        yield f"control lines that could not be followed: {len(progress.unread)}"
    for task, text in progress.unread[:MOST_UNREAD]:
        yield f"  {task}: {text}"
    if len(progress.unread) > MOST_UNREAD:
        yield f"  and {len(progress.unread) - MOST_UNREAD} more"
