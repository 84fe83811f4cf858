"""What is said beside the results: on stderr, in words that work without colour."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import click

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.masking import mask_secrets


def wants_color(settings: Settings, environ: Mapping[str, str], *, terminal: bool) -> bool:
    """Return whether stderr is coloured: as told, else on a terminal that can, unless NO_COLOR has a value."""
    if settings.color is not None:
        return settings.color
    return terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Console:
    """Says things on stderr. `--quiet` silences all but warnings and failures."""

    def __init__(self, settings: Settings) -> None:
        self.quiet = settings.quiet
        self.color = wants_color(settings, os.environ, terminal=sys.stderr.isatty())

    def say(self, text: str = "") -> None:
        if not self.quiet:
            self.write(text)

    def warn(self, text: str) -> None:
        self.write(f"{click.style('warning:', fg='yellow', bold=True)} {text}")

    def fail(self, text: str, hint: str = "") -> None:
        self.write(f"{click.style('error:', fg='red', bold=True)} {text}")
        if hint:
            self.hint(hint)

    def hint(self, text: str) -> None:
        self.write(f"{click.style('hint:', fg='cyan')} {text}")

    def write(self, text: str) -> None:
        """Write a line. Where stderr cannot be written the work goes on unwatched."""
        try:
            click.echo(text, err=True, color=self.color)
        except OSError:
            give_up_on(sys.stderr)


def give_up_on(stream: TextIO) -> OSError | None:
    """Return why `stream` cannot be written, None where it can. What comes later goes nowhere then.

    Without that the interpreter would fail on what is still buffered, on its way out, with a code of its own.
    """
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None


def count(number: int, what: str) -> str:
    """Return `3 tasks`, `1 task`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def print_json(document: Any, *, indent: int | None = None) -> None:
    """Write one JSON document to stdout as ASCII: whole in every encoding, and inert on a terminal."""
    click.echo(json.dumps(document, indent=indent))


def tell_failure(
    talk: Console, error: BaseException, environ: Mapping[str, str], *, internal: bool, verbose: bool
) -> None:
    """Say what ended the program, without the secrets of `environ`. `verbose` asks for a traceback."""
    from providers.documents.problems import ProblemsFound

    hint = getattr(error, "hint", "")
    if isinstance(error, ProblemsFound):
        from providers.documents.problems import to_text

        talk.write(mask_secrets(to_text(error.problems), environ))  # it repeats lines of files
        talk.fail(f"{count(len(error.problems), 'mistake')}; nothing was spent")
        return
    text = mask_secrets(_words(error), environ)
    if not internal or hint:
        talk.fail(text, hint)
        return
    if verbose:
        import traceback

        talk.write(mask_secrets("".join(traceback.format_exception(error)), environ).rstrip())
    talk.fail(f"internal error: {type(error).__name__}: {text}", "" if verbose else "`--verbose` shows the traceback")


def _words(error: BaseException) -> str:
    from providers.documents.unicode import printable

    return printable(str(error)) or type(error).__name__
