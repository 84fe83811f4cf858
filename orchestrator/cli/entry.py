"""From arguments to an exit code: the outermost place, where every failure is told once and none is a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

import click

from orchestrator.cli.app import Settings, orchestrator


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Never raises."""
    make_streams_lossy()
    try:
        code = orchestrator.main(
            list(arguments), prog_name="orchestrator", standalone_mode=False, terminal_width=help_width()
        )
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # the outermost place
        return _tell(error, arguments)
    return int(code or 0)


def help_width() -> int:
    """Return how wide help texts may be, in columns. Click would import shutil to ask, a tenth of `--help`'s time."""
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        columns = 80
    return max(min(columns, 100) - 2, 40)


def make_streams_lossy() -> None:
    """Let text that the terminal's encoding lacks come out replaced, instead of ending the program."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)


def variables(arguments: Sequence[str]) -> Mapping[str, str]:
    """Return what may hold secrets: the environment, with the `.env` that holds here where that can be read."""
    from orchestrator.cli.arguments import environment
    from orchestrator.cli.exits import Unusable
    from providers.documents.problems import SpecError

    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--routing=") else [word])]
    said = [after for word, after in pairwise(words) if word == "--routing"]
    try:
        return environment(Settings(routing=said[-1] if said else os.environ.get("ORCHESTRATOR_ROUTING")))
    except (SpecError, Unusable):
        return os.environ


def _tell(error: BaseException, arguments: Sequence[str]) -> int:
    """Say what went wrong and return its exit code."""
    from orchestrator.cli.exits import Exit, cause_of, exit_of
    from orchestrator.cli.ui.console import Console, give_up_on, tell_failure

    color = next((word == "--color" for word in reversed(arguments) if word in ("--color", "--no-color")), None)
    talk, verbose = Console(Settings(color=color)), "--verbose" in arguments or "-v" in arguments
    # click leaves so, with a code of its own, where the reader of a stream has left; nobody else does.
    error = BrokenPipeError() if isinstance(error, SystemExit) else cause_of(error)
    lost = give_up_on(sys.stdout)
    if lost is not None and not isinstance(lost, BrokenPipeError):
        talk.fail(f"stdout cannot be written: {lost.strerror}")
        return int(Exit.FAILED)
    code = exit_of(error)
    if isinstance(error, click.ClickException):
        error.show()
    elif isinstance(error, (click.Abort, KeyboardInterrupt)):
        talk.write("interrupted")
    elif not isinstance(error, BrokenPipeError):
        tell_failure(talk, error, variables(arguments), internal=code is Exit.INTERNAL, verbose=verbose)
    give_up_on(sys.stderr)
    return int(code)
