"""The journal in a PostgreSQL database, which any number of processes on any machines share. See `schema.py` for its
tables.

What `finish` returned from is committed, on the server's disk. One task of a process writes (`writer.py`); a few
connections read. While the database is away, calls wait for it as long as `ClusterTiming` says.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import anyio
import psycopg

from agents.run_context import StepKey
from orchestrator.events import Event
from orchestrator.journal.postgres.committing import CHANNEL, Committer
from orchestrator.journal.postgres.connecting import Database, dropped
from orchestrator.journal.postgres.holds import change_holds
from orchestrator.journal.postgres.leases import Leases
from orchestrator.journal.postgres.operations import JournalCall
from orchestrator.journal.postgres.reading import PostgresReader
from orchestrator.journal.postgres.schema import prepare
from orchestrator.journal.postgres.sessions import keeps_sessions
from orchestrator.journal.postgres.transaction import PostgresTransaction, TransactionLost
from orchestrator.journal.postgres.upkeep import reclaim, remove_run
from orchestrator.journal.postgres.wakes import Wakes
from orchestrator.journal.postgres.writer import PostgresWriter
from orchestrator.journal.postgres.writes import PostgresWrites
from orchestrator.journal.protocols import (
    DecideHolds,
    Fence,
    Go,
    HeldCall,
    JournalError,
    JournalUnusable,
    Recorded,
    RunManifest,
    StepChanged,
    StepRecord,
)
from orchestrator.journal.timing import ClusterTiming
from orchestrator.units import Unit, text_of

MOST_UNITS_AHEAD = 100
"""Units whose steps are kept. Those of others are asked for one by one."""


class _Ahead(NamedTuple):
    """The steps that earlier owners of a unit ended, as it was claimed under `fence`: one that goes on with it asks for
    each of them, and would wait for as many round trips. A result never changes, so they stay true."""

    fence: Fence
    steps: dict[StepKey, StepRecord]


class PostgresJournal(PostgresReader, PostgresWrites):
    """A `Journal` in a PostgreSQL database. `open_postgres` makes it, with the tasks that it needs."""

    def __init__(self, database: Database, mark: str) -> None:
        self._committer = Committer()
        wakes = Wakes(database, self._committer.instance)
        super().__init__(database, wakes, Leases(database), mark)
        self._writer = PostgresWriter(database, self._committer, wakes.tell)
        self._tasks = anyio.CancelScope(shield=True)
        self._is_closed = False
        self._ahead: dict[tuple[str, Unit], _Ahead] = {}

    async def _do(self, operation: JournalCall) -> Any:
        return await self._writer.do(operation)

    def _driver(self, run: str) -> Fence | None:
        return self._leases.fence_of(run)

    def _at_home(self, manifest: RunManifest) -> RunManifest:
        return manifest if manifest.home else replace(manifest, home=(self._mark,))

    # -- runs

    @asynccontextmanager
    async def driving(self, run: str) -> AsyncIterator[None]:
        async with self._leases.holding(run):
            try:
                yield
            finally:
                # The lease must not go before what was handed over is recorded.
                with anyio.CancelScope(shield=True), suppress(JournalError):
                    await self._writer.flush()

    async def remove(self, run: str) -> bool:
        was_there = False

        async def once() -> None:
            nonlocal was_there
            async with self._database.reading.lent() as connection:
                was_there |= await remove_run(connection, run)

        async with self.driving(run):
            await self._database.retried(once)
        self._committer.remembered.runs.discard(run)
        return was_there

    async def reclaim(self) -> bool:
        if await self._leases.is_any_driven():
            return False

        async def once() -> None:
            async with self._database.reading.lent() as connection:
                await reclaim(connection)

        await self._database.retried(once)
        return True

    def between_commits(self) -> AbstractContextManager[None]:
        """A process that is stopped in a transaction holds up others until the server ends that: `stalled_s`."""
        return nullcontext()

    # -- steps

    async def claim(self, run: str, unit: Unit, owner: str) -> Fence | None:
        fence = await super().claim(run, unit, owner)
        self._ahead.pop((run, unit), None)
        # Without an owner it is only taken from the former one. Read after the claim: nothing is added from then on.
        if fence is not None and fence > 1 and owner:
            if len(self._ahead) >= MOST_UNITS_AHEAD:  # not all units ask for all of theirs
                del self._ahead[next(iter(self._ahead))]
            self._ahead[run, unit] = _Ahead(fence, await self._done_in(run, unit))
        return fence

    async def begin(
        self, run: str, unit: Unit, key: StepKey, request_hash: bytes, fence: Fence, events: Sequence[Event] = ()
    ) -> Recorded | Go:
        ahead = self._ahead.get((run, unit))
        # Events have to be written, so only a call without any is answered from what was read ahead.
        if not events and ahead is not None and ahead.fence == fence and key in ahead.steps:
            step = ahead.steps.pop(key)
            if step.request_hash != request_hash:
                raise StepChanged(f"{text_of(unit, key)} was recorded for another request")
            return Recorded(step.result)
        found = await super().begin(run, unit, key, request_hash, fence, events)
        if isinstance(found, Go):  # what its former owner did was asked for before
            self._ahead.pop((run, unit), None)
        return found

    # -- what calls hold

    async def hold(
        self, run: str, kinds: Collection[type], after_seq: int, decide: DecideHolds
    ) -> Collection[HeldCall]:
        async def once() -> tuple[Collection[HeldCall], bool]:
            async with self._database.transactions.lent() as connection:
                found = await change_holds(connection, run, kinds, after_seq, decide)
                async with connection.pipeline():
                    await connection.execute("COMMIT")
                    if found[1]:
                        await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self._committer.note({run})))
                return found

        refused, is_freed = await self._database.retried(once)
        if is_freed:
            self._wakes.tell({run})
        return refused

    async def stirs(self, run: str) -> AsyncGenerator[None, None]:
        while True:
            await self._wakes.next_of(run).wait()
            yield

    # -- transactions

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """Record all that the block writes through what is yielded, and what it does on its `connection`, or nothing.

        The runs that it writes to are locked until it ends: in the block, write to them through it alone, and wait for
        nothing slow. An error leaves nothing recorded. Raise `TransactionLost` where the connection failed before
        the commit; where its answer was lost, it is found out whether it was done.
        """
        async with self._database.transactions.lent_patiently(self._database.retried) as connection:
            made = PostgresTransaction(connection, self._committer, self)
            try:
                await made.begin_transaction()
                yield made
            except (psycopg.Error, OSError) as error:
                explained = self._database.explain(error)
                raise (TransactionLost(str(explained)) if self._database.passes(error) else explained) from error
            await made.commit(self._database)
        self._wakes.tell(made.told)

    # -- opening and closing

    async def serve(self) -> None:
        """Do all that this process owes the journal, until it is closed: also where who opened it is cancelled."""
        with self._tasks:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._writer.serve)
                tasks.start_soon(self._leases.serve)
                tasks.start_soon(self._wakes.serve)

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with anyio.CancelScope(shield=True):
            retry_s = self._database.timing.retry_s
            with anyio.move_on_after(self._database.timing.closing_s + (retry_s or 0.0)):
                await self._writer.flush()
            self._writer.close()
            self._tasks.cancel()
            await self._database.aclose()


@asynccontextmanager
async def open_postgres(
    url: str, *, create: bool, timing: ClusterTiming, warn: Callable[[str], None]
) -> AsyncIterator[PostgresJournal]:
    """Open the journal in a database for as long as the block lasts. `warn` is told when the database goes and comes.

    Its tables are made where there are none, if it may `create` them. Raises `JournalMissing` where there are none, and
    `JournalUnusable` at once where the database cannot be reached, or was written by a later release.
    """
    database = Database.of(url, timing, warn)
    mark = await _prepared(database, create=create)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        journal = PostgresJournal(database, mark)
        tasks.start_soon(journal.serve)
        try:
            yield journal
        except Exception as error:  # noqa: BLE001  # raised below as it is: a task group would wrap it
            failure = error
        finally:
            await journal.aclose()
    if failure is not None:
        raise failure


async def _prepared(database: Database, *, create: bool) -> str:
    """Return the mark of the journal. A server that is away is told at once: nothing waits to be recorded yet."""
    try:
        connection = await database.connect()
        try:
            if not await keeps_sessions(connection, database.connect):
                raise JournalUnusable(
                    "what pools connections before it gives each transaction another session: "
                    "let it pool by session (PgBouncer: pool_mode=session)"
                )
            return await prepare(connection, create=create)
        finally:
            await dropped(connection)
    except (psycopg.Error, OSError, JournalError) as error:
        raise database.explain(error) from error
