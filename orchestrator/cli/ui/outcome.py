"""The end of a run: outputs on stdout; what failed, the cost, the artifacts and the next command on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.cuts import cut_lines
from orchestrator.cli.ui.figures import tokens, usd
from orchestrator.cli.ui.next_step import Question, answer_line
from orchestrator.cli.ui.notices import STUB_NOTICE
from orchestrator.cli.ui.progress import Progress
from orchestrator.cli.ui.reasons import Document, by_command, reason_lines
from orchestrator.cli.ui.task_row import in_words
from orchestrator.run.result import RunResult
from orchestrator.run.standing import state_of
from providers.documents.unicode import printable

MOST_ARTIFACTS = 12


def print_results(result: RunResult, progress: Progress) -> None:
    """Write the outputs that there are to stdout. Where the squad declares none, the last task's output is written."""
    outputs = {name: value for name, value in result.outputs.items() if value is not None}
    if not result.outputs and result.status == "done":
        click.echo(printable(as_text(progress.last_output)))
    for name, value in outputs.items():
        text = printable(as_text(value))
        if len(result.outputs) == 1:
            click.echo(text)
        else:
            click.echo(f"{name}:\n{text}\n" if "\n" in text else f"{name}: {text}")


def as_text(value: Any) -> str:
    """Return text as it is, nothing as nothing, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2 if value else None)


@dataclass(frozen=True, slots=True)
class Continuation:
    """How the user can go on after a run: its squad file, how commands are written, what its record allows."""

    file: str
    command: Callable[..., str]
    recorded: bool
    cancelled: bool
    """Whether `runs cancel` ended it."""
    questions: Sequence[Question] = ()
    """Those that await an answer, oldest first."""
    following: str = ""
    """The command that helps most, where that is known already: of a run at a server."""

    @property
    def resumable(self) -> bool:
        return self.recorded and not self.cancelled

    def state(self, status: str) -> str:
        """Return a run's status as people read it: what Ctrl-C stopped is not what was cancelled for good."""
        return state_of(status, is_driven=False, is_cancelled=self.cancelled)


def tell_end(console: Console, progress: Progress, result: RunResult, after: Continuation) -> None:
    """Say how the run ended and what may be done next."""
    states = ", ".join(f"{number} {in_words(state)}" for state, number in task_counts(result.tasks).items())
    figures = "  ".join(filter(None, (progress.took(), tokens(result.usage.total), usd(micro(result.cost)))))
    console.say(f"\n{result.run_id}: {after.state(result.status)}  ({states})  {figures}")
    last = "failed, and gone on after it" if result.status == "done" else "last failure"
    for line in reason_lines(progress.reasons, last=last):
        console.write(printable(by_command(line, after.command, result.run_id)))
    for line in cut_lines(progress.truncated()):
        console.warn(printable(line))
    for line in cut_short_lines(result.cut_short):
        console.say(line)
    _tell_artifacts(console, result)
    for task, reason in result.waiting.items():
        console.write(printable(f"waiting: {task}: {reason}"))
    if not after.following and (advice := advice_for(result, progress, after)) and not console.quiet:
        console.hint(advice)
    console.say(f"next: {after.following or next_command(result, progress, after)}")
    if result.stub:
        console.say(STUB_NOTICE)


def cut_short_lines(cost: int) -> list[str]:
    """Return a line on what calls may have cost besides (micro-USD) whose end is not known; none for nothing."""
    return [f"not in the cost: up to {usd(micro(cost))} for calls that were cut short"] if cost else []


def _from_here(path: Path) -> Path:
    """Return a path as one types it in the working folder, where it is below that: a record has the whole path."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _tell_artifacts(console: Console, result: RunResult) -> None:
    for path in list(result.artifacts)[:MOST_ARTIFACTS]:
        console.say(printable(f"artifact: {_from_here(result.out / path) if result.out else path}"))
    more = len(result.artifacts) - MOST_ARTIFACTS
    if more > 0:
        console.say(f"artifact: and {more} more in {result.out}")


def advice_for(result: RunResult, progress: Progress, after: Continuation) -> str:
    """Return what has to change before the next command helps; empty where nothing has to."""
    match result.status:
        case "waiting" if not after.resumable:
            return "the run is not recorded: answer on a terminal, or give --approve auto or --approve deny"
        case "cancelled" if after.cancelled:
            fork = after.command("runs", "fork", result.run_id)
            return f"a cancelled run cannot be resumed; `{fork}` begins a new run that takes over what it did"
        case "cancelled" if after.recorded:
            return "interrupted, not cancelled for good: what is recorded is not paid for again"
        case "paused" if progress.out_of == "day":
            return "raise the day's budget in the routing file, or wait for another day"
        case "paused" if progress.out_of == "file":
            return "see to that file or its folder: what is recorded is written then, and not paid for again"
        case "paused" | "stopped":
            return f"raise the budget in {after.file}, or give --max-cost or --timeout"
        case "failed" if result.output_errors:
            return f"correct `outputs` in {after.file}: what the tasks made is not paid for again"
        case "done" if result.stub:
            return "set the key of a provider to ask a model instead of the stub"
    return ""


def next_command(result: RunResult, progress: Progress, after: Continuation) -> str:
    """Return the command that helps most after such an end."""
    again = after.command("runs", "resume", result.run_id) if after.resumable else after.command("run", after.file)
    match result.status:
        case "waiting":
            if not after.resumable:
                return again
            return answer_line(after.command, result.run_id, after.questions)
        case "paused" | "cancelled":
            return again
        case "stopped":
            # What it paid for is taken over; its budget is counted anew.
            failed = next((task for task, state in result.tasks.items() if state in ("failed", "interrupted")), None)
            if failed is None or not after.recorded:
                return after.command("run", after.file)
            return after.command("runs", "fork", result.run_id, "--from", failed)
        case "failed" if result.output_errors and after.resumable:
            return after.command("runs", "resume", result.run_id, "--edited")
    if result.stub and result.status == "done":
        return after.command("providers", "ls")
    task = None if result.status == "rejected" else progress.to_explain()
    if task is None or not after.recorded:
        return after.command("runs", "show", result.run_id) if after.recorded else after.command("run", after.file)
    return after.command("explain", result.run_id, task)


def with_reasons(document: Document, progress: Progress) -> Document:
    """Return a document of `--json`: the last one of a run says why it ended so, too."""
    return {**document, **progress.reasons.document()} if document["type"] == "run.finished" else document


def state_document(run: str, state: str, progress: Progress, cut_short: int) -> Document:
    """Return how a run stands of which no event tells it: it was killed, stopped or cancelled.

    `cut_short` (micro-USD) is what calls may have cost besides whose end is not known.
    """
    tasks = {name: in_words(row.state) for name, row in progress.rows.items()}
    known = {"run_id": run, "state": state, "tasks": tasks, "cut_short_usd": micro(cut_short)}
    return {"type": "run.state", **known, **progress.reasons.document()}


def task_counts(tasks: Mapping[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in tasks.values():
        counts[status] = counts.get(status, 0) + 1
    return counts


def micro(cost: int | None) -> float | None:
    """Return micro-USD as USD."""
    return None if cost is None else cost / 1e6
