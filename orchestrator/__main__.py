"""`python -m orchestrator`, and the `orchestrator` script: arguments in, exit code out."""

from __future__ import annotations

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


if __name__ == "__main__":
    sys.exit(main())
