"""Which runs have asked a person something: each event is looked at once, as events are only ever added."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from orchestrator.journal.sqlite.bills import begins

MOST_REMEMBERED = 20_000
_LAST = "SELECT coalesce(max(seq), 0) FROM events WHERE run = ?"
_ASKS = f"SELECT 1 FROM events e WHERE e.run = ? AND e.seq > ? AND {begins('GateOpened')} LIMIT 1"  # noqa: S608  # made of constants


class _Looked(NamedTuple):
    """How far a run's events were looked at, and whether one of them asks."""

    seq: int
    has_asked: bool


class AskingRuns:
    """What is known of the runs of one journal. A run is known by its row and what stands there: ids come again."""

    def __init__(self) -> None:
        self._looked: dict[tuple[Any, ...], _Looked] = {}

    def among(self, db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Yield of these rows (id, run, squad, created_at, ...) those whose runs have asked, without their id."""
        if len(self._looked) > MOST_REMEMBERED:
            self._looked.clear()
        return (row[1:] for row in rows if self._has_asked(db, row[0], (row[0], row[1], row[3])))

    def _has_asked(self, db: sqlite3.Connection, run: int, known_as: tuple[Any, ...]) -> bool:
        looked = self._looked.get(known_as, _Looked(0, False))
        (last,) = db.execute(_LAST, (run,)).fetchone()
        if last < looked.seq:  # another run of the same name, from the same instant
            looked = _Looked(0, False)
        if last > looked.seq:
            has_asked = looked.has_asked or db.execute(_ASKS, (run, looked.seq)).fetchone() is not None
            looked = self._looked[known_as] = _Looked(last, has_asked)
        return looked.has_asked
