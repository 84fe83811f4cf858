"""Where a run was recorded: a record that came from elsewhere may name any folder of ours to be written to.

A journal's home is its path, as one file there or on one machine. Somebody who makes a file elsewhere knows neither the
number that the file will have here nor this machine's id. A folder that is moved, or unpacked, is another home.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from orchestrator.journal.protocols import RunManifest

ELSEWHERE = ("elsewhere",)
"""The home of what an earlier release recorded and was copied since."""
MACHINE = Path("/etc/machine-id")


def home_of(path: Path) -> tuple[str, str]:
    """Return the marks of the journal at `path`: one holds as long as its file stays, the other on this machine."""
    place = os.path.realpath(path)
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    return _mark("file", str(path.stat().st_ino), place), _mark("machine", _machine(), str(user), place)


def with_home(manifest: RunManifest, path: Path) -> RunManifest:
    """Return the manifest with the marks of the journal that it is recorded in, unless it bears others."""
    return manifest if manifest.home else replace(manifest, home=home_of(path))


def _mark(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


@lru_cache(maxsize=1)
def _machine() -> str:
    try:
        return MACHINE.read_text("ascii").strip() or str(uuid.getnode())
    except (OSError, ValueError):
        return str(uuid.getnode())
