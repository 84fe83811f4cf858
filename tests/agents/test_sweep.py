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
