"""`python -m orchestrator`, and the `orchestrator` script: arguments in, exit code out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code of the command that `argv` (default: the process's own) asks for."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"] and sys.stdout is not None:
        from orchestrator._version import __version__

        with suppress(OSError):  # below it is told
            print(f"orchestrator {__version__}", flush=True)
            return 0
    from orchestrator.cli.loading import interrupts_held

    try:
        with interrupts_held():
            from orchestrator.cli.entry import dispatch
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return dispatch(arguments)


def leave_working_folder() -> None:
    """Let no import find a file of the working folder, where `python -m` looks first: what a folder's tools import is
    what was allowed, and what this program imports is what is installed. In its own source tree it stays."""
    package = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # pathlib is heavy for `--version`
    if not sys.flags.safe_path and package != f"{sys.path[0]}{os.sep}orchestrator":
        del sys.path[0]


if __name__ == "__main__":
    leave_working_folder()
    sys.exit(main())
