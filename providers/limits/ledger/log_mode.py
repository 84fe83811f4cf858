"""Setting the mode of a SQLite file in which readers and a writer keep nobody waiting."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

PAUSE_S = 0.02


def use_log(db: sqlite3.Connection, busy_s: float, pause: Callable[[float], None] = time.sleep) -> None:
    """Set WAL mode, and wait up to `busy_s` where another process is setting it for the same new file: SQLite itself
    does not. Raise `sqlite3.OperationalError` where it stays busy."""
    end = time.monotonic() + busy_s
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            pause(PAUSE_S)
        else:
            return
