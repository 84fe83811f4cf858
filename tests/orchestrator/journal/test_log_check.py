"""A damaged log is told from one whose end a crash cut off."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.journal.protocols import JournalDamaged, JournalUnusable, RunManifest
from orchestrator.journal.sqlite.file import JournalFile
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.log_check import FRAME, HEADER, damage_of, log_damage, read_index

COMMITS, PAGE = 12, 4096


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes]:
    """The file, log and index of a process that was killed after a dozen commits in the log's second generation."""
    file = tmp_path_factory.mktemp("log") / "db"
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (x)")
        for number in range(3 * COMMITS):
            db.execute("INSERT INTO t VALUES (?)", (f"{number} " * 500,))
        db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        for number in range(COMMITS):
            db.execute("INSERT INTO t VALUES (?)", (f"{number} " * 500,))
        return file.read_bytes(), Path(f"{file}-wal").read_bytes(), Path(f"{file}-shm").read_bytes()


def ends(log: bytes) -> list[int]:
    """Return where each commit of the log's own generation ends."""
    return [
        place + FRAME + PAGE
        for place in range(HEADER, len(log), FRAME + PAGE)
        if log[place + 8 : place + 16] == log[16:24] and any(log[place + 4 : place + 8])
    ]


def test_a_whole_log_is_whole(kept: tuple[bytes, bytes, bytes]) -> None:
    _, log, index = kept
    assert len(ends(log)) == COMMITS
    assert len(log) > ends(log)[-1], "frames of the earlier generation follow"
    for known in (None, read_index(index)):
        assert log_damage(log, known) is None
        assert log_damage(b"", known) is None


def test_a_log_that_is_cut_off_anywhere_has_lost_nothing_that_was_promised(kept: tuple[bytes, bytes, bytes]) -> None:
    _, log, _ = kept
    dice = random.Random(1)
    for _ in range(40):
        assert log_damage(log[: dice.randrange(len(log))], None) is None


def test_the_last_commit_may_be_torn(kept: tuple[bytes, bytes, bytes]) -> None:
    _, log, _ = kept
    before, last = ends(log)[-2:]
    dice = random.Random(1)
    for _ in range(20):
        torn = bytearray(log)
        torn[dice.randrange(before, last)] ^= 1 << dice.randrange(8)
        assert log_damage(bytes(torn), None) is None


def test_any_other_bit_is_damage(kept: tuple[bytes, bytes, bytes]) -> None:
    _, log, index = kept
    dice = random.Random(1)
    for end, known in ((ends(log)[-3], None), (ends(log)[-1], read_index(index))):
        for _ in range(30):
            place = dice.choice([dice.randrange(HEADER), dice.randrange(HEADER, end)])
            damaged = bytearray(log)
            damaged[place] ^= 1 << dice.randrange(8)
            assert log_damage(bytes(damaged), known) is not None, place


def test_an_index_that_counts_more_than_there_is_tells_of_a_cut(kept: tuple[bytes, bytes, bytes]) -> None:
    _, log, index = kept
    known = read_index(index)
    assert known is not None
    assert log_damage(log[: ends(log)[3]], known) is not None
    assert log_damage(log[:HEADER], known) is not None
    assert log_damage(log, known._replace(salts=b"another!", frames=99)) is None, "of another generation"
    assert read_index(index[:48] + b"x" + index[49:]) is None, "it was being written"


@pytest.mark.anyio
async def test_a_damaged_log_is_said_and_kept_and_not_repaired_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    async with SqliteJournal(tmp_path / "origin.db") as journal:
        for number in range(5):
            await journal.create(f"r{number}", RunManifest("pair"))
        for part in ("", "-wal"):
            Path(f"{file}{part}").write_bytes(Path(f"{tmp_path / 'origin.db'}{part}").read_bytes())
    log = Path(f"{file}-wal")
    flipped = bytearray(log.read_bytes())
    flipped[len(flipped) - 3 * (FRAME + PAGE) - 5] ^= 1
    log.write_bytes(flipped)
    assert damage_of(file) is not None
    for is_lazy in (True, False, True):
        with pytest.raises(JournalDamaged, match=r"damaged \(commits in its log .*A copy is kept as"):
            async with SqliteJournal(file, is_lazy=is_lazy) as journal:
                await journal.runs()
    assert log.read_bytes() == flipped
    assert Path(f"{file}.damaged-wal").read_bytes() == flipped


TRY_TO_WRITE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
try:
    db.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


def is_locked_for_others(file: Path) -> bool:
    other = subprocess.run([sys.executable, "-c", TRY_TO_WRITE, str(file)], capture_output=True, check=True)
    return b"locked" in other.stdout


@pytest.mark.anyio
async def test_a_second_look_ends_no_lock_of_this_process(tmp_path: Path) -> None:
    """Not while it is in the middle of a write: two writers at once would spoil the file."""
    file = tmp_path / "journal.db"
    async with SqliteJournal(file) as journal:
        await journal.create("r", RunManifest("pair"))
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            async with SqliteJournal(file, is_lazy=True) as second:
                assert [line.run for line in await second.runs()] == ["r"]
            assert is_locked_for_others(file)


@pytest.mark.anyio
async def test_a_copy_of_what_is_damaged_ends_no_lock_of_this_process(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    async with SqliteJournal(file) as journal:
        await journal.create("r", RunManifest("pair"))
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN IMMEDIATE")
        assert "A copy is kept as" in str(JournalFile(file).explain(JournalDamaged("a row is gone")))
        assert is_locked_for_others(file)
    assert Path(f"{file}.damaged").read_bytes()[:15] == b"SQLite format 3"


@pytest.mark.long
@pytest.mark.anyio
async def test_what_this_process_has_open_is_not_copied(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    async with SqliteJournal(file) as journal:
        await journal.create("r", RunManifest("pair"))
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN IMMEDIATE")
        async with SqliteJournal(file, is_lazy=True) as second:
            with pytest.raises(JournalUnusable, match="locked"):
                await second.runs()
        assert is_locked_for_others(file)
