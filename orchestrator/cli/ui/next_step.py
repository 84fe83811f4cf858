"""Commands that are printed for the user to type: with the options that lead to the same files again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Iterable
from itertools import islice

from orchestrator.cli.app import Settings
from orchestrator.journal.database_url import without_password

READ_RUNS = ("run", "mcp", "runs", "approvals", "explain", "spending", "serve", "worker", "cluster")
"""The commands that take `--db`."""
AT_SERVER = ("run", "runs", "approvals", "explain", "providers")
"""The commands that take `--server`."""
DB_VARIABLE = "ORCHESTRATOR_DB"
"""What names the journal where no `--db` does."""
MOST_ANSWERS = 8
Question = tuple[str, Collection[str]]
"""A question's name, and the choices that it leaves."""


def command_line(settings: Settings, *words: str, db: str | None = None, server: str | None = None) -> str:
    """Return `orchestrator WORDS`, ready for a shell, with the state folder, routing file, and journal or server in
    use. A password in its URL is not repeated."""
    default = Settings()
    options: list[str] = []
    if settings.state != default.state:
        options += ["--state", settings.state]
    if settings.routing is not None:
        options += ["--routing", settings.routing]
    if db is not None and words[0] in READ_RUNS and db != os.environ.get(DB_VARIABLE):
        options += ["--db", without_password(db)]
    if server is not None and words[0] in AT_SERVER:
        options += ["--server", server]
    return shlex.join(["orchestrator", *words, *options])


def answer_line(command: Callable[..., str], run: str, questions: Iterable[Question], *, is_chat: bool = False) -> str:
    """Return the commands that answer the questions, oldest first, and the one that goes on with the run after them.

    Of many only the first few are named: the run asks for the others again.
    """
    goes_on = command("chat", "--session", run) if is_chat else command("runs", "resume", run)
    return " && ".join([*answers_of(command, run, questions), goes_on])


def answers_of(command: Callable[..., str], run: str, questions: Iterable[Question]) -> list[str]:
    """Return a command for each of the first questions."""
    return [_answer(command, run, *question) for question in islice(questions, MOST_ANSWERS)]


def _answer(command: Callable[..., str], run: str, name: str, choices: Collection[str]) -> str:
    if "approve" in choices:
        return command("approvals", "approve", run, name)
    return command("approvals", "say", run, name, "your words")
