"""Commands that are printed for the user to type: with the options that lead to the same files again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection

from orchestrator.cli.app import Settings

READ_RUNS = ("run", "runs", "approvals", "explain", "spending")
"""The commands that take `--db`."""


def command_line(settings: Settings, *words: str, db: str | None = None) -> str:
    """Return `orchestrator WORDS`, ready for a shell, with the state folder, routing file and journal in use."""
    default = Settings()
    options: list[str] = []
    if settings.state != default.state:
        options += ["--state", settings.state]
    if settings.routing is not None:
        options += ["--routing", settings.routing]
    if db is not None and words[0] in READ_RUNS:
        options += ["--db", db]
    return shlex.join(["orchestrator", *words, *options])


def answer_line(command: Callable[..., str], run: str, question: str, choices: Collection[str]) -> str:
    """Return the command that answers a question, and the one that goes on with the run after it."""
    if "approve" in choices:
        answer = command("approvals", "approve", run, question)
    elif "say" in choices:
        answer = command("approvals", "say", run, question, "your words")
    else:
        return command("approvals", "show", run, question)
    return f"{answer} && {command('runs', 'resume', run)}"
