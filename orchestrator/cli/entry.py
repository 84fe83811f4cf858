"""From arguments to an exit code: the outermost place, where each failure is reported once, without a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from orchestrator.cli.app import orchestrator


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. Never raises."""
    make_streams_lossy()
    try:
        code = orchestrator.main(
            list(arguments), prog_name="orchestrator", standalone_mode=False, terminal_width=help_width()
        )
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # the outermost place
        from orchestrator.cli.failures import tell  # on use: `--help` and `--version` need none of it

        return tell(error, arguments)
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
