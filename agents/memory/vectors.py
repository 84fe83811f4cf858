"""Vectors of records: kept beside them, scanned by their signs (one bit a dimension), the nearest compared in full."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

COMPARED = 200
"""Of the nearest by signs, so many are compared in full."""
LEAST_LIKENESS = 0.3
"""Cosine below which two texts have nothing in common."""


class NamedVector(NamedTuple):
    """The vector of a text, and the name of the model that made it."""

    model: str
    vector: Sequence[float]


TABLES = """
CREATE TABLE vectors (seq INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL, model TEXT NOT NULL,
    vector BLOB NOT NULL, UNIQUE (n, model));
CREATE TRIGGER vectors_go AFTER DELETE ON records BEGIN DELETE FROM vectors WHERE n = old.n; END;
"""


def missing(
    db: sqlite3.Connection, model: str, most: int, ranges: Sequence[tuple[int, int]] | None = None
) -> list[tuple[int, str]]:
    """Return (number, text) of records that have no vector of this model, the newest first; with `ranges` of numbers,
    of those alone."""
    where = "" if ranges is None else f"({' OR '.join(['r.n BETWEEN ? AND ?'] * len(ranges)) or '0'}) AND "
    bare = "NOT EXISTS (SELECT 1 FROM vectors v WHERE v.n = r.n AND v.model = ?)"
    sql = f"SELECT n, text FROM records r WHERE {where}{bare}"  # noqa: S608  # of our own texts
    bounds = [bound for one in ranges or () for bound in one]
    return list(db.execute(f"{sql} ORDER BY created DESC LIMIT ?", (*bounds, model, most)))


def keep(db: sqlite3.Connection, model: str, vectors: Iterable[tuple[int, Sequence[float]]]) -> None:
    """Keep the vectors of records by number; those of records that are gone meanwhile are not."""
    import numpy as np

    for n, vector in vectors:
        made = np.asarray(vector, dtype=np.float32)
        length = float(np.linalg.norm(made))
        if length and db.execute("SELECT 1 FROM records WHERE n = ?", (n,)).fetchone():
            data = (made / length).astype("<f2").tobytes()
            db.execute("INSERT OR REPLACE INTO vectors (n, model, vector) VALUES (?, ?, ?)", (n, model, data))


@dataclass(slots=True)
class VectorScan:
    """The vectors of one model in memory, read anew as far as they changed in the file."""

    model: str
    _last: int = 0
    _seen: tuple[int, int] | None = None
    """Which changes, of others and of this connection, were looked at."""
    _numbers: Any = field(default=None)
    _vectors: Any = field(default=None)
    _signs: Any = field(default=None)

    def nearest(
        self, db: sqlite3.Connection, query: Sequence[float], ranges: Sequence[tuple[int, int]], most: int
    ) -> list[tuple[int, float]]:
        """Return (number, cosine) of the records in these ranges of numbers that are nearest, the nearest first."""
        import numpy as np

        self._refresh(db)
        asked = np.asarray(query, dtype=np.float32)
        length = float(np.linalg.norm(asked))
        if self._numbers is None or not length or self._vectors.shape[1] != len(asked):
            return []
        inside = np.zeros(len(self._numbers), dtype=bool)
        for first, last in ranges:
            inside |= (self._numbers >= first) & (self._numbers <= last)
        rows = np.flatnonzero(inside)
        if len(rows) > COMPARED:
            apart = self._apart(_signs_of(asked[None, :]))
            apart = apart if len(rows) == len(apart) else apart[rows]
            rows = rows[np.argpartition(apart, COMPARED)[:COMPARED]]
        likeness = self._vectors[rows].astype(np.float32) @ (asked / length)
        order = np.argsort(-likeness)[:most]
        return [(int(self._numbers[rows[i]]), float(likeness[i])) for i in order if likeness[i] >= LEAST_LIKENESS]

    def _apart(self, asked: Array) -> Array:
        """Return in how many signs each vector differs: word by word of them, which is much quicker than by vector."""
        import numpy as np

        apart = np.zeros(self._signs.shape[1], dtype=np.uint16)
        for signs, own in zip(self._signs, asked[:, 0], strict=True):
            apart += np.bitwise_count(signs ^ own)
        return apart

    def _refresh(self, db: sqlite3.Connection) -> None:
        import numpy as np

        # Counting 100,000 vectors takes longer than scanning them; that nothing changed is known at once.
        [(by_others,)] = db.execute("PRAGMA data_version")
        if self._seen == (seen := (by_others, db.total_changes)):
            return
        self._seen = seen
        [(count, last)] = db.execute("SELECT count(*), max(seq) FROM vectors WHERE model = ?", (self.model,))
        held = 0 if self._numbers is None else len(self._numbers)
        sql = "SELECT seq, n, vector FROM vectors WHERE model = ? AND seq > ? ORDER BY seq"
        new = list(db.execute(sql, (self.model, self._last))) if last is not None and last > self._last else []
        if held + len(new) != count:  # some are gone: all is read anew
            self._numbers, held = None, 0
            new = list(db.execute(sql, (self.model, 0)))
        if not new:
            self._last = last or 0
            return
        width = len(new[-1][2])
        rows = [row for row in new if len(row[2]) == width]
        numbers = np.array([row[1] for row in rows], dtype=np.int64)
        vectors = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f2").reshape(len(rows), -1)
        signs = _signs_of(vectors)
        if self._numbers is not None and held:
            numbers = np.concatenate((self._numbers, numbers))
            vectors = np.concatenate((self._vectors, vectors))
            signs = np.concatenate((self._signs, signs), axis=1)
        self._numbers, self._vectors, self._signs, self._last = numbers, vectors, signs, last


def _signs_of(vectors: Array) -> Array:
    """Return the signs as bits in words of 64: a row a word, a column a vector."""
    import numpy as np

    bits = np.packbits(vectors > 0, axis=1)
    padded = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8)))
    return np.ascontiguousarray(np.ascontiguousarray(padded).view(np.uint64).T)
