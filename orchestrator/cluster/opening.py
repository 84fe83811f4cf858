"""A cluster, opened by the URL of its PostgreSQL database: the journal and the queue of jobs, which go together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import anyio
from structlog.typing import FilteringBoundLogger

from orchestrator.dispatch.cluster.job import Job
from orchestrator.dispatch.cluster.queue import JobQueue
from orchestrator.events import Event
from orchestrator.journal.postgres.journal import PostgresJournal, open_postgres
from orchestrator.journal.postgres.transaction import PostgresTransaction, TransactionLost
from orchestrator.journal.protocols import RunBusy, RunManifest
from orchestrator.journal.timing import ClusterTiming

AT_ONCE = 1000
"""Runs at work that a sweep asks for at once."""

CUT_OFF_S = 20.0
"""How long units that were told to end are waited for: a tool in the middle of its work may take a while."""
CUT_OFF_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class ClusterDatabase:
    """One database's journal and queue. What belongs together is recorded in one transaction."""

    journal: PostgresJournal
    queue: JobQueue

    async def hand_over(
        self, run: str, taken: int, events: Sequence[Event], jobs: Sequence[Job], priority: int
    ) -> None:
        """Record that reports up to `taken` are taken, and events of the run, and submit jobs, at once."""
        await self._together(lambda transaction: transaction.take_reports(run, taken, events), jobs, priority)

    async def record_new(self, run: str, manifest: RunManifest, events: Sequence[Event]) -> None:
        """Record a run and submit the job that drives it, at once. Raise `RunExists`."""
        jobs = [Job(run)]
        await self._together(lambda transaction: transaction.create(run, manifest, events), jobs, manifest.priority)

    async def _together(
        self, record: Callable[[PostgresTransaction], Awaitable[None]], jobs: Sequence[Job], priority: int
    ) -> None:
        """Record and submit in one transaction, once."""
        while True:
            try:
                async with self.journal.transaction() as transaction:
                    await record(transaction)
                    await self.queue.submit(jobs, connection=transaction.connection, priority=priority)
                return
            except TransactionLost:
                continue  # nothing of it was recorded, and the next one waits until the database is back

    async def drive(self, run: str) -> None:
        """Have a worker drive the run on. One that is driven already takes notice by itself."""
        await self.place(run, [Job(run)])

    async def live(self, run: str) -> set[Job]:
        """Return the jobs of a run that wait or run."""
        return await self.queue.live(run)

    async def place(self, run: str, jobs: Sequence[Job], after_s: float = 0.0) -> None:
        """Submit jobs of a run that may run in so many seconds, by the database's clock."""
        at = await self.queue.now() + timedelta(seconds=after_s) if after_s > 0 else None
        await self.queue.submit(jobs, priority=(await self.journal.manifest(run)).priority, at=at)

    async def cut_off(self, run: str) -> bool:
        """End the run's units that are at work, and return whether no worker that is alive has one any more.

        A tool that cannot be stopped is not waited for longer than `CUT_OFF_S`. The caller drives the run.
        """
        with anyio.move_on_after(CUT_OFF_S):
            while True:
                await self.queue.cancel(run, drives_on=True)
                if not await self.queue.is_at_work(run):
                    return True
                await anyio.sleep(CUT_OFF_POLL_S)
        return False

    async def withdraw(self, run: str) -> None:
        """Cut the run's units off. Raise `RunBusy` where that takes too long."""
        if not await self.cut_off(run):
            raise RunBusy(f"a worker has a unit of the run {run} that does not end", "ask again in a while")

    async def sweep(self) -> None:
        """Submit what has no job, though it is to go on: runs that were told something, and runs whose job is lost."""
        told = [run for run in await self.journal.told() if await self._goes_on(run)]
        lost = [run async for run in self._at_work() if await self._is_lost(run) and await self._goes_on(run)]
        for run in (*told, *lost):
            await self.drive(run)

    async def _goes_on(self, run: str) -> bool:
        """Return whether a worker can go on with a run: none takes part in a chat, or takes up what was cancelled."""
        is_chat = (await self.journal.manifest(run)).options.get("chat")
        return not is_chat and not await self.journal.cancel_requested(run)

    async def _at_work(self) -> AsyncIterator[str]:
        """Yield the runs that have not ended. One that is missed, as others end meanwhile, is there the next time."""
        seen = 0
        while lines := await self.journal.runs(AT_ONCE, statuses=("running",), skip=seen):
            seen += len(lines)
            for line in lines:
                yield line.run

    async def _is_lost(self, run: str) -> bool:
        return not await self.journal.is_driven(run) and Job(run) not in await self.queue.live(run)


@asynccontextmanager
async def open_cluster(
    url: str,
    *,
    timing: ClusterTiming | None = None,
    create: bool = True,
    warn: Callable[[str], None] = lambda _: None,
    log: FilteringBoundLogger | None = None,
) -> AsyncIterator[ClusterDatabase]:
    """Open the cluster whose database is at `url`: `postgresql://...`. Its tables are made, if it may `create` them.

    Raises `JournalUnusable` at once where the database cannot be reached, and what else `open_journal` raises.
    """
    timing = timing or ClusterTiming()
    async with open_postgres(url, create=create, timing=timing, warn=warn) as journal, JobQueue(url, log=log) as queue:
        if create:
            await queue.prepare()
        yield ClusterDatabase(journal, queue)
