"""What was billed over all runs of a SQLite journal. Only the events that say so are read: a look at each other one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from orchestrator.events import Event
from orchestrator.journal.sqlite.sql import unpacked
from orchestrator.units import place_of


def begins(name: str) -> str:
    """Return a condition that holds for the records of one class."""
    head = f'{{"$":"{name}"'.encode()
    return f"substr(e.data, 1, {len(head)}) = x'{head.hex()}'"


_LOST = f"""{begins("AttemptEnded")} AND instr(e.data, x'{b'"usage":'.hex()}')"""
_QUERY = f"""
    SELECT r.run, p.path, e.seq, e.turn, e.number, e.at, e.data, e.seal
    FROM events e JOIN runs r ON r.id = e.run JOIN places p ON p.id = e.place
    WHERE e.at >= ? AND (
        {begins("TurnEnded")} OR {begins("TextsEmbedded")} OR ({_LOST})
        OR ({begins("TurnStarted")} AND e.place IN (SELECT e.place FROM events e WHERE {_LOST}))
    )
    AND e.seq > coalesce((SELECT max(f.seq) FROM forks f WHERE f.run = e.run), 0)
    ORDER BY e.run, e.seq
    """  # noqa: S608  # made of constants
FORKS = f"SELECT e.run, e.seq FROM events e WHERE {begins('RunForked')}"  # noqa: S608  # as above


def bills(db: sqlite3.Connection, since: float) -> Iterator[Event]:
    """Yield the events since (epoch seconds UTC) that say what was billed, and who had the turn of a lost attempt.

    What a fork took over is not among them: the run that it came from paid for it. Raise `JournalDamaged`.
    """
    for run, path, seq, turn, number, at, *sealed in db.execute(f"WITH forks AS ({FORKS}) {_QUERY}", (since,)):
        yield Event(run, *place_of(path), turn, number, at, unpacked(db, sealed, seq, path, turn, number, at))
