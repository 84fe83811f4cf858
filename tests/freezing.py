"""Processes that stand still for a while, as on a machine that swaps or is moved: nothing closes, nothing answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a process and its children, and let those go on that are still there afterwards."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    stopped = [pid, *map(int, children)]
    for each in stopped:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            try:
                os.kill(each, signal.SIGCONT)
            except ProcessLookupError:
                continue
