"""From arguments to an exit code: the outermost place, where each failure is reported once, without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper

from orchestrator.cli.app import orchestrator

STDERR = 2
COMPLETION = "_ORCHESTRATOR_COMPLETE"
"""By this variable a shell asks for completions, and says in which form."""


class Output(TextIOWrapper):
    """stdout, which remembers why it could not be written: an unbuffered one forgets what it failed to write."""

    failure: OSError | None = None
    _stream: TextIOWrapper | None = None
    """What it stands over: collected, that would close the buffer of both."""

    @classmethod
    def over(cls, stream: TextIOWrapper) -> Output:
        output = cls(
            stream.buffer,
            stream.encoding,
            stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        output._stream = stream
        return output

    def write(self, text: str, /) -> int:
        with self._remembering():
            return super().write(text)

    def flush(self) -> None:
        with self._remembering():
            super().flush()

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            raise


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Never raises."""
    open_closed_streams()
    make_streams_lossy()
    if (asked := os.environ.get(COMPLETION, "")).endswith("_complete"):
        from orchestrator.cli.completing import answer  # on use: only a shell asks

        return answer(asked)
    if type(sys.stdout) is TextIOWrapper:
        sys.stdout = Output.over(sys.stdout)
    try:
        code = orchestrator.main(
            list(arguments), prog_name="orchestrator", standalone_mode=False, terminal_width=help_width()
        )
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # the outermost place
        from orchestrator.cli.failures import tell  # on use: `--help` and `--version` need none of it

        return tell(error, arguments)
    return int(code or 0)


def open_closed_streams() -> None:
    """Give each standard stream that the caller closed a file: stdout one that refuses each write, so that what is lost
    is told; stderr, which then was not wanted, one that takes all. Else the next file that is opened would get its
    number, and what is written to the stream."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_WRONLY if number == STDERR else os.O_RDONLY)
        if opened != number and _file_at(number) is None:
            os.dup2(opened, number)
            os.close(opened)
            opened = number
        if number:
            setattr(sys, name, Output(open(opened, "wb", closefd=False), "utf-8"))  # noqa: SIM115  # as long as the process
        else:
            sys.stdin = open(opened, encoding="utf-8", closefd=False)  # noqa: SIM115  # as above


def _file_at(number: int) -> os.stat_result | None:
    try:
        return os.fstat(number)
    except OSError:
        return None


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
