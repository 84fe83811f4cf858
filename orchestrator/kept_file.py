"""A JSON document that processes share as a file: one at a time changes it, and whoever reads sees it whole."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def put(file: Path, document: Any) -> None:
    """Put a new file in the old one's place, its owner's alone: whoever reads sees one of the two. Raise `OSError`."""
    if file.exists() and not file.is_file():
        raise FileExistsError(17, "it is not a file", str(file))
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            json.dump(document, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


@contextmanager
def held(file: Path, mode: int = 0o777) -> Iterator[None]:
    """Let one process at a time read and write; make its folder (of this mode) where there is none.

    Where the system has no such lock, the last one wins.
    """
    file.parent.mkdir(mode=mode, parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
