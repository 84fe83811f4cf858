"""What signals do to a server: the first lets it come to its end, the second ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from anyio.abc import TaskStatus

from orchestrator.server.hosting import RunHost


class SignalledServer(uvicorn.Server):
    """uvicorn's server, which leaves signals to `ServerStop`, but on Windows, which has no receiver for them."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        if os.name == "nt":
            with super().capture_signals():
                yield
        else:
            yield

    def cancel_requests(self) -> None:
        """Cancel what is still being answered."""
        for task in self.server_state.tasks:
            task.cancel()


class ServerStop:
    """Stops a server. `end_streams` ends its streams of events; `scope` is all that it does."""

    def __init__(
        self,
        server: SignalledServer,
        end_streams: Callable[[], None],
        host: RunHost,
        grace_s: float,
        scope: anyio.CancelScope,
        tell: Callable[[str], None],
    ) -> None:
        self._server, self._end_streams, self._host = server, end_streams, host
        self._grace_s, self._scope, self._tell = grace_s, scope, tell
        self.forced_by: int | None = None
        """The signal that ended what was under way."""

    async def obey(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Obey signals until cancelled."""
        if os.name == "nt":
            task_status.started()
            return
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                self.stop(number)

    def stop(self, number: int) -> None:
        """Let what is under way come to its end; the second time end it."""
        if self._server.should_exit:
            self.forced_by = number
            self._scope.cancel()
            return
        self._server.should_exit = True
        at_work = len(self._host.running)
        runs = f" {at_work} run{'' if at_work == 1 else 's'} end their calls in flight;" if at_work else ""
        self._tell(f"stopping within {self._grace_s:g} s:{runs} a second signal stops now")
        self._host.stop()
        self._end_streams()
        self._scope.deadline = anyio.current_time() + self._grace_s + 1
