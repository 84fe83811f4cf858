"""Files and folders that are their owner's alone, whatever the umask: prompts and answers may be secret."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

FILE, FOLDER = 0o600, 0o700


def make_private_folder(path: Path) -> None:
    """Make a folder, and those that it stands in, where there are none. Those that are made are their owner's alone."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        with suppress(OSError):  # another process made it
            folder.chmod(FOLDER)


def make_private_file(path: Path) -> None:
    """Make an empty file, its owner's alone, where there is none."""
    with suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE)
        try:
            if os.name != "nt":
                os.fchmod(fd, FILE)
        finally:
            os.close(fd)


def tighten(path: Path) -> str | None:
    """Take from all others what they may do with a file or a folder of ours. Return why that could not be done.

    None: it is done, or was so already, or there is no such file.
    """
    if os.name == "nt":
        return None
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or not found.st_mode & 0o077:
            return None
        if found.st_uid != os.geteuid():
            return f"others may read {path}, and it belongs to another user"
        path.chmod(stat.S_IMODE(found.st_mode) & 0o700)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"others may read {path}, which cannot be changed: {error.strerror or error}"
    return None
