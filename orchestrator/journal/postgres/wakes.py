"""What wakes those who watch runs: what this process commits, and what PostgreSQL notifies of others'.

A notification only wakes: it may be lost with its connection, so watchers look by themselves too, the more seldom the
longer nothing happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import anyio
import psycopg

from orchestrator.journal.postgres.committing import CHANNEL
from orchestrator.journal.postgres.connecting import Database, Pauses, dropped

POLL_S, SELDOM_S, DEAF_S = 0.2, 15.0, 1.0
"""How often a watcher looks by itself: at first, at last, and at last while no notification can come."""
GROWTH = 1.5


class Wakes:
    """Wakes watchers. It listens from the first watcher on."""

    def __init__(self, database: Database, instance: bytes) -> None:
        self._database = database
        self._me = instance.hex()
        self._waiting: dict[str, anyio.Event] = {}
        self._wanted = anyio.Event()
        self._is_listening = False

    def next_of(self, run: str) -> anyio.Event:
        """Return what is set when something more may be recorded of a run. Take it before you look."""
        self._wanted.set()
        return self._waiting.setdefault(run, anyio.Event())

    def tell(self, runs: Collection[str]) -> None:
        """Wake those who watch these runs."""
        for run in runs:
            if (waiting := self._waiting.pop(run, None)) is not None:
                waiting.set()

    def longest(self, pause_s: float) -> float:
        """Return the next pause after one of `pause_s`."""
        return min(SELDOM_S if self._is_listening else DEAF_S, pause_s * GROWTH)

    async def serve(self) -> None:
        """Listen until cancelled, again after each failure."""
        await self._wanted.wait()
        pauses = Pauses(None)
        while True:
            try:
                async with self._notes() as notes:
                    pauses = Pauses(None)
                    async for note in notes:
                        who, *runs = note.payload.split("\n")
                        if who != self._me:
                            self.tell(runs or tuple(self._waiting))
            except (psycopg.Error, OSError) as error:
                self._database.note_failure(error)
            await pauses.wait()

    @asynccontextmanager
    async def _notes(self) -> AsyncIterator[AsyncIterator[psycopg.Notify]]:
        connection = await self._database.connect()
        try:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            self._is_listening = True
            self.tell(tuple(self._waiting))  # of what was notified before nothing is known
            yield connection.notifies()
        finally:
            self._is_listening = False
            await dropped(connection)
