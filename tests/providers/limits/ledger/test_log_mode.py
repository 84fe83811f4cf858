"""Several processes that make one SQLite file at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from providers.limits.ledger.log_mode import use_log


def test_the_log_is_used_as_soon_as_no_other_process_sets_up_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db,
    ):
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_log(db, -1)
        use_log(db, 60, pause=lambda _: other.execute("COMMIT") and None)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
