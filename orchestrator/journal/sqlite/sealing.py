"""How a value stands in a row: its record, and a checksum of it and of what stands beside it."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from orchestrator.journal.codec import Unreadable, unpack
from orchestrator.journal.protocols import JournalDamaged
from orchestrator.journal.sqlite.bodies import body_in


def seal(data: bytes, *beside: Any) -> int:
    """Return the checksum of a record and of the values `beside` it in its row."""
    return zlib.crc32(data, zlib.crc32(repr(beside).encode("utf-8", "surrogatepass")))


def unpacked(db: sqlite3.Connection, sealed: Sequence[Any], *beside: Any) -> Any:
    """Return the value of (data, seal), which was sealed with the values `beside` it. Raise `JournalDamaged`."""
    return _value(db, _record(sealed, beside))


class Unpacking:
    """Unpacks many records, of which those that are alike share one value: a run's events repeat themselves."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._values: dict[bytes, Any] = {}

    def value(self, sealed: Sequence[Any], *beside: Any) -> Any:
        """Return what `unpacked` does. It must not be changed."""
        data = _record(sealed, beside)
        if data not in self._values:
            self._values[data] = _value(self._db, data)
        return self._values[data]


def _record(sealed: Sequence[Any], beside: tuple[Any, ...]) -> bytes:
    data, found = sealed
    if not isinstance(data, bytes) or seal(data, *beside) != found:
        raise JournalDamaged("a record is not what was written")
    return data


def _value(db: sqlite3.Connection, data: bytes) -> Any:
    try:
        return unpack(data, partial(body_in, db))
    except Unreadable as error:
        raise JournalDamaged(str(error)) from error
