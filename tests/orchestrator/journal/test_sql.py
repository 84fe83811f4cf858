"""The SQL of the journal on every Python."""

from __future__ import annotations

import re
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

import orchestrator.journal.sqlite as package
from orchestrator.journal.sqlite.sql import Rows

FILES = sorted(Path(package.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_numbered_placeholders_which_python_3_14_refuses_are_not_used(file: Path) -> None:
    assert re.findall(r"\?\d", file.read_text("utf-8")) == []


def test_texts_are_compressed_before_their_transaction_begins() -> None:
    rows, text = Rows(), b"what was made ready"
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE bodies (digest BLOB PRIMARY KEY, body BLOB)")
        rows.make_ready([{b"1": text}, {}])
        rows.keep(db, {b"1": b"compressed anew", b"2": b"not known before"})
        stored = dict(db.execute("SELECT digest, body FROM bodies"))
    assert {digest: zlib.decompress(body) for digest, body in stored.items()} == {b"1": text, b"2": b"not known before"}
