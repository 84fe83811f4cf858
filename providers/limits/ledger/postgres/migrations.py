"""The ledger's own schema in a database, made and brought up to date. Which steps were taken is on record there."""

from __future__ import annotations

from importlib import resources
from typing import Any

SCHEMA = "squad_ledger"
LOCK = 0x53514C45
"""Of two processes that come at once one takes the steps, and the other finds them taken."""


async def migrate(connection: Any) -> None:
    """Take the steps that were not taken yet, within the connection's transaction. Raises what psycopg raises.

    A step only adds: processes of the version before go on meanwhile. Steps of a later version are left alone.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    found = await (await connection.execute("SELECT to_regnamespace(%s) IS NULL", [SCHEMA])).fetchone()
    if found == (True,):  # asked first: who may make none could not say IF NOT EXISTS either
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.migrations"
        " (number int PRIMARY KEY, name text NOT NULL, taken_at timestamptz NOT NULL DEFAULT now())"
    )
    rows = await connection.execute(f"SELECT number FROM {SCHEMA}.migrations")  # noqa: S608  # a name of ours
    taken = {number for (number,) in await rows.fetchall()}
    for number, name, step in steps():
        if number not in taken:
            await connection.execute(step)
            await connection.execute(
                f"INSERT INTO {SCHEMA}.migrations (number, name) VALUES (%s, %s)",  # noqa: S608
                [number, name],
            )


def steps() -> list[tuple[int, str, str]]:
    """Return the number, the name and the statements of each step, in order."""
    folder = resources.files("providers.limits.ledger.postgres")
    found = sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))
    return [(int(name.split("_")[0]), name, (folder / name).read_text("utf-8")) for name in found]
