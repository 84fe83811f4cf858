"""Stored texts, and how far they may be blown up again: a file from elsewhere can hold gigabytes in a few kilobytes."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from contextlib import suppress

from orchestrator.journal.protocols import JournalDamaged, JournalUnusable
from orchestrator.journal.records import inflated

MOST_AT_ONCE, MOST_TIMES = 256 * 1024 * 1024, 40
"""Bytes of all texts that are read at once: so many, or so many times the size of a large file, each time counted that
a text is referred to. Records of runs come to ten times at most."""


class JournalConnection(sqlite3.Connection):
    """A connection that counts the bytes of the texts that were read through it."""

    inflated = 0

    def count(self, size: int) -> None:
        """Note that a text was read. Raise `JournalUnusable` where all of them are too large."""
        self.inflated += size
        if self.inflated > MOST_AT_ONCE:
            (pages,), (page,) = (self.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
            if self.inflated > MOST_TIMES * pages * page:
                raise JournalUnusable(
                    f"its texts come to more than {self.inflated // 1_000_000} MB, "
                    f"more than {MOST_TIMES} times the file: no run makes such a record"
                )


def body_in(db: sqlite3.Connection, digest: bytes) -> bytes:
    """Return the text of a SHA-256. Raise `JournalDamaged`, and `JournalUnusable` for one that is too large."""
    row = db.execute("SELECT body FROM bodies WHERE digest = ?", (digest,)).fetchone()
    if row is not None and isinstance(row[0], bytes):
        with suppress(zlib.error):
            body = inflated(row[0])
            if hashlib.sha256(body).digest() == digest:
                if isinstance(db, JournalConnection):
                    db.count(len(body))
                return body
    raise JournalDamaged("a text is not what was written")
