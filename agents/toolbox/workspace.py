"""The folder whose files an agent's tools work on: the run's own, or one that the squad names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import anyio

from agents.confined import digest_inside, list_inside, read_inside, write_inside
from agents.errors import AgentError, PathRefused
from agents.events import FileOrigin
from agents.file_origins import OF_RUN, OF_WORKSPACE, FileOrigins
from agents.paths import MOST_PARTS, PRIVATE_KEY, VERSIONED, Protected, folded, holds_keys, parts_of
from agents.results import told
from agents.run_folder import RunFolder
from agents.tool_context import ToolContext
from agents.untrusted import Untrusted, joined

FILE_BYTES = 8 << 20
MOST_CHARS = 40_000
WALKED = 20_000
"""Files and folders that one walk looks at."""
PRIVATE = VERSIONED | {".orchestrator"}
"""Folders of version control, and of what was said in other runs: no model reads below them."""
PASSED_BY = frozenset({"node_modules", "__pycache__", ".venv", "venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
"""Folders that a walk does not go into: what stands there is nobody's own text."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder of the user's that a squad names. Nothing is written there without `can_write`, and what `protected`
    names never is; keys and the folders of version control are not read either."""

    root: Path
    can_write: bool = False
    protected: Protected = field(default_factory=Protected)
    name: str = OF_WORKSPACE
    origins: FileOrigins = field(default_factory=FileOrigins)
    edits: anyio.Lock = field(default_factory=anyio.Lock, compare=False)
    """One edit at a time: two of one turn would each write the file without the other's."""
    within: tuple[tuple[str, Path], ...] = ()
    """Folders around it, by their names, of workspaces that may hold the same files: a file is known as the first has
    it."""

    def known_as(self, path: str) -> tuple[str, str]:
        """Return the folder as a part of which a file is known, and its path there: one for all who may write it."""
        file = PurePath(os.path.normpath(self.root / path))
        parts = parts_of(str(file))
        for name, root in self.within:
            above = parts_of(str(root))
            if parts[: len(above)] == above and len(parts) > len(above):
                return name, "/".join(file.parts[len(above) - len(parts) :])
        return self.name, path

    def write(self, path: str, data: bytes) -> str:
        """Write a file, whole or not at all, and return its SHA-256. Raise `AgentError` or `OSError`."""
        if not self.can_write:
            raise PathRefused(path, "the workspace is read-only: the squad says `workspace: {path: ..., write: true}`")
        if fault := self.protected.fault(parts_of(str(self.root.resolve())), path) or private(path):
            raise PathRefused(path, fault)
        digest_inside(self.root, path)  # refuses what is no file, and links
        write_inside(self.root, path, data)
        return hashlib.sha256(data).hexdigest()

    def wrote(self, path: str, sha256: str, size: int) -> None:
        """Tell nobody: what a call did is in its events."""


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The run's own folder, as tools see it."""

    folder: RunFolder | None
    name: str = OF_RUN
    edits: anyio.Lock = field(default_factory=anyio.Lock, compare=False)

    def known_as(self, path: str) -> tuple[str, str]:
        """Return the name of the folder, and the path."""
        return self.name, path

    @property
    def origins(self) -> FileOrigins:
        return FileOrigins() if self.folder is None else self.folder.origins

    @property
    def root(self) -> Path:
        if self.folder is None:
            raise ValueError("this run keeps no files")
        return self.folder.root

    def write(self, path: str, data: bytes) -> str:
        """Write a file as `RunFolder.write` does."""
        if self.folder is None:
            raise ValueError("this run keeps no files")
        return self.folder.write(path, data)

    def wrote(self, path: str, sha256: str, size: int) -> None:
        """Tell that a file was written; in the event loop, as what hears it is no thread's."""
        if self.folder is not None:
            self.folder.tell(path, sha256, size)


Files = Workspace | RunFiles


def note_origin(files: Files, path: str, context: ToolContext, before: tuple[str, ...] = ()) -> None:
    """Know whose words a file holds that an agent wrote: those that it had read, and what it left of those `before`."""
    around = context.around
    if around is None:
        return
    untrusted, (folder, known) = joined(before, around.untrusted), files.known_as(path)
    if files.origins.note(folder, known, untrusted):
        around.emit(FileOrigin(known, folder, untrusted))


def origins_of(files: Files, paths: Iterable[str]) -> tuple[str, ...]:
    """Return the sources of what others wrote in these files."""
    found = (files.origins.of(folder, [known]) for folder, known in map(files.known_as, paths))
    return joined((), (source for one in found for source in one))


def told_as_whose(files: Files, path: str, value: Any) -> Any:
    """Return a value that was read in a file: as others' words, where the file holds such."""
    return Untrusted(told(value, MOST_CHARS)) if origins_of(files, [path]) else value


def as_whose(files: Files, paths: Iterable[str], text: str) -> str:
    """Return what a tool tells of files: as others' words, where one of them holds such."""
    return Untrusted(text) if origins_of(files, paths) else text


def read_file_of(files: Files, path: str, limit: int = FILE_BYTES) -> bytes:
    """Return a file's bytes. Raise `PathRefused`, `PathEscapes`, `ValueError` or `OSError`."""
    refuse_private(path)
    data = read_inside(files.root, path, limit)
    if PRIVATE_KEY.search(data) is not None:
        raise PathRefused(path, "it holds a private key, which no model reads")
    return data


def refuse_private(path: str) -> None:
    """Raise `PathRefused` for a file or folder that no model looks into."""
    if fault := private(path):
        raise PathRefused(path, fault)


def text_of(path: str, data: bytes) -> str:
    """Return a file's text. Raise `ValueError` where it is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; it may be binary") from None


def private(path: str) -> str:
    """Return why no model reads what stands at `path`, empty where it may."""
    if holds_keys(path):
        return "it may hold keys, which no model reads"
    if part := next(iter(PRIVATE & {*parts_of(path)}), ""):
        return f"{part} belongs to version control or to other runs; no model reads it"
    return ""


def walk(files: Files, path: str = ".") -> Iterator[str]:
    """Yield the paths of the files below the folder at `path`, sorted, without those that no model reads.

    Raise `AgentError` or `OSError` for `path` itself; a folder in it that cannot be read is left out. At most `WALKED`
    entries are looked at.
    """
    refuse_private(path)
    left, todo = WALKED, [(path.rstrip("/") or ".", 0)]
    while todo and left > 0:
        folder, depth = todo.pop()
        try:
            names = list_inside(files.root, folder)
        except (OSError, AgentError):
            if depth == 0:
                raise
            continue
        below: list[tuple[str, int]] = []
        for name in names[:left]:
            whole = name if folder == "." else f"{folder}/{name}"
            if private(name):
                continue
            if not name.endswith("/"):
                yield whole
            elif depth < MOST_PARTS - 1 and folded(name.rstrip("/")) not in PASSED_BY:
                below.append((whole.rstrip("/"), depth + 1))
        left -= len(names)
        todo += reversed(below)
