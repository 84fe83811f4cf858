"""Files confined to one folder: no path leaves it, by `..`, from the root or through a symbolic link.

Each folder on the way is opened from the one above it, refusing links (`O_NOFOLLOW`), so a link that is put there
between a check and its use leads nowhere. Where the platform has no such calls (Windows), links are checked for only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from agents.errors import PathEscapes, PathRefused
from agents.paths import MOST_PARTS, length_fault

READ_BYTES = 1 << 20
UNFINISHED = re.compile(r"\.part-([0-9]+)-[0-9a-f]{16}")
"""Files that are being written, by the id of the process that writes."""

HAS_DIR_FD = {os.open, os.mkdir, os.stat, os.unlink} <= os.supports_dir_fd
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a pipe must not wait for its other end
BINARY = getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class _Folder:
    """An open folder. `fd` is None where the platform cannot name files relative to it."""

    path: Path
    fd: int | None

    def at(self, name: str) -> str:
        return name if self.fd is not None else str(self.path / name)

    def is_link(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            return stat.S_ISLNK(os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False).st_mode)
        return False

    def exists(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)
            return True
        return False


def write_inside(root: Path, relative: str, data: bytes, *, is_new: bool = False) -> Path:
    """Write `data` as the file `relative` below `root`, whole or not at all, and return its path.

    Folders are made as needed. The bytes are on disk when it returns. On failure an existing file is untouched and
    nothing is left behind. With `is_new` a file that exists is never replaced: `FileExistsError`. Raises `PathEscapes`,
    `PathRefused`, or `OSError`.
    """
    *folders, name = _parts(relative)
    root.mkdir(parents=True, exist_ok=True)
    with _opened(root, relative, folders, create=True) as folder:
        if folder.is_link(name):
            raise PathEscapes(relative, f"{name} is a symbolic link")
        _replace(folder, name, data, is_new=is_new)
    return root.joinpath(*folders, name)


def read_inside(root: Path, relative: str, limit: int = READ_BYTES) -> bytes:
    """Return the bytes of the file `relative` below `root`.

    Raises `PathEscapes`, `OSError`, or `ValueError` where it is no regular file or longer than `limit` bytes.
    """
    *folders, name = _parts(relative)
    with _opened(root, relative, folders) as folder:
        if folder.is_link(name):
            raise PathEscapes(relative, f"{name} is a symbolic link")
        fd = os.open(folder.at(name), os.O_RDONLY | NO_FOLLOW | NO_WAIT | BINARY, dir_fd=folder.fd)
        with os.fdopen(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode):
                raise ValueError(f"{relative} is not a file")
            if about.st_size > limit:
                raise ValueError(f"{relative} has {about.st_size} bytes; at most {limit} can be read")
            return file.read(limit)


def digest_inside(root: Path, relative: str) -> str | None:
    """Return the SHA-256 of the file `relative` below `root`, in hexadecimal; None where there is nothing.

    Raises `PathEscapes`, `PathRefused`, or `OSError`: `IsADirectoryError` for whatever is no regular file.
    """
    *folders, name = _parts(relative)
    with suppress(FileNotFoundError), _opened(root, relative, folders) as folder:
        if folder.is_link(name):
            raise PathEscapes(relative, f"{name} is a symbolic link")
        fd = os.open(folder.at(name), os.O_RDONLY | NO_FOLLOW | NO_WAIT | BINARY, dir_fd=folder.fd)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), relative)
            return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def rename_inside(root: Path, relative: str, new: str) -> None:
    """Give the file `relative` below `root` the name of the path `new`, which is in the same folder.

    Raises `FileExistsError` where that name is taken, `PathEscapes`, `PathRefused`, or `OSError`.
    """
    *folders, name = _parts(relative)
    *_, other = _parts(new)
    with _opened(root, relative, folders) as folder:
        if folder.exists(other):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(folder.at(name), folder.at(other), src_dir_fd=folder.fd, dst_dir_fd=folder.fd)


def list_inside(root: Path, relative: str = ".") -> list[str]:
    """Return the names in a folder below `root`, sorted; folders end in `/`, symbolic links are left out."""
    folders = [] if PurePath(relative) == PurePath() else _parts(relative)
    with _opened(root, relative, folders) as folder:
        with os.scandir(folder.path if folder.fd is None else folder.fd) as entries:
            found = [entry for entry in entries if not entry.is_symlink()]
        return sorted(_in_text(entry.name) + "/" * entry.is_dir(follow_symlinks=False) for entry in found)


def _parts(relative: str) -> list[str]:
    path = PurePath(relative)
    if path.anchor or path.drive:
        raise PathEscapes(relative, "it is absolute")
    if ".." in path.parts:
        raise PathEscapes(relative, "it goes up by `..`")
    if not path.parts or "\0" in relative:
        raise PathEscapes(relative, "it names no file")
    if fault := length_fault(path.parts):
        raise PathRefused(relative, fault)
    return [_on_disk(part) for part in path.parts]


def _on_disk(name: str) -> str:
    """Return the text by which the system calls know the file whose name is `name` in UTF-8.

    They encode by the locale, and in a process without UTF-8 (LANG=C) refuse all other letters.
    """
    return os.fsdecode(name.encode())


def _in_text(name: str) -> str:
    """Return a name that a system call gave, as text."""
    return os.fsencode(name).decode("utf-8", "replace")


@contextmanager
def _opened(root: Path, relative: str, folders: list[str], *, create: bool = False) -> Iterator[_Folder]:
    """Give the folder below `root`, reached one part at a time and never through a link."""
    here = _Folder(root, os.open(root, os.O_RDONLY | os.O_DIRECTORY) if HAS_DIR_FD else None)
    try:
        for name in folders:
            below = _below(here, name, relative, create)
            if here.fd is not None:
                os.close(here.fd)
            here = below
        yield here
    finally:
        if here.fd is not None:
            os.close(here.fd)


def _below(here: _Folder, name: str, relative: str, create: bool) -> _Folder:
    if create:
        with suppress(FileExistsError):
            os.mkdir(here.at(name), dir_fd=here.fd)
    if here.is_link(name):
        raise PathEscapes(relative, f"{name} is a symbolic link")
    if here.fd is None:
        return _Folder(here.path / name, None)
    return _Folder(here.path / name, os.open(name, os.O_RDONLY | os.O_DIRECTORY | NO_FOLLOW, dir_fd=here.fd))


def _replace(folder: _Folder, name: str, data: bytes, *, is_new: bool) -> None:
    part = f".part-{os.getpid()}-{secrets.token_hex(8)}"
    fd = os.open(folder.at(part), os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | BINARY, 0o666, dir_fd=folder.fd)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        if not (is_new and _linked(folder, part, name)):
            os.replace(folder.at(part), folder.at(name), src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(folder.at(part), dir_fd=folder.fd)
        raise
    if folder.fd is not None:
        os.fsync(folder.fd)  # the new name, too, outlives a power cut


def _linked(folder: _Folder, part: str, name: str) -> bool:
    """Give a finished file its name, unless that is taken. False: this disk cannot do so in one step."""
    try:
        os.link(folder.at(part), folder.at(name), src_dir_fd=folder.fd, dst_dir_fd=folder.fd, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        if folder.exists(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        return False
    os.unlink(folder.at(part), dir_fd=folder.fd)
    return True


def sweep(root: Path) -> None:
    """Remove what writers below `root` left unfinished when they were killed. Files of living processes stay.

    Never raises: what cannot be looked at or removed stays. No deeper than a writer gets, and through no link.
    """
    todo = [(root, 0)]
    while todo:
        folder, depth = todo.pop()
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if (found := UNFINISHED.fullmatch(entry.name)) and not _is_alive(int(found[1])):
                    with suppress(OSError):
                        Path(entry.path).unlink()
                elif depth < MOST_PARTS and entry.is_dir(follow_symlinks=False):
                    todo.append((Path(entry.path), depth + 1))


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
