"""The one way to write: whatever waits is committed as one transaction, so many writers share its round trips."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import psycopg

from orchestrator.journal.postgres.committing import (
    LONG_TO_COMPRESS,
    Committer,
    DecidedBatch,
    JoinTransaction,
    none_join,
)
from orchestrator.journal.postgres.connecting import Database, Pauses, PostgresConnection, dropped, is_conflict
from orchestrator.journal.postgres.operations import JournalCall
from orchestrator.journal.protocols import JournalError, JournalUnusable

MOST_AT_ONCE, MOST_LAST_AT_ONCE = 500, 100
"""Operations of one transaction, and of them, those that let all others go first."""
WORTH_A_TRIP = 0.5
"""How many operations, for each of a transaction's own, are worth a trip to have them join it."""
LARGEST_JOINING = LONG_TO_COMPRESS // 2
"""Bytes from on which no more operations join a transaction: its locks are held meanwhile."""
LARGEST_AT_ONCE = 8 * 1024 * 1024
"""Bytes of one transaction; one operation may be larger."""
LOOKUPS = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
"""Off where we write: each row is found by its key, also while PostgreSQL knows no sizes of new tables yet."""


@dataclass(slots=True)
class _Waiting:
    operation: JournalCall | None
    """None: only that all before it is done is waited for."""
    done: anyio.Event = field(default_factory=anyio.Event)
    outcome: Any = None


class PostgresWriter:
    """Does operations in the order in which they were given, each once, also where the caller is cancelled meanwhile.

    An operation that is refused leaves the others of its transaction alone. What fails because the database is away is
    tried again, as long as the patience lasts; where the answer to a commit is lost, it is found out whether it was
    done.
    """

    def __init__(self, database: Database, committer: Committer, tell: Callable[[Collection[str]], None]) -> None:
        self._database = database
        self._committer = committer
        self._tell = tell
        self._jobs: deque[_Waiting] = deque()
        self._last: deque[_Waiting] = deque()
        self._given = anyio.Event()
        self._connection: PostgresConnection | None = None
        self._under_way: list[_Waiting] = []
        self._is_closed = False

    async def do(self, operation: JournalCall) -> Any:
        """Return what came of the operation, once it is committed. Raise the `JournalError` that refused it."""
        job = self._give(operation, last=operation.goes_last)
        await job.done.wait()
        if isinstance(job.outcome, JournalError):
            raise job.outcome
        return job.outcome

    async def flush(self) -> None:
        """Wait until all that was given so far is recorded, or failed."""
        job = self._give(None, last=True)
        await job.done.wait()

    def _give(self, operation: JournalCall | None, *, last: bool) -> _Waiting:
        if self._is_closed:
            raise JournalUnusable("the journal is closed")
        job = _Waiting(operation)
        (self._last if last else self._jobs).append(job)
        self._given.set()
        return job

    async def serve(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                await self._given.wait()
                while self._jobs or self._last:
                    self._under_way = self._take()
                    await self._commit(self._under_way)
                    self._under_way = []
                self._given = anyio.Event()
        finally:
            await self._disconnect()

    def close(self) -> None:
        """Take nothing more, and fail what waits: the writer no longer serves."""
        self._is_closed = True
        why = JournalUnusable("the journal was closed before this was recorded")
        for job in (*self._under_way, *self._jobs, *self._last):
            if not job.done.is_set():
                job.outcome = why
                job.done.set()
        self._jobs.clear()
        self._last.clear()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        for jobs, most in ((self._jobs, MOST_AT_ONCE), (self._last, MOST_LAST_AT_ONCE)):
            for _ in range(min(most, len(jobs))):
                if size < LARGEST_AT_ONCE:
                    batch.append(jobs.popleft())
                    size += batch[-1].operation.size if batch[-1].operation else 0
        return batch

    async def _commit(self, batch: list[_Waiting], *, is_alone: bool = False) -> None:
        jobs = [job for job in batch if job.operation is not None]
        if jobs:
            try:
                await self._try(jobs, is_alone=is_alone)
            except JournalError as failure:
                if len(jobs) > 1 and not self._is_away(failure):
                    for job in jobs:  # one of them is what the database refuses: the others are not to suffer for it
                        await self._commit([job], is_alone=True)
                else:
                    for job in jobs:
                        job.outcome = failure
        for job in (*batch, *jobs):
            job.done.set()

    def _join(self, jobs: list[_Waiting], may_join: Callable[[JournalCall], bool]) -> list[JournalCall]:
        """Add to a transaction's jobs, in their order, those that have come while it waited for its locks: the next one
        would wait for them again. That is a trip more, so only where they are many beside its own."""
        queues = (self._jobs, self._last)
        counts = [_joinable(queue, may_join) for queue in queues]
        if sum(counts) < len(jobs) * WORTH_A_TRIP:
            return []
        more = [queue.popleft() for queue, count in zip(queues, counts, strict=True) for _ in range(count)]
        jobs += more
        self._under_way += more
        return [job.operation for job in more if job.operation is not None]

    def _is_away(self, failure: JournalError) -> bool:
        return failure.__cause__ is not None and self._database.passes(failure.__cause__)

    async def _try(self, jobs: list[_Waiting], *, is_alone: bool) -> None:
        """Commit the jobs, as often as it takes, with those that join them. Raise what it means that they cannot be."""
        doubtful: dict[bytes, DecidedBatch] = {}
        pauses = Pauses(self._database.timing.retry_s)
        while True:
            try:
                with self._database.limited():
                    decided = await self._once(jobs, doubtful, is_alone=is_alone)
            except (psycopg.Error, OSError) as error:
                await self._disconnect()
                if not self._database.passes(error):
                    raise self._database.explain(error) from error
                self._database.note_failure(error)
                if not await pauses.wait(is_quick=is_conflict(error)):
                    raise self._database.explain(error) from error
            except BaseException:
                await self._disconnect()
                raise
            else:
                self._database.note_success()
                for job, outcome in zip(jobs, decided.outcomes, strict=True):
                    job.outcome = outcome
                self._tell(decided.changes.told)
                return

    async def _once(self, jobs: list[_Waiting], doubtful: dict[bytes, DecidedBatch], *, is_alone: bool) -> DecidedBatch:
        if self._connection is None:
            connection = await self._database.connect()
            for setting in LOOKUPS:
                await connection.execute("SELECT set_config(%s, 'off', false)", (setting,))
            await connection.execute("SELECT set_config('plan_cache_mode', 'force_generic_plan', false)")
            self._connection = connection
        operations = [job.operation for job in jobs if job.operation is not None]
        began = time.monotonic()
        join: JoinTransaction = none_join if is_alone else partial(self._join, jobs)
        decided = await self._committer.commit(self._connection, operations, doubtful, join)
        self._database.note_slowness(time.monotonic() - began)
        return decided

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await dropped(connection)


def _joinable(queue: Collection[_Waiting], may_join: Callable[[JournalCall], bool]) -> int:
    """Return how many at the head of a queue may join a transaction."""
    count = size = 0
    for job in queue:
        if job.operation is None or size > LARGEST_JOINING or not may_join(job.operation):
            break
        count, size = count + 1, size + job.operation.size
    return count
