"""A folder of texts, indexed as far as it changed, and searched by words: what is found is cited by file and lines.

The index is a SQLite file of its own, made of the files alone: it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from agents.errors import AgentError
from agents.memory import term_index
from agents.memory.chunks import CHUNK_CHARS, MARKDOWN, Chunk, chunks
from agents.memory.database import Layout, connect, told, transaction
from agents.memory.folder import FolderFile, KnowledgeFolder, UnreadFile, read_text, walk
from providers.documents.secrets import hidden, without_private_keys

MOST_CHUNKS = 500_000
MOST_FOUND = 50
APPLICATION_ID = 0x53714B6E  # "SqKn"
SCHEMA = 1
READING = 2
"""How files are read: where it changes, all are read again."""
RACE_NS = 2_000_000_000
ALL = (1 << 62) - 1
_PIECE = re.compile(r"(?s).{1,4000}(?=[\s\"',;]|\Z)|.{1,4000}")
"""A part of a line that is looked at for keys at once, cut where none goes on: a line may be the whole file."""
_TABLES = """
CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, sha256 BLOB NOT NULL,
    settings TEXT NOT NULL);
CREATE TABLE chunks (n INTEGER PRIMARY KEY, path TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    heading TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX chunks_by_path ON chunks (path);
"""


class FoundChunk(NamedTuple):
    """A part of a file that was searched for. Only scores of one index compare."""

    path: str
    chunk: Chunk
    score: float

    @property
    def citation(self) -> str:
        """Where it stands: `handbook/limits.md:12-30`."""
        first, last = self.chunk.first, self.chunk.last
        return f"{self.path}:{first}" if first == last else f"{self.path}:{first}-{last}"


@dataclass(frozen=True, slots=True)
class Indexed:
    """What an index holds, and what was done to bring it up to date. `unread` are files that it cannot hold."""

    files: int
    chunks: int
    changed: int
    gone: int
    unread: tuple[UnreadFile, ...] = ()


class KnowledgeIndex:
    """One folder's index, in the file `path` or in this process alone. Methods block; call them in a thread.

    Several processes may bring one index up to date at once: each file is replaced in one transaction.
    """

    def __init__(self, db: sqlite3.Connection, path: str, folder: KnowledgeFolder) -> None:
        self._db = db
        self._lock = threading.Lock()
        self.path, self.folder = path, folder

    @classmethod
    def open(cls, folder: KnowledgeFolder, path: Path | None = None) -> Self:
        """Return the index of a folder. Raise `MemoryUnusable`."""
        return cls(connect(path, LAYOUT), ":memory:" if path is None else str(path), folder)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def update(self, is_over: Callable[[], bool] = lambda: False) -> Indexed:
        """Bring the index up to date with the folder, a file at a time; `is_over` is asked between files.

        A file whose size and time are as they were is not read. Raise `OSError` or `AgentError` where the folder cannot
        be read, `MemoryUnusable` where the index cannot be written.
        """
        with self._lock, told(self.path):
            known = {row[0]: row[1:] for row in self._db.execute("SELECT path, size, changed, settings FROM files")}
        settings = json.dumps([self.folder.most_chars, READING])
        # A file that was changed just now may be changed once more within the same tick of the disk's clock.
        just_now = time.time_ns() - RACE_NS
        seen: set[str] = set()
        unread: list[UnreadFile] = []
        changed = 0
        for found in walk(self.folder):
            if is_over():
                break
            if isinstance(found, UnreadFile):
                unread.append(found)
                continue
            seen.add(found.path)
            if known.get(found.path) == (found.size, found.changed, settings):
                continue
            if (why := self._take(found, settings, is_sure=found.changed < just_now)) is None:
                changed += 1
            else:
                unread.append(UnreadFile(found.path, why))
                seen.discard(found.path)
        else:
            return self._without(known.keys() - seen, changed, unread)
        return self._without((), changed, unread)

    def search(self, text: str, limit: int = 5) -> list[FoundChunk]:
        """Return the chunks that share words with `text`, the best first. Any text may be asked, none is syntax."""
        sql = "SELECT path, first, last, heading, text FROM chunks WHERE n = ?"
        limit = min(limit, MOST_FOUND)
        if limit < 1:
            return []
        with self._lock, told(self.path), transaction(self._db, "BEGIN"):
            match = term_index.match_for(self._db, text)
            best: list[FoundChunk] = []
            for n, score in term_index.matching(self._db, match, 0, ALL) if match else ():
                path, *chunk = self._db.execute(sql, (n,)).fetchone()
                best.append(FoundChunk(path, Chunk(*chunk), score))
                if len(best) == limit:
                    break
            return best

    def _take(self, file: FolderFile, settings: str, *, is_sure: bool) -> str | None:
        """Put a file into the index, in place of what was there of it. Return why it cannot be."""
        try:
            text, data = read_text(self.folder, file.path)
        except (OSError, AgentError, ValueError) as error:
            return str(error)
        sha256 = hashlib.sha256(data).digest()
        made = _chunks_of(file.path, text, self.folder.most_chars)
        about = (file.size, file.changed if is_sure else -1, sha256, settings)
        with self._lock, told(self.path), transaction(self._db):
            db = self._db
            there = db.execute("SELECT sha256, settings FROM files WHERE path = ?", (file.path,)).fetchone()
            if there != (sha256, settings):
                _drop(db, file.path)
                [(size, last)] = db.execute("SELECT count(*), max(n) FROM chunks")
                if size + len(made) > MOST_CHUNKS:
                    return f"the index is full: it holds {MOST_CHUNKS:,} chunks"
                rows = [(n, file.path, *chunk) for n, chunk in enumerate(made, (last or 0) + 1)]
                db.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)", rows)
                term_index.add(db, [(n, _searched(path, heading, text)) for n, path, _, _, heading, text in rows])
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (file.path, *about))
        return None

    def _without(self, gone: Iterable[str], changed: int, unread: list[UnreadFile]) -> Indexed:
        paths = list(gone)
        with self._lock, told(self.path), transaction(self._db):
            for path in paths:
                _drop(self._db, path)
            [(files,)] = self._db.execute("SELECT count(*) FROM files")
            [(held,)] = self._db.execute("SELECT count(*) FROM chunks")
        return Indexed(files, held, changed, len(paths), tuple(unread))


def _chunks_of(path: str, text: str, most_chars: int | None) -> list[Chunk]:
    has_headings = path.lower().endswith(MARKDOWN)
    made = chunks(_masked(text), has_headings=has_headings, most_chars=most_chars or CHUNK_CHARS)
    return [chunk._replace(text=hidden(chunk.text, guess=False)) for chunk in made]


def _masked(text: str) -> str:
    """Return a file's text without keys, its lines where they were: what is cut later would be no key's shape."""
    lines = without_private_keys(text).splitlines(keepends=True)
    return "".join(hidden(piece, guess=False) for line in lines for piece in _PIECE.findall(line))


def _searched(path: str, heading: str, text: str) -> str:
    """Return all by which a chunk is found: its text, its headings, and the name of its file."""
    return f"{path}\n{heading}\n{text}"


def _drop(db: sqlite3.Connection, path: str) -> None:
    for n, heading, text in list(db.execute("SELECT n, heading, text FROM chunks WHERE path = ?", (path,))):
        term_index.remove(db, n, _searched(path, heading, text))
    db.execute("DELETE FROM chunks WHERE path = ?", (path,))
    db.execute("DELETE FROM files WHERE path = ?", (path,))


def _make_index(db: sqlite3.Connection) -> None:
    term_index.make_anew(db, "SELECT n, path || char(10) || heading || char(10) || text FROM chunks ORDER BY n")


LAYOUT = Layout(APPLICATION_ID, SCHEMA, _TABLES, term_index.VERSION, _make_index)


def index_file(folder: KnowledgeFolder, state: Path) -> Path:
    """Return where the index of a folder is kept: folders that differ, or are read otherwise, have their own."""
    told_apart = json.dumps([str(folder.beside.resolve()), folder.path, folder.include, folder.most_chars])
    return state / f"knowledge-{hashlib.sha256(told_apart.encode('utf-8', 'replace')).hexdigest()[:12]}.db"
