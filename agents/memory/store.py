"""Records in one SQLite file, found by their words. Several threads and processes may use it at once."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from agents.errors import AgentError
from agents.memory import term_index, vectors
from agents.memory.database import Layout, connect, told, transaction
from agents.memory.embedders import Embedder
from agents.memory.fusion import BY_MEANING, BY_WORDS, fused
from agents.memory.records import MemoryRecord, RecordSource, RecordTrust, merged
from agents.memory.vectors import NamedVector, VectorScan

MOST_RECORDS = 500_000
"""Records of one store."""
MOST_FOUND = 50
CANDIDATES = 4
"""Times the wanted records, of each ranking, where two are ranked together."""
EMBEDDED_AT_ONCE = 64
"""Records that get their vectors with one call of `remember`: its own, and some that have none yet."""
APPLICATION_ID = 0x53714D65  # "SqMe"
SCHEMA = 1
SCOPE_BITS = 40
LAST_OF_SCOPE = (1 << SCOPE_BITS) - 1
"""A record's number is its scope's, shifted, and its place in it: a search of one scope reads no other's postings."""
_TABLES = """
CREATE TABLE records (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scope INTEGER NOT NULL REFERENCES scopes, text TEXT NOT NULL,
    trust TEXT NOT NULL, created REAL NOT NULL, expires REAL, origin TEXT NOT NULL, agent TEXT NOT NULL,
    run TEXT NOT NULL, unit TEXT NOT NULL, tags TEXT NOT NULL);
CREATE INDEX records_by_scope ON records (scope, created);
CREATE INDEX records_by_end ON records (expires) WHERE expires IS NOT NULL;
CREATE TABLE scopes (n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
"""
_COLUMNS = "r.id, r.text, s.name, r.trust, r.created, r.origin, r.agent, r.run, r.unit, r.expires, r.tags"
_FROM = f"SELECT {_COLUMNS} FROM records r JOIN scopes s ON s.n = r.scope"  # noqa: S608  # of our own texts


