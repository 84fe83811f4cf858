"""What a cluster's dispatcher must guarantee, wherever its jobs are kept.

`JobQueue` is one, docs/guides/dispatchers.md shows another, and `orchestrator.testing.dispatchers` tests any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn, Protocol

from orchestrator.dispatch.cluster.job import Job, JobHandler
from orchestrator.dispatch.cluster.settings import WorkerTimes


class JobDispatcher(Protocol):
    """Guarantees: each submitted job reaches a handler at least once, also where its worker is killed, frozen or
    stopped; of the jobs of one unit (or of one run that is driven) no two run at a time, but for a worker that was
    frozen beyond the timeout; a worker whose jobs were given to others changes nothing about them any more."""

    async def prepare(self) -> None:
        """Make what it keeps its jobs in. Safe again and again, and in many processes at once."""

    async def submit(
        self, jobs: Iterable[Job], *, connection: Any | None = None, priority: int = 0, at: datetime | None = None
    ) -> None:
        """Place jobs: to be run from `at` on, those of a higher priority first, else in order.

        A job that waits already stays as it is. One that is running is placed once more, to run after it. `connection`
        is the journal's, with an open transaction: a dispatcher in the same database places the jobs in it; any other
        at once, and a handler whose record was undone finds nothing to do.
        """

    async def cancel(self, run: str) -> int:
        """Remove the run's waiting jobs, cancel the handlers of its running ones, and return how many there were."""

    async def live(self, run: str) -> set[Job]:
        """Return the run's jobs that wait or run."""

    async def serve(
        self,
        handlers: Mapping[str, JobHandler],
        slots: Mapping[str, int],
        *,
        stop: Any,
        times: WorkerTimes,
        sweep: Callable[[], Any] | None = None,
        fatal: Sequence[type[BaseException]] = (),
        exit: Callable[[int], NoReturn],  # noqa: A002
    ) -> None:
        """Run the jobs of each queue by its handler, `slots` at a time, until `stop`, which has a `wait`.

        A handler that returns ends its job; one that raises gets it again, after a while. An error of a kind in `fatal`
        ends the process by `exit` before anything is said of the job. When stopping, no new job is taken; what still
        runs after `times.grace_s` is cancelled and left to others. `sweep` is called every `times.sweep_s`, in one
        worker at a time.
        """
