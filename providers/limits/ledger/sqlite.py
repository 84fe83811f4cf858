"""Counts in a file that several processes of one machine share. They survive restarts and crashes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from providers.limits.counter import Count, LimitKey, Used
from providers.limits.ledger import LedgerDown
from providers.limits.ledger.log_mode import use_log
from providers.limits.ledger.private import make_private_file, make_private_folder, tighten
from providers.limits.ledger.text import from_text, to_text
from providers.limits.reserve import Amounts, CounterStore, NoRoom

T = TypeVar("T")
BUSY_S = 5.0
"""How long to wait for another process's write; one takes well under a millisecond."""


class SqliteLedger:
    """A `Ledger` in one SQLite file, opened (and made) by the first call.

    A call is one write transaction, run in a thread: no other process reads a count between a look and its booking.
    """

    is_of_machines = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._one_at_a_time = anyio.CapacityLimiter(1)

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        return await self._change(_keys(amounts), lambda counts: counts.reserve(amounts, lease, now, now + ttl))

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        await self._change(_keys(amounts), lambda counts: counts.settle(amounts, lease, now))

    async def spend(self, amounts: Amounts, now: float) -> None:
        await self._change(_keys(amounts), lambda counts: counts.spend(amounts, now))

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        await self._change([meter.key], lambda counts: counts.observe(meter, remaining, until, now))

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        keys = [meter.key for meter in meters]
        return await self._change(keys, lambda counts: [counts.view(meter, now) for meter in meters])

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        await self._change([meter.key for meter in meters], lambda counts: counts.forget(meters))

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await anyio.to_thread.run_sync(connection.close, limiter=self._one_at_a_time)

    async def _change(self, keys: Sequence[str], work: Callable[[CounterStore], T]) -> T:
        return await anyio.to_thread.run_sync(self._transact, keys, work, limiter=self._one_at_a_time)

    def _transact(self, keys: Sequence[str], work: Callable[[CounterStore], T]) -> T:
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                counts = CounterStore(_read(connection, keys))
                result = work(counts)
                changed = [(key, to_text(count)) for key, count in counts.changed().items()]
                connection.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?)", changed)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # some failures have rolled back already
                    connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise LedgerDown(f"{self.path}: {error}") from error
        return result

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            make_private_folder(self.path.parent)
            make_private_file(self.path)
            for end in ("", "-wal", "-shm"):
                tighten(Path(f"{self.path}{end}"))
            # Calls come from any worker thread, but one at a time.
            connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                use_log(connection, BUSY_S)
                # A power cut may take back the last moments: they are worth less than a disk flush for each call.
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("CREATE TABLE IF NOT EXISTS counts (key TEXT PRIMARY KEY, count TEXT) WITHOUT ROWID")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _read(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Count]:
    marks = ",".join("?" * len(keys))
    with closing(connection.execute(f"SELECT key, count FROM counts WHERE key IN ({marks})", keys)) as rows:  # noqa: S608
        return {key: from_text(text) for key, text in rows}


def _keys(amounts: Amounts) -> list[str]:
    return [meter.key for meter, _ in amounts]
