"""Processes that are forked from a server which has everything imported: a test can afford hundreds of them."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
from contextlib import chdir
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import orchestrator
from tests.patience import PATIENCE_S

ALL = [module.name for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator.")]
OURS = [name for name in ALL if not name.startswith("orchestrator.server")]
"""What commands import at once: the server, with FastAPI, is loaded by `serve` alone."""
LATER = [
    "anyio._backends._asyncio",
    "graphlib",
    "redis.asyncio",
    "rich.live",
    "rich.table",
    "rich.traceback",
    "structlog",
]
"""What commands import only once they need it."""
ROOT = Path(__file__).parents[1]
WORLD = multiprocessing.get_context("forkserver")
WORLD.set_forkserver_preload([*OURS, *LATER, "tests.orchestrator.crashes", "tests.e2e.command", "tests.warmed"])


def start(work: Any, *given: Any) -> ForkServerProcess:
    """Start a process that does `work(*given)`, a function of a module."""
    process = WORLD.Process(target=work, args=given)
    with chdir(ROOT):  # where the server, which the first process starts, finds the tests
        process.start()
    return process


class Forked:
    """A process that does a function of a module, in the words of `subprocess.Popen`."""

    def __init__(self, work: Any, *given: Any) -> None:
        self._process = start(work, *given)
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = PATIENCE_S) -> int:
        self._process.join(timeout)
        assert self._process.exitcode is not None, "it hangs"
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def end(process: ForkServerProcess) -> int:
    """Return its exit code; -9 where it was killed."""
    process.join(PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError("it hangs")
    return process.exitcode