class MemoryFull(AgentError):
    """The store holds as many records as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the memory is full: it holds {most:,} records")
        self.hint = "`orchestrator memory forget` takes records out; `memory: {ttl: 90d}` lets new ones expire"
        """What to do about it."""


class FoundRecord(NamedTuple):
    """A record that was searched for. `score`: the higher, the better; only scores of one search compare."""

    record: MemoryRecord
    score: float


@dataclass(frozen=True, slots=True)
class ScopeSize:
    scope: str
    records: int


class MemoryStore:
    """Records, kept in the file `path`, or in this process alone. Methods block; call them in a thread.

    Each write is one transaction: a process that is killed leaves all of it or nothing. Raises `MemoryUnusable` where
    the file is damaged, of another program or of a later release, or stays busy.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: str,
        most: int = MOST_RECORDS,
        embedder: Embedder | None = None,
    ) -> None:
        self._db = connection
        self._scans: dict[str, VectorScan] = {}
        self.embedder = embedder
        self._lock = threading.Lock()
        self.path = path
        self.most = most

    @classmethod
    def open(
        cls, path: Path | str | None = None, *, most: int = MOST_RECORDS, embedder: Embedder | None = None
    ) -> Self:
        """Return the store at `path`, made where there is none. None: it is kept in memory, and gone when closed.

        With an `embedder` records are found by meaning, too.
        """
        return cls(connect(path, LAYOUT), ":memory:" if path is None else str(path), most, embedder)

    def close(self) -> None:
        """Close the file. Nothing can be read or written afterwards."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def remember(self, records: Iterable[MemoryRecord], now: float) -> list[tuple[MemoryRecord, bool]]:
        """Keep these records; return each as it is kept, ordered by scope, and whether it is new.

        One that is there already takes the new one's end and tags (`merged`). Records that are over are taken out.
        Raise `MemoryFull`, and keep none, where there is no room.
        """
        with self._writing() as db:
            kept = self._kept(db, records, now)
        if self.embedder is not None:
            self.embed(self.embedder)
        return kept

    def _kept(
        self, db: sqlite3.Connection, records: Iterable[MemoryRecord], now: float
    ) -> list[tuple[MemoryRecord, bool]]:
        _purge(db, now)
        # The index takes rows of one transaction quickest in the order of their numbers.
        added: list[tuple[int, str]] = []
        kept = [_put(db, record, added) for record in sorted(records, key=lambda record: record.scope)]
        term_index.add(db, sorted(added))
        if any(is_new for _, is_new in kept):
            [(size,)] = db.execute("SELECT count(*) FROM records")
            if size > self.most:
                raise MemoryFull(self.most)
        return kept

    def search(
        self, text: str, scopes: Sequence[str], now: float, limit: int = 5, *, asked: NamedVector | None = None
    ) -> list[FoundRecord]:
        """Return the records of these scopes that share words with `text`, the best first (bm25).

        Any text may be asked, and none is syntax. At most `MOST_FOUND`. With its vector, `asked` or the embedder's,
        those of a like meaning are found as well, and both are ranked together.
        """
        limit = min(limit, MOST_FOUND)
        if limit < 1:
            return []
        if asked is None and self.embedder is not None and text.strip():
            [vector] = self.embedder.embed([text])
            asked = NamedVector(self.embedder.name, vector)
        most = limit if asked is None else CANDIDATES * limit
        near = None if asked is None else self._near(asked, scopes, now, most)
        with self._reading() as db:
            match = term_index.match_for(db, text)
            found = [one for n in _numbers(db, scopes) for one in _matching(db, match, n, now, most)] if match else []
        found = sorted(found, key=lambda one: -one.score)[:most]
        if not near:
            return found[:limit]
        by_id = {one.record.id: one.record for one in (*found, *near)}
        ranked = fused([(BY_WORDS, [one.record.id for one in found]), (BY_MEANING, [one.record.id for one in near])])
        return [FoundRecord(by_id[id_], score) for id_, score in ranked[:limit]]

    def embed(self, embedder: Embedder, most: int = EMBEDDED_AT_ONCE) -> int:
        """Make the vectors of up to `most` records that have none of this embedder's; return of how many."""
        bare = self.without_vector(embedder.name, most)
        if bare:
            made = embedder.embed([text for _, text in bare])  # it takes its time: others may write
            self.keep_vectors(embedder.name, zip((n for n, _ in bare), made, strict=True))
        return len(bare)

    def without_vector(
        self, model: str, most: int = EMBEDDED_AT_ONCE, scopes: Sequence[str] | None = None
    ) -> list[tuple[int, str]]:
        """Return (number, text) of up to `most` records of these scopes (None: all) that have no vector of a model."""
        with self._reading() as db:
            return vectors.missing(db, model, most, None if scopes is None else _ranges(db, scopes))

    def keep_vectors(self, model: str, made: Iterable[tuple[int, Sequence[float]]]) -> None:
        """Keep the vectors that a model made of records, by their numbers."""
        with self._writing() as db:
            vectors.keep(db, model, made)

    def _near(self, asked: NamedVector, scopes: Sequence[str], now: float, most: int) -> list[FoundRecord]:
        with self._reading() as db:
            scan = self._scans.setdefault(asked.model, VectorScan(asked.model))
            found = [
                FoundRecord(_record(db.execute(f"{_FROM} WHERE r.n = ?", (n,)).fetchone()), likeness)
                for n, likeness in scan.nearest(db, asked.vector, _ranges(db, scopes), most)
            ]
        return [one for one in found if not one.record.is_over(now)]

    def records(
        self, scopes: Sequence[str] | None, now: float, limit: int | None = None, *, oldest_first: bool = False
    ) -> list[MemoryRecord]:
        """Return the records of these scopes (None: of all), the newest first."""
        with self._reading() as db:
            numbers = None if scopes is None else _numbers(db, scopes)
            where = "" if numbers is None else f"AND r.scope IN ({','.join(map(str, numbers))})"
            order = "ASC" if oldest_first else "DESC"
            kept = "(r.expires IS NULL OR r.expires > ?)"
            rows = db.execute(
                f"{_FROM} WHERE {kept} {where} ORDER BY r.created {order}, r.n {order} LIMIT ?",
                (now, -1 if limit is None else limit),
            )
            return [_record(row) for row in rows]

    def get(self, ids: Sequence[str]) -> list[MemoryRecord]:
        """Return the records whose ids begin so, in the order of the ids."""
        found: dict[str, MemoryRecord] = {}
        with self._reading() as db:
            for one in ids:
                for row in db.execute(f"{_FROM} WHERE r.id >= ? AND r.id < ? ORDER BY r.id", (one, one + "\U0010ffff")):
                    found[row[0]] = _record(row)
        return list(found.values())

    def forget(self, ids: Sequence[str]) -> int:
        """Take these records out, and return how many there were."""
        with self._writing() as db:
            numbers = [n for one in ids for (n,) in db.execute("SELECT n FROM records WHERE id = ?", (one,))]
            _delete(db, numbers)
            return len(numbers)

    def scopes(self, now: float) -> list[ScopeSize]:
        """Return the scopes that hold records, by name."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT s.name, count(*) FROM records r JOIN scopes s ON s.n = r.scope "
                "WHERE r.expires IS NULL OR r.expires > ? GROUP BY s.n ORDER BY s.name",
                (now,),
            )
            return [ScopeSize(*row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, told(self.path), transaction(self._db, "BEGIN"):
            yield self._db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, told(self.path), transaction(self._db):
            yield self._db


def _make_index(db: sqlite3.Connection) -> None:
    term_index.make_anew(db, "SELECT n, text FROM records ORDER BY n")


LAYOUT = Layout(APPLICATION_ID, SCHEMA, _TABLES + vectors.TABLES, term_index.VERSION, _make_index)


def _put(db: sqlite3.Connection, record: MemoryRecord, added: list[tuple[int, str]]) -> tuple[MemoryRecord, bool]:
    """Keep a record; a new one is `added` by its number and text, and not indexed yet."""
    there = db.execute(f"{_FROM} WHERE r.id = ?", (record.id,)).fetchone()
    kept = record if there is None else merged(_record(there), record)
    source = (kept.source.origin, kept.source.agent, kept.source.run, kept.source.unit)
    more = (kept.trust, kept.expires, json.dumps(kept.tags, ensure_ascii=False), *source)
    if there is not None:
        db.execute(
            "UPDATE records SET trust = ?, expires = ?, tags = ?, origin = ?, agent = ?, run = ?, unit = ? "
            "WHERE id = ?",
            (*more, kept.id),
        )
        return kept, False
    db.execute("INSERT OR IGNORE INTO scopes (name) VALUES (?)", (kept.scope,))
    [(scope,)] = db.execute("SELECT n FROM scopes WHERE name = ?", (kept.scope,))
    lowest = scope << SCOPE_BITS
    [(last,)] = db.execute("SELECT max(n) FROM records WHERE n BETWEEN ? AND ?", (lowest, lowest + LAST_OF_SCOPE))
    n = lowest if last is None else last + 1
    db.execute(
        "INSERT INTO records (trust, expires, tags, origin, agent, run, unit, n, id, scope, text, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*more, n, kept.id, scope, kept.text, kept.created),
    )
    added.append((n, kept.text))
    return kept, True


def _purge(db: sqlite3.Connection, now: float) -> None:
    _delete(db, [n for (n,) in db.execute("SELECT n FROM records WHERE expires <= ?", (now,))])


def _delete(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    for n in numbers:
        [(text,)] = db.execute("SELECT text FROM records WHERE n = ?", (n,))
        term_index.remove(db, n, text)
        db.execute("DELETE FROM records WHERE n = ?", (n,))


def _numbers(db: sqlite3.Connection, scopes: Sequence[str]) -> list[int]:
    return [n for name in scopes for (n,) in db.execute("SELECT n FROM scopes WHERE name = ?", (name,))]


def _ranges(db: sqlite3.Connection, scopes: Sequence[str]) -> list[tuple[int, int]]:
    """Return the first and the last number that records of each scope may have."""
    return [(n << SCOPE_BITS, (n << SCOPE_BITS) + LAST_OF_SCOPE) for n in _numbers(db, scopes)]


def _matching(db: sqlite3.Connection, match: str, scope: int, now: float, limit: int) -> Iterator[FoundRecord]:
    """Yield the best records of a scope that are not over."""
    first = scope << SCOPE_BITS
    for n, score in term_index.matching(db, match, first, first + LAST_OF_SCOPE):
        record = _record(db.execute(f"{_FROM} WHERE r.n = ?", (n,)).fetchone())
        if not record.is_over(now):
            yield FoundRecord(record, score)
            if (limit := limit - 1) == 0:
                return


def _record(row: Sequence[Any]) -> MemoryRecord:
    id_, text, scope, trust, created, origin, agent, run, unit, expires, tags = row
    checked: RecordTrust = trust if trust in ("user", "agent") else "untrusted"
    source = RecordSource(origin, agent, run, unit)
    return MemoryRecord(id_, text, scope, checked, created, source, expires, tuple(json.loads(tags)))
