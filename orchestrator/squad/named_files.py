"""The files that a command names: what is allowed with it, wherever they stand and however long they are."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CODE = re.compile(r".*\.(py|pyz|sh|bash|zsh|js|mjs|cjs|ts|rb|pl|php|lua|r|jl|ps1|bat|cmd|jar|exe)", re.IGNORECASE)
"""Names of what is run by an interpreter, be it executable or not."""


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """Path as it is written -> SHA-256; `code` has those that are run, by where they are, without links."""

    digests: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)


def named_files(words: Iterable[str], folder: Path, cwd: str = ".") -> NamedFiles:
    """Return the files that the words of a command name, from the squad's `folder` or from `cwd` below it.

    A word is a path, or has one behind `=` (`--config=x.toml`). A link, and a path that goes up, count as well: they
    may lead into what was cloned. An absolute path counts below `folder` alone: what is installed on a machine is
    its owner's. Never raises: what cannot be read is not there.
    """
    digests, code = dict[str, str](), dict[str, str]()
    for word in words:
        for path in dict.fromkeys((word, word.partition("=")[2])):
            for start in dict.fromkeys((folder, folder / cwd)) if path else ():
                place = Path(os.path.normpath(start / path))
                if Path(path).is_absolute() and not place.is_relative_to(folder):
                    continue
                if (sha256 := _digest(place)) is not None:
                    digests[os.path.relpath(place, folder)] = sha256
                    if CODE.fullmatch(place.name) or os.access(place, os.X_OK):
                        code[os.path.realpath(place)] = sha256
    return NamedFiles(digests, code)


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a regular file, None for all else."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # NUL in the path, a folder, or nothing there
        return None
