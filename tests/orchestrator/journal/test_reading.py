"""Who may read a journal, and when: beside a writer that is stopped, in folders where nothing may be written."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from orchestrator.events import Event, TaskEnded
from orchestrator.journal import records
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import JournalBusy, JournalDamaged, JournalUnusable, RunBusy, RunManifest
from orchestrator.journal.sqlite import bodies
from orchestrator.journal.sqlite.holder import holder_of
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.journal.sqlite.sealing import seal
from orchestrator.units import Unit
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
posix = pytest.mark.skipif(os.name == "nt", reason="modes and signals are those of POSIX")
EVENTS = [Event("r", Unit("a"), (), 0, n, 1.5, TaskEnded("a", "ok", {"text": f"answer {n} " * 50})) for n in range(8)]


async def written(file: Path, count: int = 3) -> Path:
    async with SqliteJournal(file) as journal:
        await journal.create("r", RunManifest("pair"), EVENTS[:count])
    return file


async def told(file: Path) -> tuple[list[str], int]:
    """Return what a command that only reads is told: the runs, and how many events the run has."""
    async with open_journal(file, create=False) as journal:
        await journal.manifest("r")
        assert not await journal.is_driven("r")
        return [line.run for line in await journal.runs()], len(await journal.events("r"))


HOLD = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE runs SET status = 'running'")
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def held(file: Path, *, is_stopped: bool) -> Iterator[int]:
    """Have a process in the middle of a write transaction, and yield its id."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        if is_stopped:
            os.kill(process.pid, signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
        yield process.pid
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


@posix
async def test_readers_need_no_writer_and_another_writer_is_told_who_holds_it(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    with held(file, is_stopped=True) as pid:
        began = time.monotonic()
        assert await told(file) == (["r"], 3)
        async with open_journal(file, create=False) as journal:
            if holder_of(file) is None:
                pytest.skip("this system does not tell who holds a lock: /proc/locks is needed")
            with pytest.raises(JournalBusy, match=f"process {pid}, which is stopped") as caught:
                await journal.request_cancel("r")
        assert f"kill -CONT {pid}" in caught.value.hint
        with pytest.raises(JournalBusy, match=str(pid)):
            SqliteJournal(file)
        assert time.monotonic() - began < 20, "it says so at once, not when all patience is over"
    assert await told(file) == (["r"], 3)


@contextmanager
def folder_of_all() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o700)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user whom folders' modes hold: root's own are not held by any."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def left_by_a_kill(file: Path, *parts: str) -> None:
    """Make the file what a killed process leaves: with its log, and with these parts of `-wal` and `-shm`."""
    origin = file.with_name("origin.db")
    shutil.copyfile(file, origin)
    with closing(sqlite3.connect(origin, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("UPDATE runs SET status = 'done'")
        for part in ("", *parts):
            shutil.copyfile(f"{origin}{part}", f"{file}{part}")
    for part in ("", "-wal", "-shm"):
        Path(f"{origin}{part}").unlink(missing_ok=True)


@posix
@pytest.mark.parametrize("parts", [(), ("-wal",), ("-wal", "-shm")])
async def test_what_may_only_be_read_is_read(parts: tuple[str, ...]) -> None:
    with folder_of_all() as folder:
        file = await written(folder / "journal.db")
        if parts:
            left_by_a_kill(file, *parts)
        for part in folder.iterdir():
            part.chmod(0o444)
        folder.chmod(0o555)
        before = sorted(path.name for path in folder.iterdir())
        with as_nobody():
            assert await told(file) == (["r"], 3)
            async with open_journal(file, create=False) as journal:
                assert [line.status for line in await journal.runs()] == ["done" if parts else "running"]
                with pytest.raises(JournalUnusable, match=r"journal\.db"):
                    await journal.request_cancel("r")
        assert sorted(path.name for path in folder.iterdir()) == before


@posix
@pytest.mark.parametrize("is_folder", [False, True])
async def test_what_may_not_be_read_is_said(*, is_folder: bool) -> None:
    with folder_of_all() as folder:
        file = await written(folder / "journal.db")
        (folder if is_folder else file).chmod(0o700 if os.geteuid() == 0 else 0)
        with as_nobody(), pytest.raises(JournalUnusable, match=r"journal\.db cannot be used: "):
            await told(file)


@posix
async def test_a_link_to_a_journal_is_that_journal(tmp_path: Path) -> None:
    file, link = await written(tmp_path / "real" / "journal.db"), tmp_path / "journal.db"
    link.symlink_to(file)
    left_by_a_kill(file, "-wal")
    file.chmod(0o644)
    async with open_journal(file) as journal, open_journal(link) as second:
        assert [line.status for line in await second.runs()] == ["done"]
        async with journal.driving("r"):
            assert await second.is_driven("r")
            with pytest.raises(RunBusy):
                async with second.driving("r"):
                    pass
    async with open_journal(link, create=False) as second:
        log = Path(f"{file}-wal")
        log.write_bytes(b"x" * 5000)
        with pytest.raises(JournalDamaged):
            await second.runs()
    assert mode_of(file) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path != file.parent] == ["journal.db"]


async def test_an_earlier_schema_is_read_as_it_is(tmp_path: Path) -> None:
    sample = Path(__file__).parents[1] / "samples" / "journal-1.db"
    file = shutil.copyfile(sample, tmp_path / "journal.db")
    async with open_journal(file, create=False) as journal:
        for line in await journal.runs():
            assert await journal.manifests(line.run)
            await journal.events(line.run)
    assert file.read_bytes() == sample.read_bytes(), "who reads changes nothing"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE VIEW v AS SELECT 1", "view 'v'"),
        ("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM runs; END", "trigger 't'"),
        ("CREATE TABLE more (x)", "table 'more'"),
        ("CREATE VIRTUAL TABLE f USING fts5(x)", "table 'f"),
        ("ALTER TABLE runs ADD COLUMN x GENERATED ALWAYS AS (1)", "table 'runs'"),
        ("DROP TABLE bodies", "table 'bodies'"),
        ("DROP TABLE runs; CREATE VIEW runs AS SELECT 1 AS id, 'r' AS run", "'runs'"),
    ],
)
async def test_what_is_more_than_a_journal_is_refused(tmp_path: Path, statement: str, name: str) -> None:
    file = await written(tmp_path / "journal.db")
    with closing(sqlite3.connect(file)) as db:
        try:
            db.executescript(statement)
        except sqlite3.OperationalError as error:
            pytest.skip(f"this SQLite makes none: {error}")
    with pytest.raises(JournalUnusable, match="not those of a journal.*" + name):
        await told(file)
    with pytest.raises(JournalUnusable, match="not those of a journal"):
        SqliteJournal(file)


