"""One driver a run, across processes: a file that only one of them can have locked.

The lock ends with its process, however that ends, and follows the open file, not the process: a second driver in the
same process is refused too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.journal.protocols import JournalUnusable, RunBusy


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` while the block lasts. Raise `RunBusy` where another process does."""
    fd = _acquire(path, what)
    try:
        yield
    finally:
        # Removed while it is still held: a process that has opened this file already finds it gone and tries again.
        path.unlink(missing_ok=True)
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock file."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try(fd)
    finally:
        os.close(fd)


def _acquire(path: Path, what: str) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise JournalUnusable(f"{path} cannot be written: {error.strerror or error}") from error
        if not _try(fd):
            os.close(fd)
            raise RunBusy(f"{what} is being driven by another process")
        if _is(fd, path):
            return fd
        os.close(fd)


def _is(fd: int, path: Path) -> bool:
    """Return whether the open file is still the one at `path`: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


if os.name == "nt":
    import msvcrt

    def _try(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # Windows only
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
