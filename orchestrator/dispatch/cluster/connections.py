"""Connections to the database of the queue, and what to do while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool
from structlog.typing import FilteringBoundLogger

from orchestrator.errors import OrchestratorError

T = TypeVar("T")

RETRY_S = 1.0
"""Seconds between two tries to reach a database that is away."""
LIVENESS = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
}
"""How a dead peer is noticed within some 11 s, where the network says nothing. A URL may say otherwise."""
PLANNING = {"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_sort": "off", "jit": "off"}
"""Has the next job found by walking an index in order. Where many jobs were just submitted, PostgreSQL's statistics do
not know of them yet: it would join and sort all that wait for each one taken, 200 ms of 30,000 instead of 0.4. What is
sorted all the same then looks so dear that PostgreSQL would compile it: 8 ms for each look at how the workers stand."""
SERVER_LIVENESS = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
"""How the server notices that this process is gone: it keeps its locks until then."""
_SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS asked (name, value)"
PASSING = frozenset({"25006", "25P03"})
"""SQLSTATEs of a write to a standby, where the old address may lead for a while after a failover, and of a transaction
that was idle for too long."""

NOT_OURS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction)


class JobQueueUnusable(OrchestratorError):
    """The queue's database cannot be used: it is no URL of one, or its user may not do what must be done."""


class JobQueueAway(OrchestratorError):
    """The queue's database cannot be reached now. What was asked may have been done or not; asking again is safe."""


def conninfo_of(url: str, application: str) -> str:
    """Return how to connect: with what notices a dead peer.

    Raises `JobQueueUnusable`, which does not repeat the URL: it may hold a password.
    """
    try:
        own = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise JobQueueUnusable("the database's URL cannot be read: expected postgresql://USER@HOST:PORT/NAME") from None
    return make_conninfo("", **{**LIVENESS, "application_name": application, **own})


async def set_up(connection: AsyncConnection, schema: str) -> None:
    """Have a new connection look names up in the queue's schema, outside of any transaction.

    By a statement: a pooler refuses, or ignores, such options of a connection.
    """
    await connection.set_autocommit(True)
    settings = {"search_path": schema, **PLANNING, **SERVER_LIVENESS}
    await connection.execute(_SET, [list(settings), list(settings.values())])


def new_pool(conninfo: str, schema: str, largest: int, name: str) -> AsyncConnectionPool:
    """Return a pool that is not open yet. It asks for no connection longer than some seconds, however long the
    database is away: who waits for it asks again."""
    return AsyncConnectionPool(
        conninfo,
        # Not arguments of the pool's connections: Procrastinate gives those to one that it listens on itself.
        configure=partial(set_up, schema=schema),
        min_size=1,
        max_size=largest,
        timeout=5.0,
        reconnect_timeout=2 * RETRY_S,  # its pauses double: a longer try would still sleep when the database is back
        name=name,
        open=False,
    )


def is_lost(error: BaseException) -> bool:
    """Return whether an error says that the database could not be reached, or could not write, for now."""
    cause = error.__cause__ if isinstance(error, ConnectorException) else error
    return isinstance(cause, psycopg.OperationalError) or getattr(cause, "sqlstate", None) in PASSING


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """Yield the errors in a group, those of groups in it too."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def reach(pool: AsyncConnectionPool, call: Callable[[], Awaitable[T]]) -> T:
    """Return what `call` returns, which may be done twice. Raises `JobQueueAway`, and `JobQueueUnusable` where its
    tables are not there, or not for this user."""
    try:
        try:
            return await call()
        except (ConnectorException, psycopg.Error) as error:
            if not is_lost(error):
                raise
            await pool.check()  # the database may be back: its old connections are dead, all of them
            return await call()
    except (ConnectorException, psycopg.Error) as error:
        cause = error.__cause__ if isinstance(error, ConnectorException) else error
        if isinstance(cause, NOT_OURS):
            raise JobQueueUnusable(f"the queue's tables cannot be used: {cause.diag.message_primary}") from error
        if not is_lost(error):
            raise
        raise JobQueueAway(f"the queue's database cannot be reached: {str(cause).strip()}") from error


@contextmanager
def as_psycopg() -> Iterator[None]:
    """Raise what psycopg raised on a caller's own connection, not what Procrastinate makes of it."""
    try:
        yield
    except ConnectorException as error:
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


class Persistence:
    """Repeats what fails because the database is away, until it is back or `give_up` is set."""

    def __init__(self, pool: AsyncConnectionPool, log: FilteringBoundLogger) -> None:
        self._pool, self._log = pool, log
        self._away = False
        self.give_up = False

    async def __call__(self, call: Callable[[], Awaitable[T]], lost: Callable[[], None] | None = None) -> T:
        """Return what `call` returns; `lost` is told of each failure. What is repeated may have been done before."""
        while True:
            try:
                result = await call()
            except (ConnectorException, psycopg.Error) as error:
                if self.give_up or not is_lost(error):
                    raise
                if lost is not None:
                    lost()
                self._note(error)
                await asyncio.sleep(RETRY_S)
                await self._pool.check()
            else:
                if self._away:
                    self._away = False
                    self._log.info("database_back")
                return result

    def _note(self, error: BaseException) -> None:
        if not self._away:
            self._away = True
            self._log.warning("database_away", error=type(error.__cause__ or error).__name__)
