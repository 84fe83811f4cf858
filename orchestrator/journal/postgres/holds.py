"""What calls hold of their run's caps, in PostgreSQL: read, decided and changed in one transaction that locks the run.

The lock is that under which events are written: what is read of the record is all of it, and stays so until the commit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from orchestrator.journal.codec import recorded_name
from orchestrator.journal.postgres.connecting import PostgresConnection, watched
from orchestrator.journal.postgres.loading import BEGIN, asked, columns
from orchestrator.journal.postgres.operations import decoded, named
from orchestrator.journal.postgres.reading import EVENTS, asked_for, events_of
from orchestrator.journal.protocols import DecideHolds, HeldCall
from orchestrator.units import unit_of

_LOCK = "SELECT id FROM orchestrator.runs WHERE run = %s FOR NO KEY UPDATE"
_IS_HELD = """
    EXISTS (SELECT 1 FROM orchestrator.units u WHERE u.run = h.run AND u.unit = h.unit AND u.fence = h.fence
    AND NOT u.ended)
    """
_HOLDS = f"""
    SELECT h.id, h.path, h.fence, h.cost, h.tokens, h.turns, h.accounts, h.waits, h.number
    FROM orchestrator.holds h JOIN orchestrator.runs r ON r.id = h.run WHERE r.run = %s AND {_IS_HELD} ORDER BY h.number
    """  # noqa: S608  # made of constants
_DROP = f"DELETE FROM orchestrator.holds h WHERE h.run = %s AND (h.id = ANY(%s::text[]) OR NOT {_IS_HELD})"  # noqa: S608  # as above
_PUT = f"""
    INSERT INTO orchestrator.holds (run, id, unit, path, fence, cost, tokens, turns, accounts, waits)
    SELECT h.* FROM (SELECT %s::bigint AS run, x.* FROM unnest(
        %s::text[], %s::bytea[], %s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[],
        %s::boolean[]
    ) AS x (id, unit, path, fence, cost, tokens, turns, accounts, waits)) AS h WHERE {_IS_HELD}
    ON CONFLICT (run, id) DO UPDATE SET cost = excluded.cost, tokens = excluded.tokens, waits = excluded.waits
    RETURNING id
    """  # noqa: S608  # as above
MOST_HELD = 1 << 48
"""No amount is larger, however long an answer may be: a column holds it, and many are added up."""


async def change_holds(
    connection: PostgresConnection, run: str, kinds: Collection[type], after_seq: int, decide: DecideHolds
) -> tuple[Collection[HeldCall], bool]:
    """Change what is held, within a transaction that is left open. Return the new holds that are none, as their units
    are held by others, and whether any hold is no more."""
    async with connection.pipeline():
        await connection.execute(BEGIN)
        locked = await asked(connection, _LOCK, asked_for(run))
        given = {"run": asked_for(run), "after": after_seq, "kinds": [*map(recorded_name, kinds)]}
        query = f"{EVENTS} AND e.kind = ANY(%(kinds)s) ORDER BY e.seq"
        recorded = await connection.execute(query.encode(), given, binary=True)
        held = await asked(connection, _HOLDS, asked_for(run))
    await watched(connection)
    row = await locked.fetchone()
    if row is None:  # it was removed
        return (), False
    events = await events_of(connection, run, await recorded.fetchall())
    put, drop = decide(events, [_held(*cells) for cells in await held.fetchall()])
    async with connection.pipeline():
        dropped = await asked(connection, _DROP, row[0], list(drop)) if drop else None
        stored = await asked(connection, _PUT, row[0], *columns(map(_cells, put))) if put else None
    found = set() if stored is None else {name for (name,) in await stored.fetchall()}
    return [hold for hold in put if hold.id not in found], dropped is not None


def _cells(hold: HeldCall) -> Sequence[Any]:
    unit, amounts = named(hold.unit.path), (min(each, MOST_HELD) for each in (hold.cost, hold.tokens, hold.turns))
    return (hold.id, unit.key, unit.text, hold.fence, *amounts, json.dumps(hold.of).encode(), hold.waits)


def _held(
    name: str, path: bytes, fence: int, cost: int, tokens: int, turns: int, of: bytes, waits: bool, number: int
) -> HeldCall:
    return HeldCall(name, unit_of(decoded(path)), fence, cost, tokens, turns, tuple(json.loads(of)), waits, number)
