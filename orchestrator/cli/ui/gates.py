"""How a gate is answered from the command line: by `--approve`, by a person at the terminal, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Literal

import anyio
import click

from orchestrator.cli.ui.masking import mask_secrets
from orchestrator.events import GateAnswered, GateOpened
from orchestrator.run.approvals import edit_fault
from orchestrator.run.questions import Ask
from providers.documents.unicode import printable, visible

ApproveChoice = Literal["ask", "deny", "auto"]
ReadLine = Callable[[], Awaitable[str | None]]
"""Returns the next line without its end, None at the end of the input."""
WORDS: Mapping[str, tuple[str, ...]] = {"approve": ("approve", "yes", "ok"), "reject": ("reject", "no", "deny")}
"""What may be typed for a choice, in any case, or its first letters."""
EDIT, ALL = "edit", "all"
ALL_MEANS = "; `all` approves all further calls of this tool by this agent in this run"
NO_VARIABLES: Mapping[str, str] = {}
MOST_SHOWN = 12_000
"""Characters of one text that are shown at a question; of a longer one, its beginning and its end."""

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


def answering(
    approve: ApproveChoice,
    *,
    at_terminal: bool,
    aside: Callable[[], AbstractContextManager[None]],
    environ: Mapping[str, str],
) -> Ask:
    """Return the function that answers gates. `aside` makes room on the screen for a question; secrets of `environ`
    are not shown in it."""
    one_at_a_time = anyio.Lock()

    async def answer(gate: GateOpened) -> GateAnswered | None:
        if approve != "ask" or not at_terminal:
            return standing_answer(approve, gate)
        async with one_at_a_time:
            with aside():
                try:
                    return await ask_person(gate, read_line, environ)
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


async def ask_person(
    gate: GateOpened, read: ReadLine, environ: Mapping[str, str] = NO_VARIABLES
) -> GateAnswered | None:
    """Return a person's answer, None where the input ended. What models wrote is shown as data."""
    for title, text in gate.shown.items():
        click.echo(f"\n--- {printable(title)} ---\n{as_shown(text, environ)}", err=True)
    click.echo(f"\n{printable(gate.name)}: {mask_secrets(printable(gate.prompt), environ)}", err=True)
    if gate.is_used_up:
        click.echo(gate.is_used_up, err=True)
    choice, edited = await _choose(gate, read), None
    if choice == EDIT and (edited := await _edited(gate, read)) is None:
        return None
    if choice is None:
        return None
    label = "your words" if choice == "say" else "comment (may be empty)"
    comment = await (_changes(read) if choice == "revise" else _prompt(label, read))
    if comment is None:
        return None
    grant = gate.grant if choice == ALL else ""
    return GateAnswered(
        gate.name, "approve" if choice in (EDIT, ALL) else choice, comment, "terminal", edited, grant, gate.tool
    )


def as_shown(text: str, environ: Mapping[str, str], most: int = MOST_SHOWN) -> str:
    """Return what a person is shown of a text: nothing that a terminal obeys, no secret, what cannot be seen by name,
    and of a very long one its beginning and end."""
    seen = mask_secrets(visible(text), environ)
    if len(seen) <= most:
        return seen
    half = most // 2
    left_out = f"[... {len(seen) - 2 * half:,} characters are left out; `orchestrator approvals show` has all ...]"
    return f"{seen[:half]}\n{left_out}\n{seen[-half:]}"


async def _choose(gate: GateOpened, read: ReadLine) -> str | None:
    """Return a choice of the question, or `EDIT` or `ALL`, which approve it in their own way."""
    choices = gate.choices
    if len(choices) == 1:
        return choices[0]
    more = [*([EDIT] if gate.editable else []), *([ALL] if gate.grant else [])]
    label = " / ".join([choices[0], *more, *choices[1:]])
    while (typed := await _prompt(label, read)) is not None:
        said = typed.casefold()
        for known in ({one: WORDS.get(one, (one,)) for one in choices}, {one: (one,) for one in more}):
            matching = [one for one, words in known.items() if said and any(word.startswith(said) for word in words)]
            if len(matching) == 1:
                return matching[0]
        told = f"answer with one of: {', '.join([*choices, *more])} (the first letters are enough; yes and no do, too)"
        click.echo(f"{told}{ALL_MEANS if gate.grant else ''}", err=True)
    return None


async def _changes(read: ReadLine) -> str | None:
    """Return what a person wants changed, once there is something; None: the input ended."""
    while (comment := await _prompt("what is to change", read)) is not None:
        if comment:
            return comment
        click.echo("say what to change, as in: Shorter, please. The tasks that run again read it", err=True)
    return None


async def _edited(gate: GateOpened, read: ReadLine) -> str | None:
    """Return what a person writes in place of what is shown, once it can be taken; None: the input ended."""
    form = " (JSON, in one line)" if gate.schema is not None else " (in one line)"
    while (typed := await _prompt(f"the new {gate.editable}{form}", read)) is not None:
        if not (why := edit_fault(gate, typed)):
            return typed
        click.echo(printable(why), err=True)
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
