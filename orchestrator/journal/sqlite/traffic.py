"""The latest turns over all runs of a SQLite journal. Only the events that tell of them are read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from orchestrator.events import Event
from orchestrator.journal.sqlite.bills import FORKS, begins
from orchestrator.journal.sqlite.sealing import unpacked
from orchestrator.units import place_of

_LATEST = f"""
    SELECT e.at FROM events e WHERE e.at >= ? AND e.at < ? AND {begins("TurnStarted")}
    ORDER BY e.at DESC LIMIT 1 OFFSET ?
    """  # noqa: S608  # made of constants
_QUERY = f"""
    SELECT r.run, p.path, e.seq, e.turn, e.number, e.at, e.data, e.seal
    FROM events e JOIN runs r ON r.id = e.run JOIN places p ON p.id = e.place
    WHERE e.at >= ? AND e.at < ? AND (
        {begins("TurnStarted")} OR {begins("AttemptEnded")} OR {begins("WaitingForProvider")} OR {begins("TurnEnded")}
    )
    AND e.seq > coalesce((SELECT max(f.seq) FROM forks f WHERE f.run = e.run), 0)
    ORDER BY e.run, e.seq
    """  # noqa: S608  # as above


def turns(db: sqlite3.Connection, since: float, until: float, most: int) -> Iterator[Event]:
    """Yield the events that tell of the latest `most` turns in a time (epoch seconds UTC).

    What a fork took over is not among them. Raise `JournalDamaged`.
    """
    row = db.execute(_LATEST, (since, until, most - 1)).fetchone()
    given = (since if row is None else row[0], until)
    for run, path, seq, turn, number, at, *sealed in db.execute(f"WITH forks AS ({FORKS}) {_QUERY}", given):
        yield Event(run, *place_of(path), turn, number, at, unpacked(db, sealed, seq, path, turn, number, at))
