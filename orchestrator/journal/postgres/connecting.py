"""Connections to the database of a PostgreSQL journal, and what its failures mean to those who use a journal."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

import anyio
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from orchestrator.journal.database_url import without_password
from orchestrator.journal.protocols import JournalDamaged, JournalError, JournalMissing, JournalUnusable
from orchestrator.journal.timing import ClusterTiming

T = TypeVar("T")
PostgresConnection = AsyncConnection[tuple[Any, ...]]

DEFAULTS = {
    "application_name": "squad-orchestrator",
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""What a connection is told unless the URL says something else: a server that is gone is found out within 15 s."""
PAUSE_S = (0.05, 2.0)
"""Between two tries to reach a database that is away: at first, and at most."""
HINT = (
    "is the server running, and are host, port, user, password and database right? "
    "The password may also be in PGPASSWORD or in ~/.pgpass"
)
MOST_LENT = 4
"""Connections of a process for each use: a thousand processes are at one server."""
STILL_TIMES = 6
"""So many times the patience one try may take: a server that is there may have much to do."""
SLOW_S = 5.0
"""What takes longer was not at work all the time."""
DAMAGE = ("XX001", "XX002")
RUN_AGAIN = ("40001", "40P01", "23503", "55P03")
"""What another transaction caused: the next try may succeed at once. 23503: a text that was to be referred to was
removed meanwhile, as no run did."""
COMES_BACK = ("08", "53", "57", "25006", "25P")
"""Beginnings of the codes of what passes: no connection, no room, a shutdown, a server that only reads after a
failover, a transaction that was ended because its client stood still."""


class DatabaseAway(JournalUnusable):
    """The server cannot be reached, or does not let us in."""

    hint = HINT


