"""Who keeps a journal from being written, where the system can tell."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from orchestrator.journal.protocols import JournalBusy

WRITE_LOCK = 120
"""The byte of the index (`-shm`) that SQLite locks while a transaction writes."""
LOOK_S = 0.25
"""How often a waiting writer looks who holds it up: the connection's own patience."""
STOPPED_S, UNKNOWN_S, WORKING_S = 0.5, 10.0, 60.0
"""How long a command waits for a process that is stopped, for one that is not known, and for one that is at work."""


class Holder(NamedTuple):
    """A process in a write transaction. `is_stopped`: by Ctrl-Z or a debugger, so it does not go on by itself."""

    pid: int
    is_stopped: bool
    runs: tuple[str, ...] = ()


def begin_write(db: sqlite3.Connection, path: Path, *, is_patient: bool = False) -> None:
    """Begin a write transaction. Raise `JournalBusy`, which names who holds the journal, where that takes too long.

    `is_patient`: there is a run to lose, so a process that is stopped is waited for as one at work.
    """
    began = time.monotonic()
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY:
                raise
            holder = holder_of(path)
            if time.monotonic() - began >= (WORKING_S if is_patient else patience_with(holder)):
                raise busy(path, holder) from error
        else:
            return


def patience_with(holder: Holder | None) -> float:
    """Return how many seconds a command waits for the holder."""
    if holder is None:
        return UNKNOWN_S
    return STOPPED_S if holder.is_stopped else WORKING_S


def busy(path: Path, holder: Holder | None) -> JournalBusy:
    """Return the error that says who holds the journal, and what to do about it."""
    if holder is None:
        return JournalBusy(f"the journal {path} is being written by another process", "try again once it is done")
    runs = f" (run {', '.join(holder.runs)})" if holder.runs else ""
    who = f"process {holder.pid}{runs}"
    if holder.is_stopped:
        what = f"the journal {path} is held by {who}, which is stopped in the middle of writing"
        return JournalBusy(what, f"let it go on: `fg` in its terminal, or `kill -CONT {holder.pid}`")
    return JournalBusy(f"the journal {path} is being written by {who}", "try again once it is done")


def holder_of(path: Path) -> Holder | None:
    """Return the process that holds the write lock; None where there is none, or the system does not tell (Linux does).

    The lock is looked up, never tried: to close a file ends all locks that a process has on it.
    """
    with suppress(OSError, ValueError, IndexError):
        inode = str(Path(f"{path}-shm").stat().st_ino)
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            words = line.split()
            if words[1] != "POSIX" or words[5].rpartition(":")[2] != inode:
                continue
            if int(words[6]) <= WRITE_LOCK and (words[7] == "EOF" or int(words[7]) >= WRITE_LOCK):
                pid = int(words[4])
                return Holder(pid, _is_stopped(pid), _runs_of(path, pid)) if pid > 0 else None
    return None


def _is_stopped(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    return state in ("T", "t")


def _runs_of(path: Path, pid: int) -> tuple[str, ...]:
    """Return the runs that the process drives: each lock file holds the id of its process."""
    found = []
    for lock in sorted(path.with_name(f"{path.name}-locks").glob("*.lock")):
        with suppress(OSError):
            if lock.read_text("ascii", "replace").strip() == str(pid):
                found.append(lock.stem)
    return tuple(found)


def is_open_here(file: Path) -> bool:
    """Return whether this process has the file open, or cannot tell.

    POSIX ends all locks that a process has on a file when it closes any descriptor of it: to open and close what SQLite
    has open would let another process write at the same time.
    """
    if os.name == "nt":  # there a lock belongs to the descriptor
        return False
    try:
        found = file.stat()
    except OSError:
        return False
    try:
        fds = [int(entry.name) for entry in Path("/dev/fd").iterdir()]
    except (OSError, ValueError):
        return True
    for fd in fds:
        with suppress(OSError):
            if os.path.samestat(os.fstat(fd), found):
                return True
    return False


def process_id() -> bytes:
    """Return what a lock file holds of this process."""
    return str(os.getpid()).encode()


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's code of a failure, 0 where Python itself raised it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
