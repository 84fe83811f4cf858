"""What a server sent, written to files here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agents.confined import digest_inside, write_inside
from agents.errors import AgentError
from orchestrator.errors import CannotWrite


def put_artifact(folder: Path, name: str, data: bytes, *, overwrite: bool) -> None:
    """Write a file of a run below a folder. Raise `CannotWrite` for a name that leads out of it, and where another file
    is there that is not to be replaced."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not overwrite and digest_inside(folder, name) not in (None, hashlib.sha256(data).hexdigest()):
            raise CannotWrite(str(folder / name), "another file is there; --overwrite replaces it")
        write_inside(folder, name, data)
    except (OSError, AgentError) as error:
        raise CannotWrite(str(folder / name), str(error)) from error


def refuse_existing(file: Path) -> None:
    """Raise `CannotWrite` where there is such a file."""
    if file.exists():
        raise CannotWrite(str(file), "there is such a file already; --force overwrites it")


def put_export(file: Path, data: bytes) -> None:
    """Write a run that was exported. Raise `CannotWrite`."""
    try:
        file.write_bytes(data)
    except OSError as error:
        raise CannotWrite(str(file), error.strerror or str(error)) from error
