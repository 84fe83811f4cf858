"""Taking runs out of the PostgreSQL journal again, and giving their room back."""

from __future__ import annotations

from orchestrator.journal.postgres.connecting import PostgresConnection

TABLES = ("events", "bills", "holds", "reports", "signals", "manifests", "places", "steps", "units", "uses")
"""Those whose rows belong to a run."""
_UNUSED = """
    DELETE FROM orchestrator.bodies b WHERE NOT EXISTS (SELECT 1 FROM orchestrator.uses u WHERE u.digest = b.digest)
    """
_OLD_MARKS = "DELETE FROM orchestrator.commits WHERE at < now() - interval '1 day'"
"""A commit whose answer was lost is asked for within minutes: these are of processes that are gone."""


async def remove_run(connection: PostgresConnection, run: str) -> bool:
    """Delete all rows of a run, and return whether there were any. Texts stay: others may use them."""
    async with connection.transaction():
        query = "SELECT id FROM orchestrator.runs WHERE run = %s FOR UPDATE"
        found = await (await connection.execute(query, (run,))).fetchone()
        if found is None:
            return False
        for table in TABLES:
            await connection.execute(f"DELETE FROM orchestrator.{table} WHERE run = %s".encode(), found)  # noqa: S608  # ours
        await connection.execute("DELETE FROM orchestrator.runs WHERE id = %s", found)
        return True


async def reclaim(connection: PostgresConnection) -> None:
    """Delete the texts that no run uses, and let PostgreSQL use their room again.

    A writer that begins to use such a text at the same time wins, or writes it again: `uses` refers to `bodies`.
    """
    await connection.execute(_UNUSED)
    await connection.execute(_OLD_MARKS)
    for table in (*TABLES, "bodies", "runs", "commits"):
        await connection.execute(f"VACUUM orchestrator.{table}".encode())
