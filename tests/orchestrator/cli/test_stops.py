"""Ctrl-Z while a journal is written: the process stops, and never within a transaction, which holds up others."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest

from orchestrator.cli.signals import stopped_between_commits
from orchestrator.events import Event, TaskEnded
from orchestrator.journal.protocols import RunManifest
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.units import Unit
from tests import processes
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc tells that a process stopped")


def commit_for_ever(file: str) -> None:
    """Be a process that writes its journal all the time."""
    os.setpgid(0, 0)  # a group without anybody who could continue it is not stopped by a terminal
    anyio.run(_commit, Path(file))


async def _commit(file: Path) -> None:
    with stopped_between_commits() as stops:
        async with SqliteJournal(file) as journal:
            stops.let_go(journal)
            await journal.create("r", RunManifest("pair"))
            for n in range(1_000_000):
                said = {"text": f"answer {n} " * 500}
                await journal.append("r", [Event("r", Unit("a"), (), 0, n, 1.5, TaskEnded("a", "ok", said))])


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "T"


def written(file: Path) -> int:
    """Return how many events there are. It takes the lock of a writer, or fails at once."""
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        found: int = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        db.execute("ROLLBACK")
    return found


def counted(file: Path) -> int:
    """Return how many events there are, as a reader sees it: 0 before there is a journal."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE_S / 0.002)):
        if holds():
            return
        time.sleep(0.002)
    raise AssertionError("it hangs")


def has_gone_on(pid: int, file: Path, beyond: int) -> bool:
    """Return whether it has written more. One of many stops may come once it was continued: continue it again."""
    if is_stopped(pid):
        os.kill(pid, signal.SIGCONT)
    return counted(file) > beyond


@pytest.mark.parametrize("times", [6, pytest.param(100, marks=pytest.mark.long)])
def test_a_process_is_stopped_between_two_commits_and_goes_on(times: int, tmp_path: Path) -> None:
    file, rng = tmp_path / "journal.db", random.Random(times)
    process = processes.start(commit_for_ever, str(file))
    pid = process.pid
    assert pid is not None
    try:
        wait_until(lambda: counted(file) > 3)
        for n in range(times):
            time.sleep(rng.uniform(0, 0.005))
            for _ in range(1 + n % 4):  # a key that is held down: the wishes are one
                os.kill(pid, signal.SIGTSTP)
                time.sleep(rng.uniform(0, 0.0005))
            wait_until(lambda: is_stopped(pid))
            before = written(file)
            wait_until(partial(has_gone_on, pid, file, before))
    finally:
        process.kill()
        process.join()


def stop_while_opening() -> None:
    """Be a process that is to stop while it opens its journal, which fails."""
    os.setpgid(0, 0)
    with stopped_between_commits():
        signal.raise_signal(signal.SIGTSTP)
    raise SystemExit(0 if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL else 1)


def test_a_stop_that_was_put_off_to_the_end_leaves_no_handler() -> None:
    process = processes.start(stop_while_opening)
    pid = process.pid
    assert pid is not None
    try:
        wait_until(lambda: is_stopped(pid))
        os.kill(pid, signal.SIGCONT)
        assert processes.end(process) == 0
    finally:
        process.kill()
