"""`approvals`: a person's answers to runs that wait for one, from any process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import click

from orchestrator.cli.app import Group, Settings, settings_of
from orchestrator.cli.exits import NothingSelected, Unusable
from orchestrator.cli.journals import open_record
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import Console, print_json
from providers.documents.unicode import printable

if TYPE_CHECKING:
    from orchestrator.events import GateOpened
    from orchestrator.journal.protocols import Journal

db_option = click.option("--db", metavar="URL", help="Where runs are recorded: sqlite:///PATH (STATE/journal.db).")
comment_option = click.option("--comment", default="", metavar="TEXT", help="What the agents are told with it.")
MOST_RUNS = 1000


class Open(NamedTuple):
    """A gate that nobody has answered yet."""

    run: str
    gate: GateOpened


@click.group("approvals", cls=Group)
def approvals_command() -> None:
    """What waits for a person."""


@approvals_command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@db_option
@click.pass_context
def list_approvals(context: click.Context, as_json: bool, db: str | None) -> None:
    """List the open questions: run, task, question, choices."""
    found = anyio.run(_all_open, settings_of(context), db)
    if as_json:
        print_json([_document(one) for one in found])
        return
    rows = [(o.run, o.gate.task, "/".join(o.gate.choices), o.gate.prompt) for o in found]
    click.echo(columns([("RUN", "TASK", "CHOICES", "QUESTION"), *(tuple(map(printable, row)) for row in rows)]))


@approvals_command.command("show")
@click.argument("run")
@click.argument("task")
@db_option
@click.pass_context
def show_approval(context: click.Context, run: str, task: str, db: str | None) -> None:
    """Show all that the person is to judge."""
    gate = anyio.run(_one, settings_of(context), db, run, task).gate
    for title, text in gate.shown.items():
        click.echo(f"--- {printable(title)} ---\n{printable(text)}\n")
    click.echo(f"{printable(gate.prompt)}  ({' / '.join(gate.choices)})")


@approvals_command.command("approve")
@click.argument("run")
@click.argument("task")
@comment_option
@db_option
@click.pass_context
def approve(context: click.Context, run: str, task: str, comment: str, db: str | None) -> None:
    """Let TASK of RUN pass."""
    _answer(context, db, run, task, "approve", comment)


@approvals_command.command("revise")
@click.argument("run")
@click.argument("task")
@comment_option
@db_option
@click.pass_context
def revise(context: click.Context, run: str, task: str, comment: str, db: str | None) -> None:
    """Have what leads to TASK done again, with a comment."""
    _answer(context, db, run, task, "revise", comment)


@approvals_command.command("deny")
@click.argument("run")
@click.argument("task")
@comment_option
@db_option
@click.pass_context
def deny(context: click.Context, run: str, task: str, comment: str, db: str | None) -> None:
    """Reject TASK of RUN."""
    _answer(context, db, run, task, "reject", comment)


@approvals_command.command("say")
@click.argument("run")
@click.argument("task")
@click.argument("words")
@db_option
@click.pass_context
def say(context: click.Context, run: str, task: str, words: str, db: str | None) -> None:
    """Speak WORDS in a conversation of RUN that waits for a person at TASK."""
    _answer(context, db, run, task, "say", words)


def _answer(context: click.Context, db: str | None, run: str, task: str, choice: str, comment: str) -> None:
    driven = anyio.run(_record_answer, settings_of(context), db, run, task, choice, comment)
    follows = "the run is at work, and goes on with it" if driven else f"next: orchestrator runs resume {run}"
    Console(settings_of(context)).say(f"{task}: {choice}\n{follows}")


async def _record_answer(settings: Settings, db: str | None, run: str, task: str, choice: str, comment: str) -> bool:
    """Record the answer; return whether a process drives the run and will hear it."""
    from orchestrator.run.approvals import answer_gate

    async with open_record(settings, db) as journal:
        found = await _find(journal, run, task)
        try:
            await answer_gate(journal, run, found.gate, choice, comment)
        except ValueError as error:
            raise Unusable(str(error)) from None
        return journal.is_driven(run)


async def _one(settings: Settings, db: str | None, run: str, task: str) -> Open:
    async with open_record(settings, db) as journal:
        return await _find(journal, run, task)


async def _find(journal: Journal, run: str, task: str) -> Open:
    await journal.about(run)
    found = await open_gates(journal, run)
    for one in found:
        if one.gate.task == task:
            return one
    waiting = ", ".join(one.gate.task for one in found) or "nothing"
    raise NothingSelected(f"{task} of {run} waits for nobody", f"waiting there: {waiting}")


async def _all_open(settings: Settings, db: str | None) -> list[Open]:
    async with open_record(settings, db) as journal:
        lines = await journal.runs(MOST_RUNS, statuses=("waiting", "running"))
        return [gate for line in lines for gate in await open_gates(journal, line.run)]


async def open_gates(journal: Journal, run: str) -> list[Open]:
    """Return the gates of a run that are open and unanswered, oldest first."""
    from orchestrator.run.approvals import SIGNAL, digest_of
    from orchestrator.run.history import history_of

    gates = history_of(await journal.events(run)).gates.values()
    answered = {value["gate"] for name, value in await journal.signals(run) if name == SIGNAL}
    return [Open(run, gate.opened) for gate in gates if digest_of(gate.opened) not in answered]


def _document(one: Open) -> dict[str, Any]:
    gate = one.gate
    return {
        "run": one.run,
        "task": gate.task,
        "prompt": gate.prompt,
        "choices": list(gate.choices),
        "shown": dict(gate.shown),
        "attempt": gate.attempt,
    }