@dataclass(slots=True)
class Database:
    """Opens connections, lends a few for `reading` and for `transactions`, and explains what fails there."""

    conninfo: str = field(repr=False)
    where: str
    timing: ClusterTiming
    warn: Callable[[str], None]
    last_failure: float = -inf
    """When it was found out last that the database was away (`time.monotonic`)."""
    reading: Lender = field(init=False, repr=False)
    transactions: Lender = field(init=False, repr=False)
    _is_away: bool = False

    def __post_init__(self) -> None:
        self.reading, self.transactions = Lender(self.connect), Lender(self.connect)

    @classmethod
    def of(cls, url: str, timing: ClusterTiming, warn: Callable[[str], None]) -> Database:
        """Raise `JournalUnusable` for a URL that PostgreSQL cannot read."""
        where = without_password(url)
        try:
            given = conninfo_to_dict(url)
            conninfo = make_conninfo("", **{**DEFAULTS, **{name: value for name, value in given.items() if value}})
        except psycopg.Error:
            # Its message may quote a password with a character that must be escaped in a URL.
            raise JournalUnusable(f"{where} is not a URL of PostgreSQL: %-escape special characters") from None
        # A query that is cancelled is logged as a warning, which Python would print on stderr where nobody logs.
        if not (logger := logging.getLogger("psycopg")).handlers:
            logger.addHandler(logging.NullHandler())
        return cls(conninfo, where, timing, warn)

    async def connect(self) -> PostgresConnection:
        """Return a new connection, outside of any transaction. Raise what psycopg raises.

        It is not cancelled on its way, which takes `connect_timeout` at most: psycopg would leave it half open, and a
        server waits a minute for who is to log in.
        """
        with anyio.CancelScope(shield=True):
            connection: PostgresConnection = await AsyncConnection.connect(
                self.conninfo, autocommit=True, prepare_threshold=2
            )
        # Always the same type for whole numbers, so that a statement is prepared once.
        connection.adapters.register_dumper(int, Int8Dumper)
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        try:
            async with connection.pipeline():
                await connection.execute(
                    "SELECT set_config('idle_in_transaction_session_timeout', %s, false)",
                    (f"{int(self.timing.stalled_s * 1000)}ms",),
                )
                # What `finish` returned from is on a disk, whatever the user's own sessions are content with.
                await connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', false) "
                    "WHERE current_setting('synchronous_commit') = 'off'"
                )
        except BaseException:
            await connection.close()
            raise
        return connection

    async def read(self, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
        """Return what `work` does in a transaction that only reads, all of one state of the record.

        It is done again where the database was away.
        """

        async def once() -> T:
            async with self.reading.lent() as connection:
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                found = await work(connection)
                await connection.execute("COMMIT")
                return found

        return await self.retried(once)

    async def look(self, work: Callable[[PostgresConnection], Awaitable[T]]) -> T:
        """Return what `work` reads by one statement, and by others only texts, which never change: so it needs no
        transaction, which would be two more trips. It is done again where the database was away."""

        async def once() -> T:
            async with self.reading.lent() as connection:
                return await work(connection)

        return await self.retried(once)

    async def retried(self, work: Callable[[], Awaitable[T]], patience_s: float | None = None) -> T:
        """Return what `work` does, which is tried again while the database is away. Raise what it means that it stays
        so."""
        pauses = Pauses(self.timing.retry_s if patience_s is None else patience_s)
        while True:
            try:
                with self.limited():
                    found = await work()
            except (psycopg.Error, OSError) as error:
                if not self.passes(error):
                    raise self.explain(error) from error
                self.note_failure(error)
                if not await pauses.wait(is_quick=is_conflict(error)):
                    raise self.explain(error) from error
            else:
                self.note_success()
                return found

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Raise `TimeoutError` where a try takes much longer than the patience: the server may stand still."""
        retry_s = self.timing.retry_s
        with anyio.fail_after(None if retry_s is None else retry_s * STILL_TIMES):
            yield

    def note_slowness(self, seconds: float) -> None:
        """Take note of how long a try took: a server that stands still is away as well."""
        if seconds > SLOW_S:
            self.last_failure = time.monotonic()

    def note_failure(self, error: BaseException) -> None:
        """Take note that the database was away, and tell it once."""
        if is_conflict(error):
            return
        self.last_failure = time.monotonic()
        self.reading.forget()
        self.transactions.forget()
        if not self._is_away:
            self._is_away = True
            self.warn(f"the journal {self.where} is away ({reason(error)}): what is to be recorded waits for it")

    def note_success(self) -> None:
        if self._is_away:
            self._is_away = False
            self.warn(f"the journal {self.where} is back")

    def passes(self, error: BaseException) -> bool:
        """Return whether the failure may pass by itself."""
        if isinstance(error, psycopg.Error):
            code = error.sqlstate
            if code is None:  # no answer of the server's: the connection is gone, or there never was one
                return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
            return code.startswith(COMES_BACK) or code in RUN_AGAIN
        return isinstance(error, OSError)

    def explain(self, error: BaseException) -> JournalError:
        """Return what the failure means for who uses the journal."""
        if isinstance(error, psycopg.Error) and error.sqlstate in DAMAGE:
            return JournalDamaged(f"the journal {self.where} is damaged: {reason(error)}")
        if isinstance(error, JournalMissing):
            return JournalMissing(f"there is no journal in {self.where}")
        if isinstance(error, JournalUnusable) and self.where not in str(error):
            return type(error)(f"the journal {self.where} cannot be used: {error}")
        if isinstance(error, JournalError):
            return error
        is_away = isinstance(error, OSError) or (isinstance(error, psycopg.Error) and error.sqlstate is None)
        kind = DatabaseAway if is_away else JournalUnusable
        return kind(f"the journal {self.where} cannot be used: {reason(error)}")

    async def aclose(self) -> None:
        await self.reading.aclose()
        await self.transactions.aclose()


class Lender:
    """Lends connections, few at a time."""

    def __init__(self, connect: Callable[[], Awaitable[PostgresConnection]], most: int = MOST_LENT) -> None:
        self._connect = connect
        self._slots = anyio.Semaphore(most)
        self._idle: list[PostgresConnection] = []
        self._is_closed = False

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[PostgresConnection]:
        """Lend a connection. One that failed, or was left in the middle of something, is closed."""
        async with self._slots:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                is_idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
                if is_idle and not connection.closed and not self._is_closed:
                    self._idle.append(connection)
                else:
                    await dropped(connection)

    @asynccontextmanager
    async def lent_patiently(
        self, retried: Callable[[Callable[[], Awaitable[PostgresConnection]]], Awaitable[PostgresConnection]]
    ) -> AsyncIterator[PostgresConnection]:
        """Lend a connection, once the database can be reached, as `retried` has it."""
        async with AsyncExitStack() as stack:
            yield await retried(lambda: stack.enter_async_context(self.lent()))

    def forget(self) -> None:
        """Close what is not lent: the server that it led to is gone."""
        for idle in self._idle:
            idle.pgconn.finish()
        self._idle.clear()

    async def aclose(self) -> None:
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await dropped(connection)


class Pauses:
    """Pauses between tries, for so many seconds in all; None: for ever."""

    def __init__(self, patience_s: float | None) -> None:
        self._until = None if patience_s is None else time.monotonic() + patience_s
        self._pause_s = PAUSE_S[0]

    async def wait(self, *, is_quick: bool = False) -> bool:
        """Wait for the next try. False: there is to be none."""
        left = None if self._until is None else self._until - time.monotonic()
        if left is not None and left <= 0:
            return False
        pause_s = PAUSE_S[0] if is_quick else self._pause_s
        await anyio.sleep(pause_s if left is None else min(pause_s, left))
        self._pause_s = min(self._pause_s * 2, PAUSE_S[1])
        return True


def is_conflict(error: BaseException) -> bool:
    """Return whether another transaction caused it, and the database is there."""
    return isinstance(error, psycopg.Error) and error.sqlstate in RUN_AGAIN


def reason(error: BaseException) -> str:
    """Return a failure in one line."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    if isinstance(error, TimeoutError) and not error.strerror:
        return "it does not answer"
    text = primary or (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split("\n")[0].split()) or type(error).__name__


async def watched(connection: PostgresConnection) -> None:
    """Have the server watch that this open transaction does not stand still: a pipeline ends with a message that stops
    the server's clock, and this starts it again."""
    await connection.execute("SELECT 1")


async def dropped(connection: PostgresConnection) -> None:
    """Close a connection, whatever it was in. It is closed at once also where this task is cancelled."""
    connection.pgconn.finish()
    await connection.close()
