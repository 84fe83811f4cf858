"""How a run at work is shown on stderr: lines, a log, or the live table of `live.py`."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, Self, TextIO

from orchestrator.cli.app import Settings
from orchestrator.cli.ui.console import Console, give_up_on
from orchestrator.cli.ui.figures import duration
from orchestrator.cli.ui.masking import mask_document, mask_secrets
from orchestrator.cli.ui.progress import Progress, ProgressLine
from orchestrator.cli.ui.reasons import Document
from orchestrator.cli.ui.task_row import TaskRow
from orchestrator.observe.logs import LogLevel, bound_fields, open_log
from providers.documents.secrets import hidden
from providers.documents.unicode import printable

HEARTBEAT_S = 30.0


class Screen(Protocol):
    """Shows a run between `__enter__` and `__exit__`. `tick` is called every `period` seconds."""

    period: float

    def __enter__(self) -> Self: ...
    def __exit__(self, *failure: object) -> None: ...
    def saw(self, event: Document, change: ProgressLine | None) -> None: ...
    def say(self, text: str) -> None: ...
    def spoken(self, lines: Sequence[str], tail: str) -> None:
        """Show what agents say: the lines that are whole now, and the beginning of the next. `--quiet` hides none."""

    def tick(self) -> None: ...
    def aside(self) -> AbstractContextManager[None]:
        """Make room for a question while the block runs."""


class AppendingScreen:
    """A screen that only ever adds lines: there is nothing to open, close or move aside."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def tick(self) -> None:
        pass

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield


class LineScreen(AppendingScreen):
    """A line per change, and a heartbeat that names what is running."""

    period = HEARTBEAT_S

    def __init__(
        self,
        progress: Progress,
        console: Console,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._progress, self._environ = progress, environ
        self._talk = console
        self._clock = clock

    def saw(self, event: Document, change: ProgressLine | None) -> None:
        if change is not None:
            self.say(mask_secrets(one_line(change, event["at"]), self._environ))

    def say(self, text: str) -> None:
        self._talk.say(text)

    def spoken(self, lines: Sequence[str], tail: str) -> None:  # noqa: ARG002  # here are whole lines
        for line in lines:
            self._talk.write(mask_secrets(line, self._environ))

    def tick(self) -> None:
        now = self._clock()
        running = [still(row, now) for row in self._progress.running()]
        if running:
            self.say(f"{clock_time(now)} still running: {', '.join(running)}")


class LogScreen(AppendingScreen):
    """Every event as a structured log line."""

    period = math.inf

    def __init__(
        self,
        settings: Settings,
        console: Console,
        file: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._environ = environ
        self._log = log_to(settings, console, file or sys.stderr)

    def saw(self, event: Document, change: ProgressLine | None) -> None:
        shown = mask_document(event, self._environ)
        fields = bound_fields(shown) | {name: value for name, value in shown.items() if name not in ("type", "id")}
        write = getattr(self._log, change.level if change is not None else _level_of_run(event))
        self._tell(write, event["type"], **{name: _logged(value) for name, value in fields.items()})

    def say(self, text: str) -> None:
        self._tell(self._log.info, mask_secrets(text, self._environ))

    def spoken(self, lines: Sequence[str], tail: str) -> None:  # noqa: ARG002  # a log has whole lines
        for line in lines:
            self.say(line)

    def _tell(self, write: Callable[..., None], text: str, /, **fields: Any) -> None:
        """Write a line. Where stderr cannot be written the run goes on unwatched, and its exit code says so."""
        try:
            write(text, **fields)
        except OSError:
            give_up_on(sys.stderr)


def _level_of_run(event: Document) -> LogLevel:
    """Return how much what is of no task should be heeded: a run's begin and its end, as a server logs them."""
    match event:
        case {"type": "run.finished", "status": "failed" | "stopped" | "rejected"}:
            return "warning"
        case {"type": "run.started" | "run.resumed" | "run.finished"}:
            return "info"
    return "debug"


def wants_log(settings: Settings) -> bool:
    """Return whether events are logged instead of being shown as progress."""
    return bool(settings.log_format or settings.log_level or settings.verbose)


def log_to(settings: Settings, console: Console, file: TextIO, level: LogLevel = "debug") -> Any:
    """Return the log that the options ask for; `level` where they name none."""
    asked: LogLevel = settings.log_level or level
    return open_log(settings.log_format or "console", color=console.color, file=file, level=asked)


def wants_table(settings: Settings) -> bool:
    """Return whether stderr is a terminal that can be redrawn."""
    return sys.stderr.isatty() and not settings.quiet and os.environ.get("TERM") != "dumb"


def one_line(change: ProgressLine, at: float) -> str:
    """Return a change as one line, whatever a model or a provider put into it."""
    mark = {"info": "", "warning": "! ", "error": "! "}[change.level]
    text = " ".join(printable(change.text).split("\n"))
    return f"{clock_time(at)} {mark}{printable(change.row)}: {text}"


def still(row: TaskRow, now: float) -> str:
    figures = ", ".join(filter(None, (duration(row.seconds(now)), row.model)))
    return printable(f"{row.name} ({figures})")


def clock_time(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _logged(value: Any) -> Any:
    match value:
        case str():
            return hidden(printable(value), guess=False)
        case dict():
            return {key: _logged(inner) for key, inner in value.items()}
        case list():
            return [_logged(inner) for inner in value]
    return value
