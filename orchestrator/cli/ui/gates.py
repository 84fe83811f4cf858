"""How a gate is answered from the command line: by `--approve`, by a person at the terminal, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import Literal

import anyio
import click

from orchestrator.events import GateAnswered, GateOpened
from orchestrator.run.questions import Ask
from providers.documents.unicode import printable

ApproveChoice = Literal["ask", "deny", "auto"]
ReadLine = Callable[[], Awaitable[str | None]]
"""Returns the next line without its end, None at the end of the input."""

approve_option = click.option(
    "--approve",
    type=click.Choice(["ask", "deny", "auto"]),
    default="ask",
    help="How approvals are answered: ask a person, deny all, or approve all (ask).",
)


def standing_answer(approve: ApproveChoice, gate: GateOpened) -> GateAnswered | None:
    """Return what `--approve deny` or `auto` answers. None where only a person can: a turn in a conversation, say."""
    wanted = {"deny": "reject", "auto": "approve"}.get(approve)
    return GateAnswered(gate.name, wanted, "", "--approve") if wanted in gate.choices else None


def answering(approve: ApproveChoice, *, at_terminal: bool, aside: Callable[[], AbstractContextManager[None]]) -> Ask:
    """Return the function that answers gates. `aside` makes room on the screen for a question."""
    one_at_a_time = anyio.Lock()

    async def answer(gate: GateOpened) -> GateAnswered | None:
        if approve != "ask" or not at_terminal:
            return standing_answer(approve, gate)
        async with one_at_a_time:
            with aside():
                try:
                    return await ask_person(gate, read_line)
                except anyio.get_cancelled_exc_class():
                    discard_typed()  # it was meant for this question, and would answer the next one
                    raise

    return answer


class Asking:
    """Asks a person until `end` is called; a question that is open then stays unanswered."""

    def __init__(self, answer: Ask) -> None:
        self._answer = answer
        self._over = False
        self._open: set[anyio.CancelScope] = set()

    async def ask(self, gate: GateOpened) -> GateAnswered | None:
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                return None if self._over else await self._answer(gate)
            finally:
                self._open.discard(scope)
        return None

    def end(self) -> None:
        self._over = True
        for scope in self._open:
            scope.cancel()


async def ask_person(gate: GateOpened, read: ReadLine) -> GateAnswered | None:
    """Return a person's answer, None where the input ended. What models wrote is shown as data."""
    for title, text in gate.shown.items():
        click.echo(f"\n--- {printable(title)} ---\n{printable(text)}", err=True)
    click.echo(f"\n{printable(gate.name)}: {printable(gate.prompt)}", err=True)
    choice = await _choose(gate.choices, read)
    if choice is None:
        return None
    comment = await _prompt("your words" if choice == "say" else "comment (may be empty)", read)
    return None if comment is None else GateAnswered(gate.name, choice, comment, "terminal")


async def _choose(choices: tuple[str, ...], read: ReadLine) -> str | None:
    if len(choices) == 1:
        return choices[0]
    while (typed := await _prompt(" / ".join(choices), read)) is not None:
        matching = [choice for choice in choices if typed and choice.startswith(typed.casefold())]
        if len(matching) == 1:
            return matching[0]
        click.echo(f"answer with one of: {', '.join(choices)} (the first letters are enough)", err=True)
    return None


async def _prompt(label: str, read: ReadLine) -> str | None:
    click.echo(f"{label}: ", err=True, nl=False)
    line = await read()
    return None if line is None else line.strip()


def discard_typed() -> None:
    """Discard what was typed at the terminal and is not read yet."""
    if os.name != "nt":
        import termios  # there is none on Windows

        with suppress(termios.error, OSError):
            termios.tcflush(sys.stdin, termios.TCIFLUSH)


async def read_line() -> str | None:
    """Return the terminal's next line. Cancelling it leaves no thread behind that waits for a key."""
    if os.name == "nt":
        line = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    else:
        await anyio.wait_readable(sys.stdin)
        # A terminal hands over one line a read; Python's own buffer would hide a second one from the wait above.
        line = os.read(sys.stdin.fileno(), 1 << 16).decode(sys.stdin.encoding or "utf-8", "replace")
    return line.rstrip("\r\n") if line else None
