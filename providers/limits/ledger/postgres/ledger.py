"""The ledger in PostgreSQL: each call is one statement. Needs `squad-orchestrator[cluster]`, and asyncio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio

from providers.limits.counter import LimitKey, Used
from providers.limits.ledger import LedgerDown
from providers.limits.ledger.postgres.connections import Connections
from providers.limits.ledger.postgres.migrations import SCHEMA, migrate
from providers.limits.ledger.text import count_of, described
from providers.limits.reserve import Amounts, CounterStore, NoRoom
from providers.windows import index, reach, start

TIMEOUT_S = 1.0
"""How long a router waits for an answer, or for a connection, before it goes on alone."""
CONNECTIONS = 8
"""Of each process. Calls on one limit wait for each other in the server, whatever their number."""
KEEP_S = 120.0
STATEMENT = f"SELECT outcome, now, told FROM {SCHEMA}.call_1(%s, %s, %s, %s, %s, %s)"  # noqa: S608  # a name of ours
FORGET_STALE = f"""
WITH stale AS (
  DELETE FROM {SCHEMA}.counts WHERE keep_until < extract(epoch FROM clock_timestamp()) RETURNING key
) DELETE FROM {SCHEMA}.leases WHERE key IN (SELECT key FROM stale)
"""  # noqa: S608


class PostgresLedger:
    """A `Ledger` in PostgreSQL 14 or later, in a schema of its own, by the server's clock.

    What counts money is on disk when a call returns. Of the rest a crash of the server (not of a process here) may take
    back the last moments, three times its `wal_writer_delay`: 0.6 s unless it is set otherwise.

    `own_clock`: go by the caller's clock instead, as a simulation must. `timeout_s`: one that is slower is down.
    """

    is_of_machines = True

    def __init__(self, url: str, *, own_clock: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        self._connections = Connections(url, CONNECTIONS, timeout_s)
        self._own_clock, self._timeout_s = own_clock, timeout_s
        self._ahead = 0.0
        """By how much the server's clock is ahead of the caller's, as the last answer showed."""
        self._is_ready = False
        """Whether the schema was there when it was last asked."""
        self._making = anyio.Lock()

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        outcome, at, told = await self._call("reserve", amounts, now, lease, ttl)
        if outcome == "granted":
            return None
        counts = {meter.key: count_of(plain) for (meter, _), plain in zip(amounts, told, strict=True)}
        refused = CounterStore(counts).check(amounts, at)
        assert refused is not None, "both reckon alike"
        return NoRoom(refused.meter, refused.until + (now - at))

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        await self._call("settle", amounts, now, lease)

    async def spend(self, amounts: Amounts, now: float) -> None:
        await self._call("spend", amounts, now)

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        if until is None:
            until = start(meter.window, index(meter.window, now) + reach(meter.window) + 1)
        await self._call("observe", [(meter, 0.0)], now, remaining=remaining, ahead=until - now)

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        _, at, told = await self._call("usage", [(meter, 0.0) for meter in meters], now)
        store = CounterStore({meter.key: count_of(plain) for meter, plain in zip(meters, told, strict=True)})
        seen = [store.view(meter, at) for meter in meters]
        return [replace(each, resets_at=each.resets_at + (now - at)) for each in seen]

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        await self._call("forget", [(meter, 0.0) for meter in meters], 0.0)

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _call(
        self, operation: str, amounts: Amounts, now: float, lease: str = "", ttl: float = KEEP_S, **more: float
    ) -> tuple[str, float, list[Any]]:
        """Return the server's word, the time by which it went, and the counts that it tells."""
        if not amounts:
            return "granted", now, []
        durable = any(meter.budget is not None for meter, _ in amounts)
        for _ in range(2):
            asked = json.dumps(
                [
                    described(meter, amount, now + self._ahead) | more | {"key": _plain(meter.key)}
                    for meter, amount in amounts
                ]
            )
            given = now if self._own_clock else None
            outcome, at, told = await self._asked([operation, given, _plain(lease), ttl, durable, asked])
            self._ahead = at - now
            if outcome != "clock":
                return outcome, at, told or []
        raise LedgerDown("PostgreSQL: its clock runs wild")

    async def _asked(self, given: Sequence[object]) -> tuple[str, float, list[Any]]:
        """Return the one row of the statement. Where the schema is not there, or is of an earlier version, make it."""
        import psycopg

        try:
            if not self._is_ready:
                return await self._first(given)
            (row,) = await self._connections.ask(STATEMENT, given)
        except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
            self._is_ready = False
            return await self._first(given)
        outcome, at, told = row
        return outcome, at, told

    async def _first(self, given: Sequence[object]) -> tuple[str, float, list[Any]]:
        """Return the row of a first call: one at a time, so that a crowd does not find the schema missing."""
        import psycopg

        async with self._making:
            try:
                (row,) = await self._connections.ask(STATEMENT, given)
            except (psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
                await self._migrate()
                (row,) = await self._connections.ask(STATEMENT, given)
            if not self._is_ready and not self._own_clock:
                await self._connections.ask(FORGET_STALE, [])
            self._is_ready = True
        outcome, at, told = row
        return outcome, at, told

    async def _migrate(self) -> None:
        import psycopg

        try:
            async with self._connections.transaction(10 * self._timeout_s) as connection:
                await migrate(connection)
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise LedgerDown(f"{self._connections.told(error)} (its schema {SCHEMA} cannot be made)") from None


def _plain(text: str) -> str:
    """Return a text that PostgreSQL takes, another one of each: it has no NUL, and no lone surrogates."""
    return text.encode("unicode_escape").decode("ascii")
