"""Texts found by their terms: an index of FTS5 in a database of ours, under the numbers of the rows they stand in.

FTS5 splits our terms (`query.py`) at blanks and does nothing else to them. `vocabulary` counts in how many texts each
term stands, so that the rarest terms of a query are known at once; its index of trigrams leads from a part of a word,
or a misspelled one, to the words that there are. All of it follows from the texts.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from agents.memory.database import script
from agents.memory.query import alike, any_of, asked, quoted, rarest, terms, trigrams

VERSION = 1
"""Of the terms: where they change, each index is made anew when its file is opened."""
NEAR_ROWS = 200
"""Stored terms that are looked at for one that stands nowhere."""
_TABLES = """
CREATE VIRTUAL TABLE words USING fts5(terms, content='', tokenize='ascii');
CREATE TABLE vocabulary (n INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE, texts INTEGER NOT NULL);
CREATE VIRTUAL TABLE likeness USING fts5(term, content='vocabulary', content_rowid='n', tokenize='trigram');
"""
_COUNTED = """
INSERT INTO vocabulary (term, texts) VALUES (?, ?) ON CONFLICT (term) DO UPDATE SET texts = texts + excluded.texts
RETURNING n, texts
"""


def make_anew(db: sqlite3.Connection, texts: str) -> None:
    """Make the index of all texts, which the query `texts` gives with their numbers, in the order of these."""
    for table in ("likeness", "vocabulary", "words"):
        db.execute(f"DROP TABLE IF EXISTS {table}")
    script(db, _TABLES)
    add(db, list(db.execute(texts)))


def add(db: sqlite3.Connection, texts: Iterable[tuple[int, str]]) -> None:
    """Index texts under their numbers, which ascend and are new."""
    counted: Counter[str] = Counter()
    for n, text in texts:
        found = terms(text)
        db.execute("INSERT INTO words (rowid, terms) VALUES (?, ?)", (n, " ".join(found)))
        counted.update(set(found))
    for term, count in sorted(counted.items()):
        [(number, texts_now)] = db.execute(_COUNTED, (term, count))
        if texts_now == count:
            _now_likely(db, number, term)


def _now_likely(db: sqlite3.Connection, number: int, term: str) -> None:
    """Let a term be found by its likeness; one that had left and comes back is there already."""
    if not db.execute("SELECT 1 FROM likeness WHERE rowid = ? AND likeness MATCH ?", (number, quoted(term))).fetchone():
        db.execute("INSERT INTO likeness (rowid, term) VALUES (?, ?)", (number, term))


def remove(db: sqlite3.Connection, n: int, text: str) -> None:
    """Take a text out, which must be the one that was added under this number."""
    gone = terms(text)
    db.execute("INSERT INTO words (words, rowid, terms) VALUES ('delete', ?, ?)", (n, " ".join(gone)))
    db.executemany("UPDATE vocabulary SET texts = texts - 1 WHERE term = ?", [(term,) for term in set(gone)])


def match_for(db: sqlite3.Connection, text: str) -> str:
    """Return the expression that finds `text`: its rarest terms, and for each that stands nowhere those like it.

    Empty: nothing has any of them. Whatever is asked, it is no syntax.
    """
    count = _counter(db)
    known, unknown = rarest(asked(text), count)
    likely = [near for term in unknown if len(term) > 3 for near in _near(db, term)]
    if likely:
        known = rarest(dict.fromkeys((*known, *likely)), count)[0]
    return any_of(known)


def matching(db: sqlite3.Connection, match: str, first: int, last: int) -> Iterator[tuple[int, float]]:
    """Yield (number, score) of the texts numbered `first` to `last`, the best first, by bm25: the higher the better."""
    sql = "SELECT rowid, -rank FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rank"
    yield from db.execute(sql, (match, first, last))


def _counter(db: sqlite3.Connection) -> Callable[[str], int]:
    def count(term: str) -> int:
        """Return in how many texts a term stands."""
        found = db.execute("SELECT texts FROM vocabulary WHERE term = ?", (term,)).fetchone()
        return found[0] if found else 0

    return count


def _near(db: sqlite3.Connection, term: str) -> Sequence[str]:
    """Return the stored terms that `term` is part of, or is spelled much like."""
    sql = "SELECT term FROM likeness WHERE likeness MATCH ? LIMIT ?"
    found = [one for (one,) in db.execute(sql, (quoted(term), NEAR_ROWS))]
    if not found:
        sql = "SELECT term FROM likeness WHERE likeness MATCH ? ORDER BY rank LIMIT ?"
        found = [one for (one,) in db.execute(sql, (any_of(trigrams(term)), NEAR_ROWS))]
    return alike(term, found)
