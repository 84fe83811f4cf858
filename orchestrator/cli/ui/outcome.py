"""How a run's end is told: the outputs on stdout; what failed, the cost, the artifacts and what to do on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.ui.console import Console
from orchestrator.cli.ui.progress import Progress, tokens, usd
from orchestrator.cli.ui.screens import STUB_NOTICE
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.run.driver import RunResult

MOST_ARTIFACTS = 12


def print_results(result: RunResult, progress: Progress) -> None:
    """Write the outputs that there are to stdout. A squad that declares none has its last task's for a result."""
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


def tell_end(talk: Console, progress: Progress, result: RunResult, file: str, *, recorded: bool) -> None:
    """Say how the run ended and what may be done next: a run that is `recorded` can be resumed."""
    states = ", ".join(f"{number} {state}" for state, number in task_counts(result.tasks).items())
    figures = "  ".join(filter(None, (progress.took(), tokens(result.usage.total), usd(micro(result.cost)))))
    talk.say(f"\n{result.run_id}: {result.status}  ({states})  {figures}")
    if progress.last_failure:
        row, why = progress.last_failure
        talk.write(printable(f"last failure: {row}: {why}"))
    _tell_artifacts(talk, result)
    for task, reason in result.waiting.items():
        talk.say(printable(f"waiting: {task}: {reason}"))
    talk.say(f"next: {next_command(result, progress, file, recorded=recorded)}")
    if result.stub:
        talk.say(STUB_NOTICE)


def _tell_artifacts(talk: Console, result: RunResult) -> None:
    for path in list(result.artifacts)[:MOST_ARTIFACTS]:
        talk.say(printable(f"artifact: {result.out / path if result.out else path}"))
    more = len(result.artifacts) - MOST_ARTIFACTS
    if more > 0:
        talk.say(f"artifact: and {more} more in {result.out}")


def next_command(result: RunResult, progress: Progress, file: str, *, recorded: bool) -> str:
    """Return the command that helps most after such an end."""
    again = f"orchestrator runs resume {result.run_id}" if recorded else f"orchestrator run {file}"
    if result.status == "waiting":
        answer = f"orchestrator approvals approve {result.run_id} {next(iter(result.waiting), 'TASK')}, then "
        return (
            f"{answer if recorded else ''}{again}{'' if recorded else ' on a terminal, or with --approve auto or deny'}"
        )
    if result.status == "paused" and progress.out_of == "day":
        return f"raise the day's budget in the routing file, or wait for another day, then {again}"
    if result.status == "paused":
        return f"raise the budget in {file}, or --max-cost and --timeout, then {again}"
    if result.status == "stopped":
        return f"raise the budget in {file}, or --max-cost and --timeout"
    if result.status == "cancelled":
        return again
    if result.stub:
        return "orchestrator providers ls  (shows which keys to set)"
    failed = progress.last_failure[0] if progress.last_failure else None
    task = failed or next(reversed(list(result.tasks)), "TASK")
    return f"orchestrator explain {task.partition('[')[0]}"


def task_counts(tasks: Mapping[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in tasks.values():
        counts[status] = counts.get(status, 0) + 1
    return counts


def micro(cost: int | None) -> float | None:
    """Return micro-USD as USD."""
    return None if cost is None else cost / 1e6
