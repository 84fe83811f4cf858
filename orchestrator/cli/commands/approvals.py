"""`approvals`: a person's answers to runs that await one, from any process."""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from orchestrator.cli.app import Command, Group
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.journals import RecordedRuns, reads_runs
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.events import GateOpened
from orchestrator.journal.protocols import Journal
from orchestrator.run.approvals import SIGNAL, answer_gate, digest_of
from orchestrator.run.history import history_of
from providers.documents.unicode import printable

MOST_RUNS = 1000
ANSWERS = {
    "approve": ("approve", "Approve TASK of RUN: the run goes on."),
    "revise": ("revise", "Send TASK of RUN back: the tasks before it run again, with your comment."),
    "deny": ("reject", "Reject TASK of RUN."),
}
"""Command -> (the choice that it records, its help)."""


class OpenGate(NamedTuple):
    """A gate that is open and not answered yet."""

    run: str
    gate: GateOpened


@click.group("approvals", cls=Group)
def approvals_command() -> None:
    """List the tasks that await approval; approve, revise or deny one."""


@approvals_command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@reads_runs
async def list_approvals(records: RecordedRuns, as_json: bool) -> None:
    """List what awaits approval: run, task, choices, question."""
    lines = await records.journal.runs(MOST_RUNS, statuses=("waiting", "running"))
    found = [gate for line in lines for gate in await open_gates(records.journal, line.run)]
    if as_json:
        print_json([_document(one) for one in found])
        return
    if not found:
        records.console.say("nothing awaits approval")
    rows = [(o.run, o.gate.task, "/".join(o.gate.choices), o.gate.prompt) for o in found]
    click.echo(columns([("RUN", "TASK", "CHOICES", "QUESTION"), *(tuple(map(printable, row)) for row in rows)]))


@approvals_command.command("show")
@click.argument("run")
@click.argument("task", required=False)
@reads_runs
async def show_approval(records: RecordedRuns, run: str, task: str | None) -> None:
    """Show the question and the texts to decide on. TASK may be left out where RUN awaits one approval."""
    gate = (await _find(records.journal, run, task)).gate
    for title, text in gate.shown.items():
        click.echo(f"--- {printable(title)} ---\n{printable(text)}\n")
    click.echo(f"{printable(gate.prompt)}  ({' / '.join(gate.choices)})")


def answer_command(name: str, choice: str, help_text: str) -> Command:
    """Return the command that answers a gate with one of its choices."""

    @click.command(name, cls=Command, help=help_text)
    @click.argument("run")
    @click.argument("task", required=False)
    @click.option("--comment", default="", metavar="TEXT", help="A comment that the agents read.")
    @reads_runs
    async def answer(records: RecordedRuns, run: str, task: str | None, comment: str) -> None:
        await _answer(records, run, task, choice, comment)

    return answer


for _name, (_choice, _help) in ANSWERS.items():
    approvals_command.add_command(answer_command(_name, _choice, _help))


@approvals_command.command("say")
@click.argument("run")
@click.argument("task")
@click.argument("words")
@reads_runs
async def say(records: RecordedRuns, run: str, task: str, words: str) -> None:
    """Say WORDS in a conversation of RUN that awaits a person's reply at TASK."""
    await _answer(records, run, task, "say", words)


async def _answer(records: RecordedRuns, run: str, task: str | None, choice: str, comment: str) -> None:
    """Record the answer, and say what happens next: a process that drives the run hears it by itself."""
    journal = records.journal
    found = await _find(journal, run, task)
    try:
        await answer_gate(journal, run, found.gate, choice, comment)
    except ValueError as error:
        raise Unusable(str(error)) from None
    at_work = "the run is at work and continues with this answer"
    follows = at_work if await journal.is_driven(run) else f"next: {records.command('runs', 'resume', run)}"
    records.console.say(f"{found.gate.task}: {choice}\n{follows}")


async def _find(journal: Journal, run: str, task: str | None) -> OpenGate:
    """Return the gate of the task; without a task the only one that there is."""
    await journal.manifest(run)
    found = await open_gates(journal, run)
    meant = [one for one in found if task in (None, one.gate.task)]
    if meant and (task is not None or len(meant) == 1):
        return meant[0]
    waiting = ", ".join(one.gate.task for one in found) or "nothing"
    if task is not None:
        what = f"the task {task} of {run} does not await approval"
    else:
        what = f"{run} awaits several approvals: name the task" if found else f"{run} awaits no approval"
    raise NothingSelected(what, f"awaiting approval in this run: {waiting}")


async def open_gates(journal: Journal, run: str) -> list[OpenGate]:
    """Return the gates of a run that are open and unanswered, oldest first."""
    gates = history_of(await journal.events(run)).gates.values()
    answered = {value["gate"] for name, value in await journal.signals(run) if name == SIGNAL}
    return [OpenGate(run, gate.opened) for gate in gates if digest_of(gate.opened) not in answered]


def _document(one: OpenGate) -> dict[str, Any]:
    gate = one.gate
    return {
        "run": one.run,
        "task": gate.task,
        "prompt": gate.prompt,
        "choices": list(gate.choices),
        "shown": dict(gate.shown),
        "attempt": gate.attempt,
    }
