"""The files of a knowledge folder, as far as they are text: no path leaves it, no link is followed, no key is read."""

from __future__ import annotations

import codecs
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from agents.confined import list_inside, read_inside
from agents.errors import AgentError
from agents.paths import MOST_PARTS, PRIVATE_KEY, VERSIONED, folded, holds_keys
from providers.documents.unicode import clean

FILE_BYTES = 4 << 20
MOST_FILES = 20_000
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True, slots=True)
class KnowledgeFolder:
    """The folder or file `path` below the folder `beside`, in POSIX form. `include`: patterns of names or paths in it;
    none: all files. `most_chars`: of one chunk."""

    beside: Path
    path: str
    include: tuple[str, ...] = ()
    most_chars: int | None = None


class FolderFile(NamedTuple):
    """A file below `beside`; its size in bytes, and when it was changed, in nanoseconds."""

    path: str
    size: int
    changed: int


class UnreadFile(NamedTuple):
    """A file that is not read, and why."""

    path: str
    why: str


def walk(folder: KnowledgeFolder) -> Iterator[FolderFile | UnreadFile]:
    """Yield what is in the folder, by name; at most `MOST_FILES`. Hidden files and links are left out silently.

    Raise `OSError` or `AgentError` where the folder itself cannot be read.
    """
    path = PurePosixPath(folder.path).as_posix()
    if _is_file(folder.beside, path):
        yield from _looked_at(folder, path)
        return
    todo, count = [path], 0
    while todo:
        here = todo.pop()
        try:
            names = list_inside(folder.beside, here)
        except (OSError, AgentError) as error:
            if here == path:
                raise
            yield UnreadFile(here, str(error))
            continue
        below: list[str] = []
        for name in names:
            child = name.rstrip("/") if here == "." else f"{here}/{name.rstrip('/')}"
            if _is_hidden(name):
                continue
            if name.endswith("/"):
                if len(PurePosixPath(child).parts) < MOST_PARTS:
                    below.append(child)
                continue
            for found in _looked_at(folder, child):
                if (count := count + 1) > MOST_FILES:
                    yield UnreadFile(here, f"more than {MOST_FILES:,} files; the rest is not read")
                    return
                yield found
        todo += reversed(below)


def _is_file(beside: Path, path: str) -> bool:
    """Return whether `path` is a file below `beside`, reached through no link. Raise as `list_inside` does."""
    place = PurePosixPath(path)
    return (beside / path).is_file() and place.name in list_inside(beside, place.parent.as_posix())


def fault_of(beside: Path, path: str) -> str:
    """Return why nothing can be read at `path` below `beside`, empty where it can."""
    if holds_keys(path):
        return "it may hold keys"
    try:
        if not _is_file(beside, path):
            list_inside(beside, path)
    except OSError as error:
        return error.strerror or str(error)
    except AgentError as error:
        return str(error)
    return ""


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or folded(name.rstrip("/")) in VERSIONED


def _looked_at(folder: KnowledgeFolder, path: str) -> Iterator[FolderFile | UnreadFile]:
    if not _is_meant(folder, path):
        return
    if holds_keys(path):
        yield UnreadFile(path, "it may hold keys")
        return
    try:
        about = (folder.beside / path).stat(follow_symlinks=False)
    except OSError as error:
        yield UnreadFile(path, error.strerror or str(error))
        return
    if not stat.S_ISREG(about.st_mode):
        yield UnreadFile(path, "it is no regular file")
    elif about.st_size > FILE_BYTES:
        yield UnreadFile(path, f"it has {about.st_size:,} bytes; at most {FILE_BYTES:,} are read")
    else:
        yield FolderFile(path, about.st_size, about.st_mtime_ns)


def _is_meant(folder: KnowledgeFolder, path: str) -> bool:
    inside = path.removeprefix(PurePosixPath(folder.path).as_posix() + "/")
    name = PurePosixPath(path).name
    return not folder.include or any(fnmatchcase(inside, one) or fnmatchcase(name, one) for one in folder.include)


def read_text(folder: KnowledgeFolder, path: str) -> tuple[str, bytes]:
    """Return a file's text and its bytes. Raise `ValueError` for what is no text, `OSError`, or `AgentError`."""
    data = read_inside(folder.beside, path, FILE_BYTES)
    if PRIVATE_KEY.search(data) is not None:
        raise ValueError("it holds a private key")
    return clean(_decoded(data)), data


def _decoded(data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if b"\0" in data[:8192]:
        raise ValueError("it is binary")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: byte {error.start:,} cannot be read") from None


def told(unread: Sequence[UnreadFile], most: int = 5) -> str:
    """Return in words what is not read, the first few."""
    shown = "; ".join(f"{one.path}: {one.why}" for one in unread[:most])
    return f"{shown}; and {len(unread) - most} more" if len(unread) > most else shown
