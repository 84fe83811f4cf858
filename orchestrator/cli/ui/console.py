"""Messages beside the results: on stderr, in words that work without colour."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging import getLevelNamesMapping
from typing import Any, TextIO

import click

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.masking import mask_secrets


def wants_color(settings: Settings, environ: Mapping[str, str], *, terminal: bool) -> bool:
    """Return whether stderr is coloured: as the option says, else on a terminal that can, unless NO_COLOR is set."""
    if settings.color is not None:
        return settings.color
    return terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Console:
    """Says things on stderr. `--quiet` silences all but warnings and failures; `--log-format json` makes documents."""

    def __init__(self, settings: Settings) -> None:
        self.quiet = settings.quiet
        self.as_json = settings.log_format == "json"
        self._least = getLevelNamesMapping()[(settings.log_level or "debug").upper()]
        self.color = wants_color(settings, os.environ, terminal=sys.stderr.isatty())

    def say(self, text: str = "") -> None:
        if not self.quiet:
            self.write(text)

    def warn(self, text: str) -> None:
        if self.as_json:
            self._log("warning", text)
        else:
            self.write(f"{click.style('warning:', fg='yellow', bold=True)} {text}")

    def fail(self, text: str, hint: str = "") -> None:
        if self.as_json:
            self._log("error", text, **({"hint": hint} if hint else {}))
            return
        self.write(f"{click.style('error:', fg='red', bold=True)} {text}")
        if hint:
            self.hint(hint)

    def hint(self, text: str) -> None:
        if self.as_json:
            self._log("info", text, kind="hint")
        else:
            self.write(f"{click.style('hint:', fg='cyan')} {text}")

    def write(self, text: str) -> None:
        """Write a line; one that says nothing is no document of a JSON log."""
        if not self.as_json:
            self._put(text)
        elif text.strip():
            self._log("info", text.strip("\n"))

    def _log(self, level: str, event: str, **more: str) -> None:
        if getLevelNamesMapping()[level.upper()] < self._least:
            return
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self._put(json.dumps({"event": event, **more, "level": level, "timestamp": at}))

    def _put(self, text: str) -> None:
        """Write a line to stderr. Where it cannot be written the work goes on unwatched."""
        try:
            click.echo(mask_secrets(text, os.environ, guess=False), err=True, color=self.color)
        except OSError:
            give_up_on(sys.stderr)


def give_up_on(stream: TextIO) -> OSError | None:
    """Return why `stream` cannot be written, None where it can. What comes later goes nowhere then.

    Without that the interpreter would fail on what is still buffered, on its way out, with a code of its own.
    """
    failure: OSError | None = getattr(stream, "failure", None)
    try:
        stream.flush()
        if failure is not None:
            raise failure
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
