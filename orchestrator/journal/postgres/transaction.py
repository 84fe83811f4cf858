"""A transaction of the caller's: what it writes to the journal, and to other tables there, is recorded together."""

from __future__ import annotations

import os
from typing import Any, Protocol

import psycopg

from orchestrator.journal.postgres.committing import CHANNEL, Committer, DecidedBatch, compress_new, decide
from orchestrator.journal.postgres.connecting import Database, PostgresConnection, watched
from orchestrator.journal.postgres.loading import BEGIN, load
from orchestrator.journal.postgres.operations import JournalCall
from orchestrator.journal.postgres.storing import mark_commit
from orchestrator.journal.postgres.texts import value_in
from orchestrator.journal.postgres.writes import PostgresWrites
from orchestrator.journal.protocols import Fence, JournalError, JournalUnusable, RunManifest

_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_IS_COMMITTED = "SELECT 1 FROM orchestrator.commits WHERE mark = %s"


class TransactionLost(JournalUnusable):
    """The connection failed, and nothing of the transaction was recorded: it may be made again."""


class _Home(Protocol):
    """What the writes of a transaction take from their journal."""

    def _driver(self, run: str) -> Fence | None: ...

    def _at_home(self, manifest: RunManifest) -> RunManifest: ...


class PostgresTransaction(PostgresWrites):
    """Writes within one open transaction on `connection`, which other libraries may use as well."""

    def __init__(self, connection: PostgresConnection, committer: Committer, home: _Home) -> None:
        self.connection = connection
        self.told: set[str] = set()
        """Runs of which watchers are to hear once it is committed."""
        self._committer = committer
        self._home = home
        self._decided: list[DecidedBatch] = []
        self._mark = os.urandom(16)
        self._key = int.from_bytes(os.urandom(7))
        """Of an advisory lock that this transaction holds: who waits for it knows that it has ended."""

    async def begin_transaction(self) -> None:
        await self.connection.execute(BEGIN)
        await self.connection.execute(_LOCK, (self._key,))

    async def commit(self, database: Database) -> None:
        """Commit. Raise `TransactionLost` where that failed."""
        try:
            async with self.connection.pipeline():
                await mark_commit(self.connection, self._mark, ())
                await self.connection.execute("COMMIT")
                if self.told:
                    note = self._committer.note(self.told)
                    await self.connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, note))
        except (psycopg.Error, OSError) as error:
            if not database.passes(error):
                raise database.explain(error) from error
            database.note_failure(error)
            if not await database.retried(lambda: self._is_committed(database)):
                raise TransactionLost(str(database.explain(error))) from error
        self._committer.note_committed(self._mark, self._decided)

    async def _is_committed(self, database: Database) -> bool:
        async with database.reading.lent() as connection, connection.transaction():
            await connection.execute(_LOCK, (self._key,))
            return await (await connection.execute(_IS_COMMITTED, (self._mark,))).fetchone() is not None

    async def _do(self, operation: JournalCall) -> Any:
        compressed = await compress_new((operation,), self._committer.remembered.bodies)
        async with self.connection.pipeline() as pipeline:
            loaded = await load(self.connection, pipeline, (operation,), set(), begins=False)
            decided = decide(loaded.rows, (operation,))
            await self._committer.store(self.connection, decided, compressed)
        await watched(self.connection)
        self._decided.append(decided)
        self.told |= decided.changes.told
        if isinstance(outcome := decided.outcomes[0], JournalError):
            raise outcome
        return outcome

    async def _value(self, data: bytes) -> Any:
        return await value_in(self.connection, data)

    def _driver(self, run: str) -> Fence | None:
        return self._home._driver(run)  # the same half of a journal

    def _at_home(self, manifest: RunManifest) -> RunManifest:
        return self._home._at_home(manifest)  # as above
