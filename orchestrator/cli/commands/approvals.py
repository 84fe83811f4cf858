"""`approvals`: a person's answers to runs that await one, from any process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.app import Command, Group, argument
from orchestrator.cli.desk import Desk, GivenToQuestion
from orchestrator.cli.desks import at_desk
from orchestrator.cli.exits import Unusable
from orchestrator.cli.files import environment
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.gates import as_shown
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.events import GateOpened
from providers.documents.unicode import printable

ANSWERS = {
    "revise": ("revise", "Send TASK of RUN back: the tasks before it run again, with your comment."),
    "deny": ("reject", "Reject TASK of RUN."),
    "reject": ("reject", "Reject TASK of RUN: the same as `deny`."),
}
"""Command -> (the choice that it records, its help)."""


@click.group("approvals", cls=Group)
def approvals_command() -> None:
    """List the questions that await a person; approve, revise or deny one, or speak in a conversation.

    TASK names a question as `ls` shows it. A task's name, or the beginning of a question's, is enough if it is the
    only one.
    """


@approvals_command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@at_desk
async def list_approvals(desk: Desk, as_json: bool) -> None:
    """List what awaits a person: run, task, choices, question."""
    found, environ = await desk.questions(), environment(desk.settings)
    if as_json:
        print_json([mask_document(_document(run, gate), environ) for run, gate in found])
        return
    if not found:
        desk.console.say("No approvals are waiting.")
        return
    rows = [(run, gate.name, "/".join(gate.choices), mask_secrets(gate.prompt, environ)) for run, gate in found]
    lines_of = (tuple(" ".join(printable(cell).split()) for cell in row) for row in rows)
    click.echo(columns([("RUN", "TASK", "CHOICES", "QUESTION"), *lines_of]))


@approvals_command.command("show")
@argument("run", help="The run's id; `runs ls` lists them.")
@argument("task", required=False, help="The task or call that asks; not needed where only one does.")
@at_desk
async def show_approval(desk: Desk, run: str, task: str | None) -> None:
    """Show the question and the texts to decide on. TASK may be left out if RUN awaits only one answer."""
    gate, environ = await desk.question(run, task), environment(desk.settings)
    for title, text in gate.shown.items():
        click.echo(f"--- {printable(title)} ---\n{as_shown(text, environ, sys.maxsize)}\n")
    click.echo(f"{mask_secrets(printable(gate.prompt), environ)}  ({' / '.join(gate.choices)})")
    if gate.is_used_up:
        click.echo(gate.is_used_up)
    if gate.editable:
        with_what = "--args JSON" if gate.editable == "arguments" else "--edit FILE"
        click.echo(f"`approve {with_what}` changes the {gate.editable}")
    if gate.grant:
        click.echo("`approve --for-run` allows all further calls of this tool by this agent in this run, too")


def answer_command(name: str, choice: str, help_text: str) -> Command:
    """Return the command that answers a question with one of its choices."""

    @click.command(name, cls=Command, help=help_text)
    @argument("run", help="The run's id; `runs ls` lists them.")
    @argument(
        "task",
        required=False,
        help="The task or call that asks; not needed where only one does.",
    )
    @click.option("--comment", default="", metavar="TEXT", help="A comment that the agents read.")
    @at_desk
    async def answer(desk: Desk, run: str, task: str | None, comment: str) -> None:
        await _answer(desk, run, GivenToQuestion(task, choice, comment))

    return answer


@approvals_command.command("approve")
@argument("run", help="The run's id; `runs ls` lists them.")
@argument("task", required=False, help="The task or call that asks; not needed where only one does.")
@click.option("--comment", default="", metavar="TEXT", help="A comment that the agents read.")
@click.option("--args", "arguments", metavar="JSON", help="Call the tool with these arguments instead.")
@click.option("--edit", "file", metavar="FILE", help="Use the text of this file instead (- is stdin).")
@click.option("--for-run", is_flag=True, help="Allow this agent's further calls of the tool in this run, too.")
@at_desk
async def approve(
    desk: Desk,
    run: str,
    task: str | None,
    comment: str,
    arguments: str | None,
    file: str | None,
    for_run: bool,
) -> None:
    """Approve TASK of RUN: the run goes on. You may also change a tool's arguments, or a text."""
    if arguments is not None and file is not None:
        raise Unusable("--args and --edit both say what counts instead", "give one of them")
    if arguments is not None and (await desk.question(run, task)).editable != "arguments":
        raise Unusable("--args is for a tool's call, and this is none", "--edit FILE changes a text")
    edited = arguments if file is None else _text_of(file)
    await _answer(desk, run, GivenToQuestion(task, "approve", comment, edited, for_run))


def _text_of(file: str) -> str:
    """Return the text of a file, or of stdin. Raise `Unusable`."""
    try:
        return sys.stdin.buffer.read().decode() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise Unusable(f"cannot read {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Unusable(f"{file} is not UTF-8 text") from None


for _name, (_choice, _help) in ANSWERS.items():
    approvals_command.add_command(answer_command(_name, _choice, _help))


@approvals_command.command("say")
@argument("run", help="The run's id; `runs ls` lists them.")
@argument(
    "said",
    nargs=-1,
    required=True,
    metavar="[TASK] WORDS",
    help="What is said; the task first, where several ask.",
)
@at_desk
async def say(desk: Desk, run: str, said: tuple[str, ...]) -> None:
    """Speak in a conversation of RUN that awaits a person.

    WORDS are one argument, in quotes. TASK may be left out if RUN awaits only one answer.
    """
    if len(said) > 2:
        raise Unusable("WORDS are one argument", "put them in quotes")
    task, words = said if len(said) == 2 else (None, said[0])
    if task is None:
        awaited = [question.name for question in (await desk.record(run)).questions]
        if any(f"{name}/".startswith(f"{words}/") for name in awaited):
            raise Unusable(f"{words} is what awaits a reply: what are your words?", "WORDS come behind it, in quotes")
    await _answer(desk, run, GivenToQuestion(task, "say", words))


async def _answer(desk: Desk, run: str, given: GivenToQuestion) -> None:
    """Record the answer, and say what happens next: a process that drives the run hears it by itself."""
    name, follows = await desk.answer(run, given)
    how_so = {"changed": given.edited is not None, "for the run": given.for_run}
    said = ", ".join([given.choice, *(word for word, is_so in how_so.items() if is_so)])
    desk.console.say(printable(f"{name}: {said}\n{follows}"))


def _document(run: str, gate: GateOpened) -> dict[str, Any]:
    return {
        "run": run,
        "task": gate.name,
        "prompt": gate.prompt,
        "choices": list(gate.choices),
        "shown": dict(gate.shown),
        "attempt": gate.attempt,
        "editable": gate.editable or None,
        "schema": gate.schema,
        "for_run": bool(gate.grant),
    }
