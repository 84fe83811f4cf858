"""One driver a run, across processes: a file that only one of them can have locked.

The lock ends with its process, however that ends, and follows the open file, not the process: a second driver in the
same process is refused too.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.journal.protocols import JournalUnusable, RunBusy
from orchestrator.journal.sqlite.holder import process_id
from providers.limits.ledger.private import FILE, make_private_file, make_private_folder

TRIES, PAUSE_S = 5, 0.01
"""How often a lock is asked for: who only looks whether it is held has it for an instant, too."""


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
        fd = _opened(path)
    except OSError:
        return False
    try:
        return not try_lock(fd, shared=True)  # two that look at once do not take each other for a driver
    finally:
        os.close(fd)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except PermissionError:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY)


def _acquire(path: Path, what: str) -> int:
    tries_left = TRIES
    while True:
        try:
            make_private_folder(path.parent)
            make_private_file(path)
            fd = os.open(path, os.O_RDWR | os.O_CREAT, FILE)
        except OSError as error:
            raise JournalUnusable(f"{path} cannot be written: {error.strerror or error}") from error
        if try_lock(fd):
            if is_at(fd, path):
                os.ftruncate(fd, 0)
                os.write(fd, process_id())  # for those whom this process holds up
                return fd
            os.close(fd)
            continue
        os.close(fd)
        tries_left -= 1
        if not tries_left:
            raise RunBusy(f"{what} is being driven by another process")
        time.sleep(PAUSE_S)


def is_at(fd: int, path: Path) -> bool:
    """Return whether the open file is still the one at `path`: its last holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


if os.name == "nt":
    import msvcrt

    def try_lock(fd: int, *, shared: bool = False) -> bool:  # noqa: ARG001  # Windows has one kind
        """Lock an open file, and return whether nobody else had."""
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]  # Windows only
        except OSError:
            return False
        return True

else:
    import fcntl

    def try_lock(fd: int, *, shared: bool = False) -> bool:
        """Lock an open file, and return whether nobody else had."""
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
