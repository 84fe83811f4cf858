"""What a killed writer leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agents.confined import sweep

KILLED = """
import os, sys
from pathlib import Path
from agents.confined import write_inside
os.replace = lambda *a, **k: os.kill(os.getpid(), 9)  # between the last byte and the new name
write_inside(Path(sys.argv[1]), "docs/a.md", b"half")
"""


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -9
    (left,) = (tmp_path / "docs").iterdir()
    assert left.name.startswith(".part-")
    living = tmp_path / "docs" / f".part-{os.getpid()}-{'0' * 16}"
    own = tmp_path / "docs" / ".part-of-my-notes"
    for path in (living, own):
        path.write_text("stays")
    sweep(tmp_path)
    assert sorted((tmp_path / "docs").iterdir()) == sorted([living, own])


def test_a_folder_that_is_not_there_needs_no_sweeping(tmp_path: Path) -> None:
    sweep(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_folders_deeper_than_any_stack_are_swept_as_far_as_a_writer_gets(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    left = tmp_path / "d" / f".part-{2**22 + 1}-{'0' * 16}"
    left.write_text("half")
    (tmp_path / "loop").symlink_to(tmp_path)
    try:
        sweep(tmp_path)
        assert not left.exists()
        assert (tmp_path / "loop").is_symlink()
    finally:  # what removes the folders of tests cannot go so deep either
        subprocess.run(["/bin/rm", "-rf", str(tmp_path / "d")], check=True)
