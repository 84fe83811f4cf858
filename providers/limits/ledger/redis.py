"""Counts on a Redis server that several machines share. Needs `pip install squad-orchestrator[redis]`, and asyncio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any
from uuid import uuid4

from providers.limits.counter import LimitKey, Used
from providers.limits.ledger import CountsLost, LedgerDown
from providers.limits.ledger.text import described, from_text
from providers.limits.reserve import Amounts, CounterStore, NoRoom
from providers.windows import index, reach, start

PREFIX = "{squad-ledger}:"
"""Of every key. The braces keep all counts on one node of a cluster: a call's limits are reserved together."""
LEASES = "|leases"
MARK = "mark"
"""Ends the key of the mark, as no meter's does: theirs have parts."""
TIMEOUT_S = 1.0
"""How long a router waits for an answer, or for a connection, before it goes on alone."""
CONNECTIONS = 16
"""The server does one thing at a time: more of them wait there instead of here."""
KEEP_S = 120.0


class RedisLedger:
    """A `Ledger` on Redis 5 or later. Each call is one run of a script, by the server's clock.

    `own_clock`: go by the caller's clock instead, as a simulation must. `timeout_s`: one that is slower is down.
    """

    is_of_machines = True

    def __init__(
        self, url: str, *, prefix: str = PREFIX, own_clock: bool = False, timeout_s: float = TIMEOUT_S
    ) -> None:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as Disconnected

        script = (resources.files("providers.limits.ledger") / "redis.lua").read_text("utf-8")
        # One that does not block fails where many ask at once, and a crowd would take that for an outage.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Once, at once: a connection that the server has closed since is no outage. To hold a lease twice is
            # harmless, and to count a call twice errs to the safe side.
            retry=Retry(NoBackoff(), 1, (Disconnected,)),
        )
        self._client: Any = Redis.from_pool(pool)
        self._script: Any = self._client.register_script(script)
        self._prefix, self._own_clock = prefix, own_clock
        self._ahead = 0.0
        """By how much the server's clock is ahead of the caller's, as the last answer showed."""
        self._mark = ""
        """Of the memory that its counts are in; one that has lost them has another."""

    async def reserve(self, amounts: Amounts, lease: str, now: float, ttl: float) -> NoRoom | None:
        kind, at, texts = await self._run("reserve", amounts, now, lease, ttl)
        if kind == "granted":
            return None
        counts = {meter.key: from_text(text) for (meter, _), text in zip(amounts, texts, strict=True)}
        refused = CounterStore(counts).check(amounts, at)
        assert refused is not None
        return NoRoom(refused.meter, refused.until + (now - at))

    async def settle(self, amounts: Amounts, lease: str, now: float) -> None:
        await self._run("settle", amounts, now, lease)

    async def spend(self, amounts: Amounts, now: float) -> None:
        await self._run("spend", amounts, now)

    async def observe(self, meter: LimitKey, remaining: float, until: float | None, now: float) -> None:
        if until is None:
            until = start(meter.window, index(meter.window, now) + reach(meter.window) + 1)
        await self._run("observe", [(meter, 0.0)], now, remaining=remaining, ahead=until - now)

    async def usage(self, meters: Sequence[LimitKey], now: float) -> list[Used]:
        _, at, texts = await self._run("usage", [(meter, 0.0) for meter in meters], now)
        counts = {meter.key: from_text(text) for meter, text in zip(meters, texts, strict=True)}
        store = CounterStore(counts)
        seen = [store.view(meter, at) for meter in meters]
        return [replace(each, resets_at=each.resets_at + (now - at)) for each in seen]

    async def forget(self, meters: Sequence[LimitKey]) -> None:
        from redis.exceptions import RedisError

        try:
            await self._client.delete(*self._keys(meters))
        except (RedisError, OSError, TimeoutError) as error:
            raise LedgerDown(f"Redis: {error}") from error

    def _keys(self, meters: Sequence[LimitKey]) -> list[str]:
        """Return where counts are kept, and then where the leases of each are."""
        own = [self._prefix + meter.key for meter in meters]
        return [*own, *(f"{key}{LEASES}" for key in own)]

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _run(
        self, operation: str, amounts: Amounts, now: float, lease: str = "", ttl: float = KEEP_S, **more: float
    ) -> tuple[str, float, list[bytes]]:
        """Return the script's word, the time by which it went, and the rest of its answer."""
        from redis.exceptions import RedisError

        keys = [*self._keys([meter for meter, _ in amounts]), self._prefix + MARK]
        given = repr(now) if self._own_clock else ""
        for _ in range(2):
            meters = json.dumps([described(meter, amount, now + self._ahead) | more for meter, amount in amounts])
            try:
                args = [operation, given, lease, repr(ttl), meters, self._mark, uuid4().hex]
                kind, at, mark, *texts = await self._script(keys=keys, args=args)
            except (RedisError, OSError, TimeoutError) as error:
                raise LedgerDown(f"Redis: {error}") from error
            self._ahead, self._mark = float(at) - now, mark.decode()
            if kind == b"lost":
                raise CountsLost("Redis: it has lost its counts")
            if kind != b"clock":
                break
        else:
            raise LedgerDown("Redis: its clock runs wild")
        return kind.decode(), float(at), texts
