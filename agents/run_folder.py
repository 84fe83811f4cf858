"""The folder of one run's files: what may be written there, and which of its files the run wrote itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from agents.confined import digest_inside, rename_inside, write_inside
from agents.errors import PathRefused
from agents.file_origins import FileOrigins
from agents.paths import Parts, Protected, parts_of


def origins_of(folder: RunFolder | None) -> FileOrigins:
    """Return what is known of the files that a run works on; one without a folder may still have a workspace."""
    return FileOrigins() if folder is None else folder.origins


class FileTaken(PathRefused):
    """A file stands there that this run did not write. `is_edited`: it did, and somebody changed it since."""

    def __init__(self, path: str, *, is_edited: bool) -> None:
        told = "it was changed since this run wrote it" if is_edited else "it exists, and this run did not write it"
        super().__init__(path, told)
        self.is_edited = is_edited


def _tell_nobody(path: str, sha256: str, size: int) -> None:
    """Keep to itself what was written."""


@dataclass(slots=True)
class RunFolder:
    """The files of a run below `root`. A file that others wrote is replaced only with `overwrite`, and one that
    was changed after the run wrote it never; what `protected` names is never written.

    `tell` is called with the path, the SHA-256 and the size of each file that a tool wrote.
    """

    root: Path
    protected: Protected = field(default_factory=Protected)
    overwrite: bool = False
    tell: Callable[[str, str, int], None] = _tell_nobody
    origins: FileOrigins = field(default_factory=FileOrigins)
    """Which of the files that the run works on hold what others wrote."""
    _written: dict[Parts, set[str]] = field(default_factory=dict)
    """File -> the SHA-256 of each version that the run wrote."""

    def wrote(self, path: str, sha256: Iterable[str]) -> None:
        """Know these versions of a file as the run's own."""
        self._written.setdefault(parts_of(path), set()).update(sha256)

    def fault(self, path: str) -> str:
        """Return why `path` may be written by no run at all, empty where it may. Asks for where `root` leads."""
        return self.protected.fault(parts_of(os.path.realpath(self.root)), path)

    def check(self, path: str, sha256: str = "") -> str | None:
        """Return the SHA-256 of what stands at `path`, None where nothing does.

        Raise `FileTaken` where that is not the run's own, nor what the run is to write (`sha256`); `PathRefused`,
        `PathEscapes`, and `OSError`.
        """
        if fault := self.fault(path):
            raise PathRefused(path, fault)
        there = digest_inside(self.root, path)
        own = self._written.get(parts_of(path), set())
        if there is None or there == sha256 or there in own:
            return there
        if own or not self.overwrite:
            raise FileTaken(path, is_edited=bool(own))
        return there

    def write(self, path: str, data: bytes) -> str:
        """Write a file, whole or not at all, and return its SHA-256. One that is so already is left alone.

        Raises what `check` raises.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        there = self.check(path, sha256)
        if there != sha256:
            try:
                write_inside(self.root, path, data, is_new=there is None)
            except FileExistsError:
                self.check(path, sha256)  # somebody was faster: it is taken, else the folder is no folder
                raise
        self.wrote(path, (sha256,))
        return sha256

    def put_aside(self, path: str) -> str:
        """Give another name to what stands at `path`, beside it, and return that: nothing is lost."""
        own = PurePosixPath(path)
        number = 1
        while True:
            aside = str(own.with_name(f"{own.stem}.edited-{number}{own.suffix}"))
            try:
                rename_inside(self.root, path, aside)
            except FileExistsError:
                number += 1
            else:
                return aside
