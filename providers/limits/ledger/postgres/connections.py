"""A few connections to PostgreSQL, made where they are asked for. What is asked on one ends within its time, whatever
becomes of the server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio

from providers.limits.ledger import LedgerDown

SETTINGS: Mapping[str, str] = {
    "application_name": "squad-orchestrator ledger",
    # Of a connection on which nothing is heard it is found out in seconds that its peer is gone, not in hours.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""What a connection has unless its address says otherwise. Milliseconds, and seconds."""
SHORTEST_SECRET = 4
"""Characters of a password that is looked for in what the server says: shorter ones are parts of words."""


class Connections:
    """At most `most` connections to the database at `url`. Who finds all of them in use waits for one.

    Finding one and asking take `timeout_s` each at most; then, and where the server fails, it is `LedgerDown`, in words
    that do not hold the address's password. A connection that broke is not used again.
    """

    def __init__(self, url: str, most: int, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._free = anyio.Semaphore(most)
        self._idle: list[Any] = []

    async def ask(self, statement: str, given: Sequence[object]) -> Any:
        """Return the rows of one statement, which is a transaction of its own.

        Whoever waits for it may be cancelled at any time; a statement that is on its way is waited for.
        """
        import psycopg

        try:
            async with self._connection() as connection, _within(connection, self._timeout_s):
                answer = await connection.execute(statement, given, prepare=True)
                return await answer.fetchall() if answer.description else []
        except (psycopg.Error, OSError, TimeoutError, UnicodeError) as error:
            if isinstance(error, psycopg.errors.UndefinedFunction | psycopg.errors.InvalidSchemaName):
                raise
            raise LedgerDown(self.told(error)) from None  # a cause might show the address

    def told(self, error: Exception) -> str:
        """Return what an error says, on one line and without the password."""
        import psycopg

        said = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, TimeoutError):
            said = f"no answer within {self._timeout_s:g} s"
        elif type(error) is psycopg.ProgrammingError:  # psycopg's own, which quotes the address
            said = "its client cannot read the address"
        for secret in _secrets(self._url):
            said = said.replace(secret, "***")
        return f"PostgreSQL: {said}"

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def transaction(self, seconds: float) -> AsyncIterator[Any]:
        """Yield a connection within a transaction that takes so many seconds at most. Raises what psycopg raises."""
        async with self._connection() as connection, _within(connection, seconds), connection.transaction():
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        from psycopg.pq import TransactionStatus

        with anyio.fail_after(self._timeout_s):
            await self._free.acquire()
        try:
            connection = self._usable()
            if connection is None:
                with anyio.fail_after(self._timeout_s):
                    connection = await self._made()
            try:
                yield connection
            finally:
                if not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE:
                    self._idle.append(connection)
                else:  # it was cut, or the server ended it
                    connection.pgconn.finish()
        finally:
            self._free.release()

    def _usable(self) -> Any:
        """Return one that waits to be used, None where there is none. Those that the server has left meanwhile are let
        go of: what is asked on them would be lost, and nobody would know whether it was done."""
        while self._idle:
            connection = self._idle.pop()
            if _is_quiet(connection):
                return connection
            connection.pgconn.finish()
        return None

    async def _made(self) -> Any:
        from psycopg import AsyncConnection
        from psycopg.conninfo import conninfo_to_dict

        said = conninfo_to_dict(self._url)
        more: dict[str, Any] = {name: value for name, value in SETTINGS.items() if name not in said}
        return await AsyncConnection.connect(self._url, autocommit=True, **more)


@asynccontextmanager
async def _within(connection: Any, seconds: float) -> AsyncIterator[None]:
    """Let what is asked on a connection take so long, and raise `TimeoutError` after it. Shielded from cancellation.

    It is cut, not cancelled: psycopg answers a cancellation by asking the server, which may be what does not answer.
    """
    cut = asyncio.get_running_loop().call_later(seconds, _cut, connection)
    try:
        with anyio.CancelScope(shield=True):
            yield
    except Exception as error:
        if asyncio.get_running_loop().time() >= cut.when():
            raise TimeoutError from error
        raise
    finally:
        cut.cancel()


def _is_quiet(connection: Any) -> bool:
    """Whether nothing waits to be read on a connection that nobody uses: its end, or why it is to end."""
    try:
        with socket.socket(fileno=socket.dup(connection.fileno())) as end:
            end.setblocking(False)
            end.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _cut(connection: Any) -> None:
    """End a connection from outside: who waits on it hears that the server has closed it."""
    with suppress(OSError), socket.socket(fileno=socket.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def _secrets(url: str) -> list[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return [url]
    return [each for each in (password or "", unquote(password or "")) if len(each) >= SHORTEST_SECRET]
