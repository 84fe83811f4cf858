"""One driver a run, over all machines: a lease by the database's clock, renewed while its holder lives.

Safety does not rest on time: each take-over has a fence above all earlier ones, and what a former driver writes is
refused by it. Time only decides when a silent driver is given up. After an outage all leases look old, so silence
counts only while the database was up, and while the one who wants to take over could reach it.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import psycopg

from orchestrator.journal.postgres.connecting import Database, Pauses, PostgresConnection, dropped
from orchestrator.journal.protocols import Fence, JournalError, RunBusy
from orchestrator.journal.records import is_good_id, refuse_bad_id

RELEASE_S = 2.0
"""How long a driver that leaves tries to give its lease back: else it grows old."""
_IS_OLD = """
    d.seen_at < clock_timestamp() - make_interval(secs => d.lasts_s)
    AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => d.lasts_s)
    """
_TAKE = f"""
    INSERT INTO orchestrator.drives AS d VALUES (
        %(run)s, %(owner)s, nextval('orchestrator.drive_fences'), clock_timestamp(), %(lasts_s)s
    )
    ON CONFLICT (run) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, seen_at = excluded.seen_at,
    lasts_s = excluded.lasts_s WHERE d.owner = excluded.owner OR (%(may_take_over)s AND {_IS_OLD})
    RETURNING fence
    """  # noqa: S608  # made of constants
_RENEW = """
    WITH mine AS (SELECT run FROM orchestrator.drives WHERE owner = ANY(%b::bytea[]) ORDER BY run FOR UPDATE)
    UPDATE orchestrator.drives d SET seen_at = clock_timestamp() FROM mine WHERE d.run = mine.run
    """
_RELEASE = "DELETE FROM orchestrator.drives WHERE run = %s AND owner = %s"
_IS_DRIVEN = f"SELECT EXISTS (SELECT 1 FROM orchestrator.drives d WHERE run = %s AND NOT ({_IS_OLD}))"  # noqa: S608  # as above
_HEED = "UPDATE orchestrator.runs SET told = false WHERE run = %s AND told"
TOLD = f"""
    SELECT r.run FROM orchestrator.runs r WHERE r.told AND r.status = 'waiting' AND NOT EXISTS (
        SELECT 1 FROM orchestrator.drives d WHERE d.run = r.run AND NOT ({_IS_OLD})
    ) ORDER BY r.id
    """  # noqa: S608  # as above
"""Asks for the runs that wait, are not driven, and were signalled something since they were."""
_IS_ANY_DRIVEN = f"SELECT EXISTS (SELECT 1 FROM orchestrator.drives d WHERE NOT ({_IS_OLD}))"  # noqa: S608  # as above


@dataclass(frozen=True, slots=True)
class _Lease:
    owner: bytes
    fence: Fence


class Leases:
    """The leases that this process holds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, _Lease] = {}
        self._taken = anyio.Event()

    def fence_of(self, run: str) -> Fence | None:
        """Return the fence under which this process drives the run; None where it does not."""
        held = self._held.get(run)
        return None if held is None else held.fence

    @asynccontextmanager
    async def holding(self, run: str) -> AsyncIterator[None]:
        """Hold the lease of a run while the block lasts. Raise `RunBusy` where it is held."""
        refuse_bad_id(run)
        lease = await self._take(run)
        self._held[run] = lease
        self._taken.set()
        try:
            yield
        finally:
            del self._held[run]
            with anyio.move_on_after(RELEASE_S, shield=True), suppress(JournalError):
                await self._database.retried(lambda: self._release(run, lease))

    async def is_driven(self, run: str) -> bool:
        return is_good_id(run) and await self._asks(_IS_DRIVEN, run)

    async def is_any_driven(self) -> bool:
        return await self._asks(_IS_ANY_DRIVEN)

    async def serve(self) -> None:
        """Renew all leases until cancelled. It has a connection of its own: reading must not hold it up."""
        connection: PostgresConnection | None = None
        pauses = Pauses(None)
        try:
            while True:
                await self._taken.wait()
                try:
                    if connection is None:
                        connection = await self._database.connect()
                    await self._renew(connection)
                except (psycopg.Error, OSError) as error:
                    if connection is not None:
                        await dropped(connection)
                    connection = None
                    self._database.note_failure(error)
                    await pauses.wait()
                else:
                    pauses = Pauses(None)
                    await anyio.sleep(self._database.timing.heartbeat_s)
        finally:
            if connection is not None:
                await dropped(connection)

    async def _renew(self, connection: PostgresConnection) -> None:
        if not self._held:
            self._taken = anyio.Event()
            return
        began = time.monotonic()
        await connection.execute(_RENEW, ([lease.owner for lease in self._held.values()],))
        self._database.note_slowness(time.monotonic() - began)

    async def _take(self, run: str) -> _Lease:
        owner, lasts_s = os.urandom(16), self._database.timing.lease_s

        async def once() -> Fence | None:
            # A try whose answer was lost has the same owner, so that the next one finds its own lease.
            given = {"run": run, "owner": owner, "lasts_s": lasts_s, "may_take_over": self._may_take_over()}
            async with self._database.reading.lent() as connection:
                row = await (await connection.execute(_TAKE.encode(), given)).fetchone()
                if row is None:
                    return None
                await connection.execute(_HEED, (run,))  # what is signalled from now on, the driver may miss
                return int(row[0])

        fence = await self._database.retried(once)
        if fence is None:
            raise RunBusy(f"the run {run} is being driven by another process")
        return _Lease(owner, fence)

    def _may_take_over(self) -> bool:
        """Return whether silence counts: since we were cut off, others had time enough to renew their leases."""
        return time.monotonic() - self._database.last_failure > self._database.timing.lease_s

    async def _release(self, run: str, lease: _Lease) -> None:
        async with self._database.reading.lent() as connection:
            await connection.execute(_RELEASE, (run, lease.owner))

    async def _asks(self, query: str, *given: str) -> bool:
        async def once() -> bool:
            async with self._database.reading.lent() as connection:
                row = await (await connection.execute(query.encode(), given)).fetchone()
                return bool(row and row[0])

        return await self._database.retried(once)
