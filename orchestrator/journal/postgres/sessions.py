"""Whether a connection has a session of its own: listening, locks and prepared statements belong to one."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

import anyio

from orchestrator.journal.postgres.connecting import PostgresConnection, dropped

WAIT_S = 5.0
"""How long another session is waited for: a pooler that has none left lets us wait for minutes."""
_MINE = "SELECT set_config('orchestrator.session', %s, false), pg_backend_pid()"
_WHOSE = "SELECT current_setting('orchestrator.session', true)"


async def keeps_sessions(connection: PostgresConnection, connect: Callable[[], Awaitable[PostgresConnection]]) -> bool:
    """Return whether each connection keeps its session from one transaction to the next. `connect` opens another one.

    A pooler may lend the session to others in between: then another connection finds our mark in its own, or keeps us
    from it.
    """
    mark = secrets.token_hex(8)
    row = await (await connection.execute(_MINE, (mark,))).fetchone()
    if row is not None and row[1] == connection.info.backend_pid:
        return True  # the server itself told us that number as we connected: nothing stands in between
    other = await connect()
    try:
        with anyio.move_on_after(WAIT_S):
            await other.execute("BEGIN")
            return await _mark_of(other) != mark and await _mark_of(connection) == mark
        return False
    finally:
        await dropped(other)


async def _mark_of(connection: PostgresConnection) -> str | None:
    row = await (await connection.execute(_WHOSE)).fetchone()
    return None if row is None else row[0]
