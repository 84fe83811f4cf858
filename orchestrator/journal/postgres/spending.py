"""What all runs of a PostgreSQL journal spent, and their latest turns: added up and chosen by the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.events import Event
from orchestrator.journal.postgres.connecting import PostgresConnection
from orchestrator.journal.postgres.operations import decoded
from orchestrator.journal.postgres.texts import Texts
from orchestrator.journal.spent import QUARTER_S, Spending, SpentBy, SpentRow, added_up, full_name
from orchestrator.units import place_of

SUMS = """
    count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind = 1), sum(input), sum(output), sum(cached),
    sum(reasoning), coalesce(sum(b.cost), 0), count(*) FILTER (WHERE b.cost IS NULL), count(*) FILTER (WHERE kind = 2)
    """
COLUMNS: dict[SpentBy, tuple[str, ...]] = {
    "provider": ("provider",),
    "model": ("provider", "model"),
    "agent": ("agent",),
    "squad": ("r.squad",),
    "run": ("r.run",),
    "task": ("task",),
    "quarter": (f"floor(at / {QUARTER_S})::bigint",),
}
OF_TURNS = ["TurnStarted", "AttemptEnded", "WaitingForProvider", "TurnEnded"]
_TURNS = """
    WITH bounds AS (SELECT coalesce((
        SELECT at FROM orchestrator.events WHERE at >= %(since)s AND at < %(until)s AND kind = 'TurnStarted'
        ORDER BY at DESC LIMIT 1 OFFSET %(skip)s
    ), %(since)s) AS since)
    SELECT r.run, p.path, e.turn, e.number, e.at, e.data
    FROM bounds b JOIN orchestrator.events e ON e.at >= b.since AND e.at < %(until)s AND e.kind = ANY(%(kinds)s)
    JOIN orchestrator.runs r ON r.id = e.run JOIN orchestrator.places p ON p.run = e.run AND p.place = e.place
    WHERE e.seq > coalesce(
        (SELECT max(f.seq) FROM orchestrator.events f WHERE f.run = e.run AND f.kind = 'RunForked'), 0
    )
    ORDER BY r.id, e.seq
    """


async def spent(
    connection: PostgresConnection, ways: Sequence[tuple[Sequence[SpentBy], float]]
) -> Sequence[Sequence[SpentRow]]:
    """Return of each (by, since) what was spent since (epoch seconds UTC), added up."""
    return [await _spent(connection, by, since) for by, since in ways]


async def _spent(connection: PostgresConnection, by: Sequence[SpentBy], since: float) -> Sequence[SpentRow]:
    columns = [column for one in by for column in COLUMNS[one]]
    group = f"GROUP BY {', '.join(map(str, range(1, len(columns) + 1)))}" if columns else ""
    query = (
        f"SELECT {', '.join([*columns, SUMS])} FROM orchestrator.bills b JOIN orchestrator.runs r ON r.id = b.run "  # noqa: S608  # made of constants
        f"WHERE at >= %s {group} HAVING count(*) > 0"
    )
    rows = await (await connection.execute(query.encode(), (since,), binary=True)).fetchall()
    found = []
    for row in rows:
        left = iter(row)
        found.append(SpentRow(tuple([_told(one, left) for one in by]), Spending(*map(int, row[len(columns) :]))))
    return added_up(found)


def _told(one: SpentBy, left: Iterator[Any]) -> str | int:
    match one:
        case "quarter":
            return int(next(left))
        case "run":
            return str(next(left))
        case "model":
            return full_name(decoded(next(left)), decoded(next(left)))
    return decoded(next(left))


async def turns(connection: PostgresConnection, since: float, until: float, most: int) -> Sequence[Event]:
    """Return the events that tell of the latest `most` turns in a time (epoch seconds UTC)."""
    given = {"since": since, "until": until, "skip": most - 1, "kinds": OF_TURNS}
    rows = await (await connection.execute(_TURNS.encode(), given, binary=True)).fetchall()
    texts = await Texts.of(connection, [row[-1] for row in rows])
    return [
        Event(run, *place_of(decoded(path)), turn, number, at, texts.value(data))
        for run, path, turn, number, at, data in rows
    ]
