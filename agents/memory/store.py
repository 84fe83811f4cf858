"""Records in one SQLite file, found by their words. Several threads and processes may use it at once.

The index is FTS5 over our own terms (see `query.py`): SQLite splits them at blanks and does nothing else to them. The
distinct terms have an index of trigrams, by which a part of a word, or a misspelled one, leads to the words that there
are. Both follow from the records, and are made anew where their version differs.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from agents.errors import AgentError
from agents.memory.query import alike, any_of, asked, quoted, rarest, terms, trigrams
from agents.memory.records import MemoryRecord, RecordSource, RecordTrust, merged
from providers.limits.ledger.private import make_private_file, make_private_folder, tighten

BUSY_S = 10.0
"""How long to wait for another process's write."""
MOST_RECORDS = 500_000
"""Records of one store."""
MOST_FOUND = 50
APPLICATION_ID = 0x53714D65  # "SqMe"
SCHEMA = 1
INDEX = 1
"""Of the terms: where they change, the index is made anew when the store is opened."""
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
CREATE TABLE index_version (version INTEGER NOT NULL);
"""
_INDEX = """
CREATE VIRTUAL TABLE words USING fts5(terms, content='', tokenize='ascii');
CREATE TABLE vocabulary (n INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE, records INTEGER NOT NULL);
CREATE VIRTUAL TABLE likeness USING fts5(term, content='vocabulary', content_rowid='n', tokenize='trigram');
"""
_COLUMNS = "r.id, r.text, s.name, r.trust, r.created, r.origin, r.agent, r.run, r.unit, r.expires, r.tags"
_FROM = f"SELECT {_COLUMNS} FROM records r JOIN scopes s ON s.n = r.scope"  # noqa: S608  # of our own texts


class MemoryUnusable(AgentError):
    """The memory at `path` cannot be used."""

    def __init__(self, path: Path | str, reason: str, hint: str = "") -> None:
        super().__init__(f"the memory {path} cannot be used: {reason}")
        self.path, self.reason = str(path), reason
        self.hint = hint


class MemoryFull(AgentError):
    """The store holds as many records as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the memory is full: it holds {most:,} records")
        self.hint = "`orchestrator memory forget` takes records out; `memory: {ttl: 90d}` lets new ones expire"


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

    def __init__(self, connection: sqlite3.Connection, path: str, most: int = MOST_RECORDS) -> None:
        self._db = connection
        self._lock = threading.Lock()
        self.path = path
        self.most = most

    @classmethod
    def open(cls, path: Path | str | None = None, *, most: int = MOST_RECORDS) -> Self:
        """Return the store at `path`, made where there is none. None: it is kept in memory, and gone when closed."""
        place = ":memory:" if path is None else str(path)
        with _told(place):
            if path is not None:
                make_private_folder(Path(path).parent)
                make_private_file(Path(path))
                for end in ("", "-wal", "-shm"):
                    tighten(Path(f"{path}{end}"))
            connection = sqlite3.connect(place, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                _prepare(connection, place)
            except BaseException:
                connection.close()
                raise
        return cls(connection, place, most)

    def close(self) -> None:
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
            _purge(db, now)
            # The index takes rows of one transaction quickest in the order of their numbers.
            kept = [_put(db, record) for record in sorted(records, key=lambda record: record.scope)]
            if any(is_new for _, is_new in kept):
                [(size,)] = db.execute("SELECT count(*) FROM records")
                if size > self.most:
                    raise MemoryFull(self.most)
            return kept

    def search(self, text: str, scopes: Sequence[str], now: float, limit: int = 5) -> list[FoundRecord]:
        """Return the records of these scopes that share words with `text`, the best first (bm25).

        Any text may be asked, and none is syntax. At most `MOST_FOUND`.
        """
        query = asked(text)
        limit = min(limit, MOST_FOUND)
        if not query or not scopes or limit < 1:
            return []
        with self._reading() as db:
            match = any_of(_chosen(db, query))
            found = [one for n in _numbers(db, scopes) for one in _matching(db, match, n, now, limit)] if match else []
            return sorted(found, key=lambda one: -one.score)[:limit]

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
        with self._lock, _told(self.path):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                with suppress(sqlite3.Error):
                    self._db.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _told(self.path), _transaction(self._db):
            yield self._db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some failures have rolled back already
            db.execute("ROLLBACK")
        raise


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Raise what SQLite and the disk say as `MemoryUnusable`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        busy = "locked" in str(error) or "busy" in str(error)
        hint = "another process is writing; try again" if busy else ""
        raise MemoryUnusable(path, str(error), hint) from error
    except sqlite3.DatabaseError as error:
        hint = "move the file away, and its -wal and -shm with it, to begin anew"
        raise MemoryUnusable(path, str(error), hint) from error
    except OSError as error:
        raise MemoryUnusable(path, error.strerror or str(error)) from error


def _prepare(db: sqlite3.Connection, path: str) -> None:
    """Make the tables where there are none. Raise `MemoryUnusable` for a file of another program or later release."""
    with _transaction(db):
        [(application,)] = db.execute("PRAGMA application_id")
        [(schema,)] = db.execute("PRAGMA user_version")
        [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master")
        if not tables:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA}")
            _script(db, _TABLES)
        elif application != APPLICATION_ID:
            raise MemoryUnusable(path, "it is a database of another program", "give another file")
        elif schema > SCHEMA:
            raise MemoryUnusable(path, "a later release wrote it", "upgrade, or give another file")
        if list(db.execute("SELECT version FROM index_version")) != [(INDEX,)]:
            _make_index(db)


def _script(db: sqlite3.Connection, statements: str) -> None:
    """Run statements inside the open transaction: `executescript` would end it."""
    for statement in filter(str.strip, statements.split(";\n")):
        db.execute(statement)


def _make_index(db: sqlite3.Connection) -> None:
    for table in ("likeness", "vocabulary", "counts", "words"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    _script(db, _INDEX)
    for n, text in list(db.execute("SELECT n, text FROM records ORDER BY n")):
        _index(db, n, text)
    db.execute("DELETE FROM index_version")
    db.execute("INSERT INTO index_version VALUES (?)", (INDEX,))


def _index(db: sqlite3.Connection, n: int, text: str) -> None:
    found = terms(text)
    db.execute("INSERT INTO words (rowid, terms) VALUES (?, ?)", (n, " ".join(found)))
    for term in set(found):
        if not db.execute("UPDATE vocabulary SET records = records + 1 WHERE term = ?", (term,)).rowcount:
            added = db.execute("INSERT INTO vocabulary (term, records) VALUES (?, 1)", (term,))
            db.execute("INSERT INTO likeness (rowid, term) VALUES (?, ?)", (added.lastrowid, term))


def _put(db: sqlite3.Connection, record: MemoryRecord) -> tuple[MemoryRecord, bool]:
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
    _index(db, n, kept.text)
    return kept, True


def _purge(db: sqlite3.Connection, now: float) -> None:
    _delete(db, [n for (n,) in db.execute("SELECT n FROM records WHERE expires <= ?", (now,))])


def _delete(db: sqlite3.Connection, numbers: Sequence[int]) -> None:
    for n in numbers:
        [(text,)] = db.execute("SELECT text FROM records WHERE n = ?", (n,))
        gone = terms(text)
        db.execute("INSERT INTO words (words, rowid, terms) VALUES ('delete', ?, ?)", (n, " ".join(gone)))
        db.executemany("UPDATE vocabulary SET records = records - 1 WHERE term = ?", [(term,) for term in set(gone)])
        db.execute("DELETE FROM records WHERE n = ?", (n,))


def _numbers(db: sqlite3.Connection, scopes: Sequence[str]) -> list[int]:
    return [n for name in scopes for (n,) in db.execute("SELECT n FROM scopes WHERE name = ?", (name,))]


def _matching(db: sqlite3.Connection, match: str, scope: int, now: float, limit: int) -> list[FoundRecord]:
    rows = db.execute(
        f"SELECT {_COLUMNS}, -w.rank FROM words w JOIN records r ON r.n = w.rowid JOIN scopes s ON s.n = r.scope "  # noqa: S608  # of our own texts
        "WHERE words MATCH ? AND w.rowid BETWEEN ? AND ? AND (r.expires IS NULL OR r.expires > ?) "
        "ORDER BY w.rank LIMIT ?",
        (match, scope << SCOPE_BITS, (scope << SCOPE_BITS) + LAST_OF_SCOPE, now, limit),
    )
    return [FoundRecord(_record(row[:-1]), row[-1]) for row in rows]


def _chosen(db: sqlite3.Connection, query: Sequence[str]) -> list[str]:
    """Return the rarest terms of the query, and for each that stands nowhere the terms that are most like it."""
    count = _counter(db)
    known, unknown = rarest(query, count)
    likely = [near for term in unknown if len(term) > 3 for near in _near(db, term)]
    if not likely:
        return known
    return rarest(dict.fromkeys((*known, *likely)), count)[0]


def _counter(db: sqlite3.Connection) -> Callable[[str], int]:
    def count(term: str) -> int:
        """Return in how many records a term stands."""
        found = db.execute("SELECT records FROM vocabulary WHERE term = ?", (term,)).fetchone()
        return found[0] if found else 0

    return count


NEAR_ROWS = 200


def _near(db: sqlite3.Connection, term: str) -> list[str]:
    """Return the stored terms that `term` is part of, or is spelled much like."""
    sql = "SELECT term FROM likeness WHERE likeness MATCH ? LIMIT ?"
    found = [one for (one,) in db.execute(sql, (quoted(term), NEAR_ROWS))]
    if not found:
        sql = "SELECT term FROM likeness WHERE likeness MATCH ? ORDER BY rank LIMIT ?"
        found = [one for (one,) in db.execute(sql, (any_of(trigrams(term)), NEAR_ROWS))]
    return alike(term, found)


def _record(row: Sequence[Any]) -> MemoryRecord:
    id_, text, scope, trust, created, origin, agent, run, unit, expires, tags = row
    checked: RecordTrust = trust if trust in ("user", "agent") else "untrusted"
    source = RecordSource(origin, agent, run, unit)
    return MemoryRecord(id_, text, scope, checked, created, source, expires, tuple(json.loads(tags)))
