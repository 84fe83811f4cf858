"""One writing transaction: rows are loaded and locked, operations decided, changes stored and committed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio.to_thread

from orchestrator.journal.codec import Bodies
from orchestrator.journal.postgres.connecting import PostgresConnection
from orchestrator.journal.postgres.deciding import Decider, Loaded, RowChanges
from orchestrator.journal.postgres.loading import load, load_more, may_join
from orchestrator.journal.postgres.operations import JournalCall
from orchestrator.journal.postgres.storing import Remembered, mark_commit, store
from orchestrator.journal.protocols import JournalError
from orchestrator.journal.records import FAST

CHANNEL = "squad_orchestrator"
LONGEST_NOTE = 7900
"""Bytes of a notification: PostgreSQL takes less than 8,000."""
LONG_TO_COMPRESS = 256 * 1024
"""Bytes from on which texts are compressed in a thread: a few milliseconds."""

JoinTransaction = Callable[[Callable[[JournalCall], bool]], Sequence[JournalCall]]
"""Returns the operations that join a transaction, of those that may."""


class DecidedBatch(NamedTuple):
    """What a transaction comes to: for each operation what its call returns, or the error that it raises."""

    outcomes: Sequence[Any]
    rows: Loaded
    changes: RowChanges
    unused: Sequence[int]


@dataclass(slots=True)
class Committer:
    """Commits operations, and knows what became of a commit whose answer was lost.

    A mark is written with each transaction: where the connection fails before its commit is confirmed, the next try
    finds out by it whether it was done. That try locks the same runs first, so the former one has ended by then.
    """

    remembered: Remembered = field(default_factory=Remembered)
    instance: bytes = field(default_factory=lambda: os.urandom(8))
    _old_marks: list[bytes] = field(default_factory=list)

    async def commit(
        self,
        connection: PostgresConnection,
        operations: Sequence[JournalCall],
        doubtful: dict[bytes, DecidedBatch],
        join: JoinTransaction,
    ) -> DecidedBatch:
        """Do all operations in a transaction, then those that `join` it once it has its locks, and return what they
        come to. `doubtful` are the tries before this one.

        Raise what psycopg raises: then this try is among the `doubtful`, if it may have been committed.
        """
        compressed = await compress_new(operations, self.remembered.bodies)
        # One pipeline for both halves: its end would have the server no longer watch that the transaction goes on.
        async with connection.pipeline() as pipeline:
            loaded = await load(connection, pipeline, operations, self.remembered.runs, doubtful)
            if done := [found for mark, found in doubtful.items() if mark in loaded.committed]:
                await connection.execute("ROLLBACK")
                self._settle(done[0], doubtful)
                return done[0]
            self._old_marks += doubtful
            doubtful.clear()
            if more := join(lambda operation: may_join(loaded.rows, operation)):
                compressed |= await compress_new(more, self.remembered.bodies)
                await load_more(connection, pipeline, more, loaded.rows)
            decided = decide(loaded.rows, [*operations, *more])
            mark = os.urandom(16)
            old = self._old_marks[:]
            doubtful[mark] = decided
            await self.store(connection, decided, compressed)
            await mark_commit(connection, mark, old)
            await connection.execute("COMMIT")
            if decided.changes.told:  # by itself: in the transaction it would make all commits wait for each other
                await connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, self.note(decided.changes.told)))
        self._old_marks = self._old_marks[len(old) :]
        self._settle(decided, doubtful)
        return decided

    async def store(
        self, connection: PostgresConnection, decided: DecidedBatch, compressed: Mapping[bytes, bytes]
    ) -> None:
        """Write the changes, within a pipeline."""
        await store(connection, decided.rows, decided.changes, decided.unused, self.remembered, compressed)

    def note_committed(self, mark: bytes, decided: Iterable[DecidedBatch]) -> None:
        """Take note of a transaction that was committed with this mark."""
        self._old_marks.append(mark)
        for one in decided:
            self.remembered.add(one.rows, one.changes)

    def note(self, runs: Iterable[str]) -> str:
        """Return what other processes are told: who tells it, and of which runs; of none in particular where they are
        many."""
        whole = "\n".join([self.instance.hex(), *sorted(runs)])
        return whole if len(whole.encode()) < LONGEST_NOTE else self.instance.hex()

    def _settle(self, decided: DecidedBatch, doubtful: dict[bytes, DecidedBatch]) -> None:
        self._old_marks += doubtful
        self.remembered.add(decided.rows, decided.changes)


def none_join(may_join: Callable[[JournalCall], bool]) -> Sequence[JournalCall]:  # noqa: ARG001  # a `JoinTransaction`
    """Have no operation join."""
    return ()


def decide(rows: Loaded, operations: Sequence[JournalCall]) -> DecidedBatch:
    """Decide the operations in their order. One that is refused changes nothing, and the others stand. Pure."""
    decider, outcomes = Decider(rows), list[Any]()
    for operation in operations:
        try:
            outcomes.append(decider.decide(operation))
        except JournalError as refused:
            outcomes.append(refused)
    return DecidedBatch(outcomes, rows, decider.changes, decider.finish())


async def compress_new(operations: Sequence[JournalCall], known: set[bytes]) -> dict[bytes, bytes]:
    """Return the texts that may have to be stored, compressed: before any lock is held."""
    found: Iterable[Bodies] = (
        bodies for op in operations for bodies in (*op.texts, *(row.bodies for row in op.events if row.bodies))
    )
    new = {digest: body for bodies in found for digest, body in bodies.items() if digest not in known}
    if sum(map(len, new.values())) > LONG_TO_COMPRESS:
        return await anyio.to_thread.run_sync(_compressed, new)
    return _compressed(new)


def _compressed(texts: Bodies) -> Bodies:
    return {digest: zlib.compress(body, FAST) for digest, body in texts.items()}
