"""What the gateway keeps beside the journal, in `gateway.sqlite3` of its folder: what keys spent, and whole answers.

What is written goes out with all that waits for the disk by then: no client waits for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from agents.memory.database import Layout, MemoryUnusable, connect, told, transaction
from orchestrator.forecast.traffic import RecordedTurn
from orchestrator.server.gateway.kept_answers import TABLE as ANSWERS
from orchestrator.server.gateway.kept_answers import read_answer, write_answers
from orchestrator.server.gateway.kept_turns import LOOKS_EVERY, make_table, read_turns, write_turns
from orchestrator.server.gateway.spent import TABLE as SPENT
from orchestrator.server.gateway.spent import KeySpending, KeySpent, KeySpentRows, added, read_spent, write_spent

T = TypeVar("T")
FILE = "gateway.sqlite3"
LAYOUT = Layout(0x6F726777, 1, SPENT + ANSWERS, 2, make_table)
GATHER_S = 0.25
"""How long what comes is gathered before it is written: a write for each answer would cost as much as the answer."""
PAUSE_S = 0.2
"""Between two writes: what a killed process has spent since the last one is in no record, though budgets count it."""
MOST_UNWRITTEN = 5000
"""Turns that wait to be written where the disk takes none."""
AGAIN_S = 1.0
"""How long after a write that failed the next one is tried."""


@dataclass(slots=True)
class _Unwritten:
    spent: KeySpentRows = field(default_factory=dict)
    answers: dict[bytes, tuple[float, bytes]] = field(default_factory=dict)
    used: dict[bytes, float] = field(default_factory=dict)
    turns: list[RecordedTurn] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.spent or self.answers or self.used or self.turns)


class GatewayStore:
    """One server's. The file is made with the first write, and costs no client its answer where that fails.

    Raises `MemoryUnusable` where there is one that is none of ours. `clock` gives epoch seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.path, self._clock = folder / FILE, clock
        self._is_there = self.path.exists()
        self._db = connect(self.path, LAYOUT) if self._is_there else None
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._unwritten, self._due = _Unwritten(), anyio.Event()
        self._turns = LOOKS_EVERY
        """Turns that were written since those that are too many were forgotten."""

    def spend(self, whose: KeySpent, spending: KeySpending) -> None:
        """Count what a key spent."""
        added(self._unwritten.spent, whose, spending)
        self._due.set()

    def keep_turn(self, turn: RecordedTurn) -> None:
        """Keep what came of a turn."""
        self._unwritten.turns.append(turn)
        self._due.set()

    async def turns(self, since: float, until: float, most: int) -> list[RecordedTurn]:
        """Return the latest turns of a time (epoch seconds), oldest first. Raise `MemoryUnusable`."""
        await self.write_out()
        return await self._do(lambda db: read_turns(db, since, until, most)) if self._is_there else []

    def keep(self, digest: bytes, until: float, answer: bytes) -> None:
        """Keep an answer until an instant, in epoch seconds."""
        self._unwritten.answers[digest] = (until, answer)
        self._due.set()

    async def answer(self, digest: bytes, now: float) -> tuple[float, bytes] | None:
        """Return an answer that is kept, and until when; None: none is, or it cannot be read."""
        found = self._unwritten.answers.get(digest)
        if found is None and self._is_there:
            try:
                found = await self._do(lambda db: read_answer(db, digest, now))
            except MemoryUnusable:
                return None
        if found is None or found[0] <= now:
            return None
        self._unwritten.used[digest] = now
        self._due.set()
        return found

    async def write_out(self) -> None:
        """Write all that waits. Raise `MemoryUnusable`, and what was spent waits on."""
        if not (mine := self._unwritten):
            return
        self._unwritten, self._is_there = _Unwritten(), True
        try:
            self._turns += len(mine.turns)
            tidy, self._turns = self._turns >= LOOKS_EVERY, self._turns % LOOKS_EVERY
            await self._do(lambda db: _write(db, mine, self._clock(), tidy=tidy))
        except BaseException:
            for whose, spending in mine.spent.items():
                added(self._unwritten.spent, whose, spending)
            self._unwritten.turns[:0] = mine.turns[-MOST_UNWRITTEN:]
            raise

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._due.wait()
            await anyio.sleep(GATHER_S)
            self._due = anyio.Event()
            pause = PAUSE_S
            try:
                await self.write_out()
            except MemoryUnusable:
                self._due.set()
                pause = AGAIN_S
            await anyio.sleep(pause)

    async def aclose(self) -> None:
        """Write what waits, and close the file."""
        try:
            await self.write_out()
        except MemoryUnusable:
            pass  # what it says was there before, and is lost now
        finally:
            if self._db is not None:
                await anyio.to_thread.run_sync(self._db.close, limiter=self._one_at_a_time)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await anyio.to_thread.run_sync(self._work, work, limiter=self._one_at_a_time)

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._db is None:
            self._db = connect(self.path, LAYOUT)
        with told(str(self.path)):
            return work(self._db)


def _write(db: sqlite3.Connection, what: _Unwritten, now: float, *, tidy: bool) -> None:
    with transaction(db):
        write_turns(db, what.turns, now, tidy=tidy)
        write_spent(db, what.spent)
        write_answers(db, what.answers, what.used, now)


@asynccontextmanager
async def gateway_store(folder: Path, clock: Callable[[], float]) -> AsyncIterator[GatewayStore]:
    """Yield the store in a folder, which is written while the block lasts."""
    store = GatewayStore(folder, clock)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            try:
                yield store
            finally:
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await store.aclose()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


def turns_in_folder(folder: Path, since: float, until: float, most: int) -> list[RecordedTurn]:
    """Return the latest turns of a server's clients in a time, oldest first; none where there is no file. Raise
    `MemoryUnusable`."""
    if not (folder / FILE).exists():
        return []
    with closing(connect(folder / FILE, LAYOUT)) as db, told(str(folder / FILE)):
        return read_turns(db, since, until, most)


def spent_in(folder: Path, since: float = 0.0) -> KeySpentRows:
    """Return what keys spent, by the file in a server's folder; nothing where there is none. Raise `MemoryUnusable`."""
    if not (folder / FILE).exists():
        return {}
    with closing(connect(folder / FILE, LAYOUT)) as db, told(str(folder / FILE)):
        return read_spent(db, since)
