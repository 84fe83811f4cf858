"""A failure that ends the program: reported once, in words, without secrets, with an exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import StringIO
from itertools import pairwise

import click

from orchestrator.cli.app import COMMANDS, Settings
from orchestrator.cli.exits import Exit, Unusable, cause_of, exit_of
from orchestrator.cli.ui.console import Console, count, give_up_on
from orchestrator.cli.ui.masking import mask_secrets
from providers.documents.problems import ProblemsFound, SpecError, to_text
from providers.documents.unicode import printable

LOST = (
    "a run that was under way is recorded: `orchestrator runs ls` lists it, `orchestrator runs resume` goes on with it"
)


def tell(error: BaseException, arguments: Sequence[str]) -> int:
    """Say what went wrong and return its exit code."""
    color = next((word == "--color" for word in reversed(arguments) if word in ("--color", "--no-color")), None)
    console = Console(Settings(color=color, log_format=_log_format(arguments)))
    verbose = "--verbose" in arguments or "-v" in arguments
    # click leaves so, with a code of its own, where the reader of a stream has left; nothing else does.
    error = BrokenPipeError() if isinstance(error, SystemExit) else cause_of(error)
    lost = give_up_on(sys.stdout)
    if lost is not None and not isinstance(lost, BrokenPipeError):
        why = "it is closed" if lost.errno == errno.EBADF else lost.strerror or str(lost)
        console.fail(f"stdout cannot be written: {why}", LOST if _drives_a_run(arguments) else "")
        return int(Exit.FAILED)
    code = exit_of(error)
    if isinstance(error, click.ClickException):
        shown = StringIO()  # it may repeat an argument that is a key
        if console.as_json:
            console.fail(error.format_message())
        else:
            error.show(shown)
            console.write(shown.getvalue().rstrip())
    elif isinstance(error, (click.Abort, KeyboardInterrupt)):
        console.write("interrupted")
    elif not isinstance(error, BrokenPipeError):
        tell_failure(console, error, variables(arguments), internal=code is Exit.INTERNAL, verbose=verbose)
    give_up_on(sys.stderr)
    return int(code)


def _drives_a_run(arguments: Sequence[str]) -> bool:
    """Return whether a run may have been at work here."""
    command = next((word for word in arguments if word in COMMANDS), "")
    return command in ("run", "chat") or (command == "runs" and bool({"resume", "fork"} & {*arguments}))


def _log_format(arguments: Sequence[str]) -> str | None:
    """Return the form of the log that was asked for last."""
    words = [
        part for word in arguments for part in (word.split("=", 1) if word.startswith("--log-format=") else [word])
    ]
    named = [after for word, after in pairwise(words) if word == "--log-format"]
    return named[-1] if named else None


def variables(arguments: Sequence[str]) -> Mapping[str, str]:
    """Return what may hold secrets: the environment, with the `.env` that holds here where that can be read."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--routing=") else [word])]
    named = [after for word, after in pairwise(words) if word == "--routing"]
    try:
        # By name: where a library is missing, or `agents` is another's package, that failure must still be reported.
        files = import_module("orchestrator.cli.files")
        found: Mapping[str, str] = files.environment(
            Settings(routing=named[-1] if named else os.environ.get("ORCHESTRATOR_ROUTING"))
        )
    except (ImportError, SpecError, Unusable):
        return os.environ
    return found


def tell_failure(
    console: Console, error: BaseException, environ: Mapping[str, str], *, internal: bool, verbose: bool
) -> None:
    """Say what ended the program, without the secrets of `environ`. `verbose` asks for a traceback."""
    hint = getattr(error, "hint", "")
    if isinstance(error, ProblemsFound):
        console.write(mask_secrets(to_text(error.problems), environ))  # it repeats lines of files
        mistakes = sum(one.severity == "error" for one in error.problems)  # warnings are shown among them
        console.fail(f"{count(mistakes, 'mistake')}; nothing was spent")
        return
    text = mask_secrets(printable(str(error)) or type(error).__name__, environ)
    if not internal or hint:
        console.fail(text, hint)
        return
    if verbose:
        console.write(mask_secrets("".join(traceback.format_exception(error)), environ).rstrip())
    console.fail(
        f"internal error: {type(error).__name__}: {text}", "" if verbose else "`--verbose` shows the traceback"
    )
