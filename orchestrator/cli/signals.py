"""Ctrl-C and SIGTERM while something is at work."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

from orchestrator.cli.exits import Interrupted, Terminated


class Interruption:
    """What signals do: the first SIGINT calls `stop`, the next one and any SIGTERM cancels `scope`.

    `stop` returns whether it could ask the work to end; where it returns False the first SIGINT cancels too.
    """

    def __init__(self, scope: anyio.CancelScope, stop: Callable[[], bool]) -> None:
        self.stop = stop
        self._scope = scope
        self._asked = False
        self._failure: Interrupted | Terminated | None = None

    async def watch(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Obey signals until cancelled. Windows has no such receiver: there Ctrl-C stops at once."""
        if os.name == "nt":
            task_status.started()
            return
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                self.obey(number)

    def obey(self, number: int) -> None:
        """Do what signal `number` asks for."""
        if number == signal.SIGINT and not self._asked:
            self._asked = True
            if self.stop():
                return
        self._failure = Interrupted("interrupted") if number == signal.SIGINT else Terminated("terminated")
        self._scope.cancel()

    def check(self) -> None:
        """Raise what a signal ended the work with, if one did."""
        if self._failure is not None:
            raise self._failure
