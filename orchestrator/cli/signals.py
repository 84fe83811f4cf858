"""Ctrl-C and SIGTERM while something is at work."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import anyio
from anyio.abc import TaskStatus

from orchestrator.cli.exits import Interrupted, Terminated
from orchestrator.journal.protocols import Runs

STOPS = ("SIGTSTP", "SIGTTIN", "SIGTTOU")
"""What a terminal stops a process with: Ctrl-Z, and reading or writing in the background."""


class Stops:
    """What Ctrl-Z does to a process that writes a journal: it stops between two writes, for in one it would hold up all
    others. SIGSTOP cannot be put off, so it may. While the journal is being opened a stop is put off, too.
    """

    def __init__(self) -> None:
        self._journal: Runs | None = None
        self._is_opening = True
        self._put_off: int | None = None
        self._is_at_it = False

    def let_go(self, journal: Runs | None) -> None:
        """The journal is open, or there is none: from now on stop between its writes, and now if that was asked for."""
        self._journal, self._is_opening = journal, False
        if (number := self._put_off) is not None:
            self._put_off = None
            self.obey(number)

    def obey(self, number: int, _: Any = None) -> None:
        """Stop this process by signal `number`. One that comes while another is obeyed is the same wish."""
        if self._is_opening:
            self._put_off = number
        elif not self._is_at_it:
            self._is_at_it = True
            try:
                with nullcontext() if self._journal is None else self._journal.between_commits():
                    signal.signal(number, signal.SIG_DFL)
                    signal.raise_signal(number)  # this returns once the process is continued
                    signal.signal(number, self.obey)
            finally:
                self._is_at_it = False


@contextmanager
def stopped_between_commits() -> Iterator[Stops]:
    """Have the signals of a terminal's Ctrl-Z obeyed so. A signal that was ignored or handled already stays so."""
    numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    stops, ours = Stops(), [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stops.obey)
    try:
        yield stops
    finally:
        stops.let_go(None)  # first: to be continued from a stop that was put off sets its handler again
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


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