@pytest.mark.long
async def test_a_text_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    body = zlib.compress(b"a" * (records.LARGEST + 1))
    put(file, [(b"d" * 32, body)], b'{"$s":"%s"}' % (b"d" * 32).hex().encode())
    with pytest.raises(JournalUnusable, match="larger than 64 MiB"):
        await told(file)


async def test_what_is_read_at_once_is_counted() -> None:
    with closing(bodies.JournalConnection(":memory:")) as db:
        db.count(bodies.MOST_AT_ONCE)
        with pytest.raises(JournalUnusable, match="times the file"):
            db.count(1)
    with pytest.raises(zlib.error):
        records.inflated(zlib.compress(b"abc" * 100)[:-3])
    assert records.inflated(zlib.compress(b"abc")) == b"abc"


@pytest.mark.long
async def test_many_references_to_one_text_are_refused(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    text = b"a" * 30_000_000
    digest = sha256(text).digest()
    put(file, [(digest, zlib.compress(text))], b"[%s]" % b",".join([b'{"$s":"%s"}' % digest.hex().encode()] * 20))
    with pytest.raises(JournalUnusable, match="times the file"):
        await told(file)


async def test_records_inside_records_are_none(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    inner = b"[1]"
    outer = b'[{"$j":"%s"}]' % sha256(inner).hexdigest().encode()
    texts = [(sha256(body).digest(), zlib.compress(body)) for body in (inner, outer)]
    put(file, texts, b'{"$j":"%s"}' % sha256(outer).hexdigest().encode())
    with pytest.raises(JournalDamaged):
        await told(file)


def put(file: Path, texts: list[tuple[bytes, bytes]], about: bytes) -> None:
    """Write what an attacker would: a manifest whose checksum fits."""
    with closing(sqlite3.connect(file)) as db:
        db.executemany("INSERT INTO bodies VALUES (?, ?)", texts)
        db.execute("UPDATE runs SET about = ?, seal = ?", (about, seal(about, "r")))
        db.commit()


@pytest.mark.parametrize("run", ["../up", "a/b", "..", "a\x00b", "a\nb", "\x1b[2J", "x" * 10_000, ""])
async def test_an_id_that_names_no_file_is_refused(tmp_path: Path, run: str) -> None:
    file = await written(tmp_path / "journal.db")
    async with SqliteJournal(file) as journal:
        with pytest.raises(JournalUnusable, match="not the id of a run"):
            await journal.create(run, RunManifest("pair"))
    with closing(sqlite3.connect(file)) as db:
        db.execute("UPDATE runs SET run = ?", (run,))
        db.commit()
    async with open_journal(file, create=False) as journal:
        calls: list[Callable[[], Any]] = [
            journal.runs,
            lambda: journal.manifest(run),
            lambda: journal.is_driven(run),
        ]
        for ask in calls:
            with pytest.raises(JournalUnusable, match="not the id of a run"):
                await ask()
    assert sorted(path.name for path in tmp_path.iterdir() if "journal.db" not in path.name) == []


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@posix
@pytest.mark.parametrize("umask", [0, 0o277])
async def test_a_journal_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    file, before = tmp_path / "state" / "journal.db", os.umask(umask)
    try:
        async with open_journal(file, has_own_folder=True) as journal, journal.driving("r"):
            await journal.create("r", RunManifest("pair"))
            modes = {path.name: mode_of(path) for path in (*file.parent.iterdir(), *file.parent.glob("*-locks/*"))}
    finally:
        os.umask(before)
    assert mode_of(file.parent) == 0o700
    assert modes.pop("journal.db-locks") == 0o700
    assert modes == dict.fromkeys(["journal.db", "journal.db-wal", "journal.db-shm", "r.lock"], 0o600)


@posix
async def test_what_others_may_read_is_tightened_and_a_chosen_folder_is_left_alone(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    for own, expected in ((False, 0o755), (True, 0o700)):
        tmp_path.chmod(0o755)
        file.chmod(0o664)
        async with open_journal(file, create=False, has_own_folder=own):
            assert mode_of(file) == 0o600
            assert mode_of(tmp_path) == expected


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
async def test_what_belongs_to_another_user_is_said(tmp_path: Path) -> None:
    file = await written(tmp_path / "journal.db")
    file.chmod(0o644)
    os.chown(file, 65534, 65534)
    said: list[str] = []
    async with open_journal(file, create=False, warn=said.append) as journal:
        await journal.runs()
    assert said == [f"others may read {file}, and it belongs to another user"]
