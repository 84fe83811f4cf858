"""Ends a process whose event loop stands still: its heartbeats stop with it, so others get its jobs."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import anyio
from structlog.typing import FilteringBoundLogger

from orchestrator.dispatch.cluster.settings import EXIT_STUCK

LOOKS = 8
"""In how many looks a timeout is divided."""


@dataclass(slots=True)
class StuckRule:
    """Whether a loop is stuck, by looks of a thread beside it. Pure; seconds of any clock that never goes back."""

    timeout_s: float
    look_s: float
    _looked: float | None = field(default=None, init=False)
    _free_at: float = field(default=0.0, init=False)

    def is_stuck(self, now: float, loop_ran: float) -> bool:
        """Note a look, and return whether the loop has not run for the timeout while this thread could.

        A process that was frozen as a whole is given time to run again: whether its jobs were given to others is not
        guessed here.
        """
        if self._looked is None or now - self._looked > 2 * self.look_s + self.timeout_s / 2:
            self._free_at = now
        self._looked = now
        return now - max(loop_ran, self._free_at) > self.timeout_s


class Watchdog:
    """A thread that ends the process by `exit` where the event loop has not run for `timeout_s`."""

    def __init__(self, timeout_s: float, exit: Callable[[int], NoReturn], log: FilteringBoundLogger) -> None:  # noqa: A002
        self._rule = StuckRule(timeout_s, timeout_s / LOOKS)
        self._exit, self._log = exit, log
        self._ended = threading.Event()
        self._loop_ran = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the loop of this thread while the block lasts; `keep` runs in it."""
        loop = threading.get_ident()
        thread = threading.Thread(target=self._watch, args=(loop,), name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    async def keep(self) -> None:
        """Show that the loop runs, until cancelled."""
        while True:
            self._loop_ran = time.monotonic()
            await anyio.sleep(self._rule.look_s)

    def _watch(self, loop: int) -> None:
        while not self._ended.wait(self._rule.look_s):
            if self._rule.is_stuck(time.monotonic(), self._loop_ran):
                frame = sys._current_frames().get(loop)
                where = "".join(traceback.format_stack(frame)) if frame else ""
                self._log.error("event_loop_stuck", seconds=self._rule.timeout_s, where=where)
                self._exit(EXIT_STUCK)
