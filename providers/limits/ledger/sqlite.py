"""Counts in a file that several processes of one machine share. They survive restarts and crashes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from providers.limits import reserve as quota
from providers.limits.ledger import LedgerDown
from providers.limits.ledger.text import from_text, to_text
from providers.limits.reserve import Amounts, Count, LimitKey, NoRoom, State, Used

T = TypeVar("T")
BUSY_S = 5.0
"""How long to wait for another process's write; one takes well under a millisecond."""


class SqliteLedger:
    """A `Ledger` in one SQLite file, opened (and made) by the first call.

    A call is one write transaction, run in a thread: nobody reads a count between another's look and its booking.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._one_at_a_time = anyio.CapacityLimiter(1)

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        return await self._change(
            [meter for meter, _ in amounts], lambda state: quota.reserve(state, amounts, lease, now, now + ttl)
        )

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        await self._change([m for m, _ in amounts], lambda state: (quota.settle(state, amounts, lease, now), None))

    async def spend(self, amounts: Amounts, now: float) -> None:
        await self._change([m for m, _ in amounts], lambda state: (quota.spend(state, amounts, now), None))

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        await self._change([meter], lambda state: (quota.observe(state, meter, remaining, until, now), None))

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        return await self._change(meters, lambda state: (state, [quota.view(state, m, now) for m in meters]))

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        await self._change(meters, lambda state: (dict.fromkeys(state, quota.NOTHING), None))

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await anyio.to_thread.run_sync(connection.close, limiter=self._one_at_a_time)

    async def _change(self, meters: Sequence[LimitKey], work: Callable[[State], tuple[State, T]]) -> T:
        keys = [meter.key for meter in meters]
        return await anyio.to_thread.run_sync(self._transact, keys, work, limiter=self._one_at_a_time)

    def _transact(self, keys: Sequence[str], work: Callable[[State], tuple[State, T]]) -> T:
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                before = _read(connection, keys)
                after, result = work(before)
                changed = [(key, to_text(count)) for key, count in after.items() if count is not before.get(key)]
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
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Calls come from any worker thread, but one at a time.
            connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
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
