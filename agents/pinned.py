"""Files that run only as they were allowed to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def refuse_changed(pinned: Mapping[str, str]) -> None:
    """Raise `ValueError` where a file is not the one of this SHA-256 any more, `OSError` where it cannot be read."""
    for path, sha256 in pinned.items():
        with Path(path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise ValueError(f"{path} was changed since it was allowed to run, so it is not run; begin a new run")
