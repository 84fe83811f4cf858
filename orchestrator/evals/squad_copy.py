"""A copy of a squad's folder for one run of a case, so that what agents write there is not the user's."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import NamedTuple

from agents.confined import READ_BYTES
from agents.paths import holds_keys
from agents.toolbox.workspace import PASSED_BY
from orchestrator.evals.errors import CaseUnusable
from providers.catalog.trust import Consent, KeyUse

MOST_FILES = 20_000
MOST_BYTES = 256 << 20
LEFT_OUT = PASSED_BY | {".orchestrator"}
"""Folders that are not copied: what stands there is made anew by a command, or belongs to other runs."""


class CannotCopy(CaseUnusable):
    """A squad's folder cannot be copied for a run of a case."""

    def __init__(self, message: str) -> None:
        way_out = "let agents write into this one: `defaults: {workspace: in_place}`"
        super().__init__(message, f"give the squad a folder of its own, or {way_out}")


class _Entry(NamedTuple):
    path: str
    """Below the folder."""
    size: int
    link: str | None = None


@dataclass(frozen=True, slots=True)
class SquadCopy:
    """A copied folder. `stamps` tell each file as it was copied."""

    home: Path
    folder: Path
    stamps: Mapping[str, tuple[int, int]]

    def trusting(self, trust: Consent) -> Consent:
        """Return a consent that allows the copy what `trust` allows the folder: the code is the same by its digest."""
        home, folder = str(self.home), os.path.realpath(self.folder)

        def allows(use: KeyUse) -> bool:
            if use.folder != folder and not use.folder.startswith(folder + os.sep):
                return trust(use)
            return trust(replace(use, folder=home + use.folder[len(folder) :]))

        return allows

    def written(self, below: Path) -> dict[str, str | None]:
        """Return the files below the folder `below` of the copy that are new or changed since, with their texts; None:
        one that is no text, or a long one."""
        found: dict[str, str | None] = {}
        for entry in _entries(self.folder):
            file = self.folder / entry.path
            if entry.link is None and file.is_relative_to(below) and _stamp(file) != self.stamps.get(entry.path):
                found[file.relative_to(below).as_posix()] = text_in(file)
        return found


def copied(home: Path, target: Path, folders: Iterable[Path] = ()) -> SquadCopy:
    """Copy the folder `home` to `target`. Raise `CannotCopy`, where it is too large before anything is copied.

    `folders` of it are there in the copy though they be empty.

    Links within the folder stay links; those that lead out of it, files that hold keys, and what is no file are left
    out, as are `LEFT_OUT`.
    """
    home = home.resolve()
    files, size, entries = 0, 0, list[_Entry]()
    for entry in _entries(home):
        files, size = files + 1, size + entry.size
        if files > MOST_FILES or size > MOST_BYTES:
            limit = f"{MOST_FILES:,} files" if files > MOST_FILES else f"{MOST_BYTES >> 20} MB"
            raise CannotCopy(f"{home} has more than {limit}, and a live test copies it for each run")
        entries.append(entry)
    try:
        target.mkdir(parents=True)
        for one in folders:
            (target / one.relative_to(home)).mkdir(parents=True, exist_ok=True)
        stamps = {entry.path: made for entry in entries if (made := _copy(entry, home, target)) is not None}
    except OSError as error:
        raise CannotCopy(f"{home} cannot be copied to {target}: {error.strerror or error}") from error
    return SquadCopy(home, target, stamps)


def _copy(entry: _Entry, home: Path, target: Path) -> tuple[int, int] | None:
    """Copy one file, and return its stamp; None for a link, and for a file that is gone or not ours to read."""
    new = target / entry.path
    new.parent.mkdir(parents=True, exist_ok=True)
    if entry.link is not None:
        new.symlink_to(entry.link)
        return None
    with suppress(FileNotFoundError, PermissionError):
        shutil.copy2(home / entry.path, new)
        return _stamp(new)
    return None


def _entries(home: Path) -> Iterator[_Entry]:
    """Yield the files, and the links that stay within, of a folder."""
    todo = [""]
    while todo:
        below = todo.pop()
        with os.scandir(home / below) as found:
            for one in sorted(found, key=lambda one: one.name):
                path = f"{below}/{one.name}" if below else one.name
                if holds_keys(path):
                    continue
                if one.is_symlink():
                    if (link := _link_within(home, path)) is not None:
                        yield _Entry(path, 0, link)
                elif one.is_dir():
                    if one.name not in LEFT_OUT:
                        todo.append(path)
                elif one.is_file():
                    yield _Entry(path, one.stat().st_size)


def _link_within(home: Path, path: str) -> str | None:
    """Return where a link leads that stays below `home`, as it is written; None for another one."""
    link = (home / path).readlink()
    written = PurePath(os.path.normpath(PurePath(path).parent / link))
    leads_out = link.is_absolute() or os.pardir in written.parts
    return None if leads_out or not (home / path).resolve().is_relative_to(home) else str(link)


def _stamp(file: Path) -> tuple[int, int]:
    about = file.stat()
    return about.st_size, about.st_mtime_ns


def texts_below(folder: Path) -> dict[str, str | None]:
    """Return the files of a folder, as `SquadCopy.written` does."""
    if not folder.is_dir():
        return {}
    return {one.path: text_in(folder / one.path) for one in _entries(folder) if one.link is None}


def text_in(file: Path) -> str | None:
    """Return a file's text, None where it is none, or too long to be looked at."""
    try:
        with file.open("rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return None
            data = stream.read(READ_BYTES + 1)
        return None if len(data) > READ_BYTES else data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
