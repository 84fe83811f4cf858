"""`runs show`: the state of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

from orchestrator.cli.app import Command
from orchestrator.cli.files import environment
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.cuts import cut_lines
from orchestrator.cli.ui.figures import duration, tokens, usd
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.next_step import answer_line
from orchestrator.cli.ui.outcome import cut_short_lines, state_document, with_reasons
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.reasons import by_command, reason_lines
from orchestrator.cli.ui.task_row import in_words
from orchestrator.cli.ui.tool_calls import LISTED, tool_calls
from orchestrator.events import GateOpened, to_json
from orchestrator.journal.protocols import RunManifest
from orchestrator.run.approvals import questions_of
from orchestrator.run.open_calls import cut_short_cost
from orchestrator.run.standing import INTERRUPTED, UNFINISHED, state_in
from providers.documents.unicode import printable

MOST_UNREAD = 12

MOST_CALLS = 20


@click.command("show", cls=Command)
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Write all its events as JSON Lines.")
@reads_runs
async def show_command(records: RecordedRuns, run: str, as_json: bool) -> None:
    """Show the state of a run: its tasks, its cost, what awaits approval, what to do next."""
    journal = records.journal
    manifest = await journal.manifest(run)
    events = await journal.events(run)
    progress, environ = Progress(), environment(records.settings)
    for document in map(to_json, events):
        progress.apply(document)
        if as_json:
            print_json(mask_document(with_reasons(document, progress), environ))
    state = await state_in(journal, run, progress.status)
    if state != "running":
        progress.leave("cancelled" if state == "cancelled" else INTERRUPTED)
    is_over = progress.finished is not None
    lost = cut_short_cost(events, is_driven=is_over or state == "running")
    if as_json:
        if state != progress.status:  # no event tells of it
            print_json(mask_document(state_document(run, state, progress, lost), environ))
        return
    cut = [step.path for step in await journal.cut_short(run)] if state == UNFINISHED else []
    gates = (await questions_of(journal, run)).open
    lines = described(run, manifest, progress, state, cut, gates, records.command, lost)
    lines += await _calls(records, run)
    if state == "cancelled":
        fork = records.command("runs", "fork", run)
        lines.append(f"it was cancelled for good; `{fork}` begins a new run that takes over what it did")
    if state in (UNFINISHED, INTERRUPTED, "waiting", "paused"):
        questions, is_chat = ((gate.name, gate.choices) for gate in gates), bool(manifest.options.get("chat"))
        following = answer_line(records.command, run, questions, is_chat=is_chat)
        lines.append(f"next: {following}")
    click.echo(printable("\n".join(lines)))


async def _calls(records: RecordedRuns, run: str) -> list[str]:
    """Return a line for each of the latest calls of tools; with `--verbose` all of them, whole."""
    settings = records.settings
    calls, environ = list(tool_calls(await records.journal.steps(run))), environment(settings)
    shown = calls if settings.verbose else calls[-MOST_CALLS:]
    more = [f"tool: {len(calls) - len(shown)} earlier calls: --verbose shows them"] if len(shown) < len(calls) else []
    most = None if settings.verbose else LISTED
    return [*more, *(mask_secrets(f"tool: {one.place}, turn {one.turn}: {one.line(most)}", environ) for one in shown)]


def described(
    run: str,
    manifest: RunManifest,
    progress: Progress,
    state: str,
    cut: list[str],
    gates: Sequence[GateOpened],
    command: Callable[..., str],
    cut_short: int = 0,
) -> list[str]:
    """Return the lines that show a run's state. `cut_short`: micro-USD, as `RunFinished` has it. Pure."""
    figures = "  ".join(filter(None, (tokens(progress.tokens), usd(progress.cost))))
    lines = [f"{run}: {state}  {figures}", f"squad: {manifest.squad} ({manifest.file})"]
    lines += [f"forked: {progress.forked}"] if progress.forked else []
    lines += [f"folder: {progress.out}"] if progress.out else []
    rows = [
        (row.name, row.who, in_words(row.state), duration(row.seconds(row.ended or 0.0)) if row.ended else "")
        for row in progress.rows.values()
    ]
    lines += ["", columns([("TASK", "WHO", "STATE", "TIME"), *rows]), ""]
    lines += [by_command(line, command, run) for line in reason_lines(progress.reasons)]
    lines += [f"paused: {row}: {why}" for row, why in progress.reasons.parked.items() if state == "paused"]
    lines += [f"warning: {line}" for line in cut_lines(progress.truncated())]
    lines += list(_unread(progress))
    lines += [f"in flight when the run was cut short: {key}" for key in cut]
    lines += cut_short_lines(cut_short)
    lines += [f"awaiting approval: {gate.name}: {gate.prompt}" for gate in gates]
    return lines


def _unread(progress: Progress) -> Iterator[str]:
    """Yield the control lines of conversations that could not be followed, and how many there are."""
    if progress.unread:
        yield f"control lines that could not be followed: {len(progress.unread)}"
    for task, text in progress.unread[:MOST_UNREAD]:
        yield f"  {task}: {text}"
    if len(progress.unread) > MOST_UNREAD:
        yield f"  and {len(progress.unread) - MOST_UNREAD} more"
