"""The queue's tables: Procrastinate's own, in a schema by themselves, and ours beside them.

Procrastinate keeps no record of its migrations, so we do. They come in two kinds: those named `pre` leave older
software working; those named `post` do not, and wait until no worker of an older Procrastinate is alive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio
import procrastinate
import psycopg
from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from orchestrator.dispatch.cluster.connections import JobQueueUnusable, set_up

OWN = {
    "orchestrator-1-workers": """
        CREATE TABLE orchestrator_workers (
            id bigint PRIMARY KEY,            -- Procrastinate's number of the worker: one for each queue of a process
            process text NOT NULL,
            host text NOT NULL,
            pid integer NOT NULL,
            queue text NOT NULL,
            slots integer NOT NULL,
            busy integer NOT NULL DEFAULT 0,
            draining boolean NOT NULL DEFAULT false,
            version text NOT NULL,            -- Procrastinate's
            timeout_s double precision NOT NULL,
            started_at timestamptz NOT NULL DEFAULT now(),
            heartbeat_at timestamptz NOT NULL DEFAULT now()
        )""",
    "orchestrator-2-upkeep": "CREATE TABLE orchestrator_upkeep (name text PRIMARY KEY, at timestamptz NOT NULL)",
    "orchestrator-3-run": "CREATE INDEX orchestrator_jobs_run ON procrastinate_jobs ((args->>'run'))",
    # Whether a lock is free is asked of each candidate at each fetch: Procrastinate's own index begins with the id.
    "orchestrator-4-lock": """
        CREATE INDEX orchestrator_jobs_lock ON procrastinate_jobs (lock)
        WHERE status IN ('todo'::procrastinate_job_status, 'doing'::procrastinate_job_status)""",
}
"""Our own migrations. One that was released never changes."""
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,30}")
"""A schema's name: a queue's channel bears it, and a channel's name has 63 bytes."""
_POST = re.compile(r"_(?:[5-9]\d)_post_")
_WAIT_S = 0.1
_WITHHELD = """
    SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY(%s) AND c.relname NOT LIKE '%%migrations' AND CASE c.relkind
        WHEN 'r' THEN NOT (
            has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
            AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
        )
        WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE')
        ELSE false END
    ORDER BY 1"""


def check_schema_name(schema: str) -> None:
    """Raise `ValueError` unless a schema may have this name."""
    if not _NAME.fullmatch(schema):
        raise ValueError(f"not a name for the queue's schema: {schema!r} (a-z, 0-9 and _, at most 31 characters)")


def shipped_migrations() -> dict[str, Path]:
    """Return the migrations of the installed Procrastinate, in the order in which they are applied."""
    files = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    return {file.stem: file for file in files}


def pending(shipped: Iterable[str], recorded: Iterable[str], older_alive: bool) -> list[str]:
    """Return which migrations are to be applied now, in order. One that waits holds up all later ones."""
    there, found = set(recorded), list[str]()
    for name in shipped:
        if name in there:
            continue
        if older_alive and _POST.search(name):
            break
        found.append(name)
    return found


async def check_rights(connection: AsyncConnection, schemas: Sequence[str]) -> None:
    """Raise `JobQueueUnusable` where the user may not write to all tables of these schemas."""
    rows = await (await connection.execute(_WITHHELD, [list(schemas)])).fetchall()
    if rows:
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        raise JobQueueUnusable(
            f"the database's user may not write to {rows[0][0]}{more}: "
            "grant it what a worker needs (docs/guides/cluster.md)"
        )


async def prepare_schema(conninfo: str, schema: str) -> None:
    """Make what is missing of the queue's tables. Guarantees: doing it again, or in many processes at once, is safe;
    a process that is killed in it leaves nothing half made.

    Raises `JobQueueUnusable` where the user may not do it, or where the schema holds what we did not make.
    """
    async with await AsyncConnection.connect(conninfo) as connection:
        await set_up(connection, schema)
        if await _is_up_to_date(connection, schema):
            return
        try:
            await _lock(connection, schema)
            await connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
            await _migrate(connection, schema)
        except psycopg.errors.InsufficientPrivilege as error:
            raise JobQueueUnusable(
                f"the queue's tables cannot be made in the schema {schema}: {error.diag.message_primary}"
            ) from error


async def _is_up_to_date(connection: AsyncConnection, schema: str) -> bool:
    found = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.orchestrator_migrations"])
    there = await found.fetchone()
    if there is None or not there[0]:
        return False
    recorded = await _recorded(connection)
    return not await _pending(connection, recorded) and OWN.keys() <= recorded


async def _lock(connection: AsyncConnection, schema: str) -> None:
    # Asked again and again rather than waited for: a statement that waits holds a snapshot, and an index that is built
    # beside running work waits for all snapshots.
    while True:
        asked = await connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"orchestrator:schema:{schema}"]
        )
        row = await asked.fetchone()
        if row is not None and row[0]:
            return
        await anyio.sleep(_WAIT_S)


async def _migrate(connection: AsyncConnection, schema: str) -> None:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS orchestrator_migrations"
        " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    recorded = await _recorded(connection)
    if not recorded:
        found = await connection.execute("SELECT to_regclass(%s) IS NULL", [f"{schema}.procrastinate_jobs"])
        row = await found.fetchone()
        if row is None or not row[0]:
            raise JobQueueUnusable(f"the schema {schema} holds tables of Procrastinate's that another program made")
        await _apply(connection, SchemaManager.get_schema(), list(shipped_migrations()))
    else:
        for name in await _pending(connection, recorded):
            await _apply(connection, shipped_migrations()[name].read_text("utf-8"), [name])
    for name, statement in OWN.items():
        if name not in recorded:
            await _apply(connection, statement, [name])


async def _apply(connection: AsyncConnection, statements: str, names: Sequence[str]) -> None:
    """Run statements and record them under these names, at once where PostgreSQL lets it."""
    if "CONCURRENTLY" in statements:
        await connection.execute(statements.encode())
        await _record(connection, names)
        return
    async with connection.transaction():
        await connection.execute(statements.encode())
        await _record(connection, names)


async def _record(connection: AsyncConnection, names: Sequence[str]) -> None:
    await connection.execute("INSERT INTO orchestrator_migrations (name) SELECT unnest(%s::text[])", [list(names)])


async def _recorded(connection: AsyncConnection) -> set[str]:
    return {name for (name,) in await (await connection.execute("SELECT name FROM orchestrator_migrations")).fetchall()}


async def _pending(connection: AsyncConnection, recorded: set[str]) -> list[str]:
    missing = pending(shipped_migrations(), recorded, older_alive=False)
    if not any(_POST.search(name) for name in missing) or "orchestrator-1-workers" not in recorded:
        return missing
    versions = await connection.execute(
        "SELECT DISTINCT version FROM orchestrator_workers"
        " WHERE heartbeat_at > now() - make_interval(secs => timeout_s)"
    )
    older = {version for (version,) in await versions.fetchall()} - {procrastinate.__version__}
    return pending(shipped_migrations(), recorded, older_alive=bool(older))
