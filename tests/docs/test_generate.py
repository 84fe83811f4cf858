"""`docs/generate.py` finds the generators, and tells and writes what is stale."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT
from tests.patience import PATIENCE_S

ONE = 'from pathlib import Path\nPAGE = Path(__file__).with_name("one.md")\ndef page(): return "one\\n"\n'
MANY = 'from pathlib import Path\ndef pages(): return {"a.md": "a", Path(__file__).with_name("b.md"): "b"}\n'
SLOW = "def page(figures): return figures\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "more").mkdir(parents=True)
    (tmp_path / "docs" / "generate_one.py").write_text(ONE)
    (tmp_path / "docs" / "more" / "generate_many.py").write_text(MANY)
    (tmp_path / "docs" / "more" / "generate_slow.py").write_text(SLOW)
    return tmp_path / "docs"


def test_stale_pages_are_named_and_then_written(folder, capsys):
    main = runpy.run_path(str(DOCS / "generate.py"))["main"]
    assert main(["--check"], folder) == 1
    assert not (folder / "one.md").exists()
    assert main([], folder) == 0
    assert [(folder / name).read_text() for name in ("one.md", "more/a.md", "more/b.md")] == ["one\n", "a", "b"]
    assert main(["--check"], folder) == 0
    (folder / "more" / "b.md").write_text("changed")
    capsys.readouterr()
    assert main(["--check"], folder) == 1
    assert capsys.readouterr().out == "stale  docs/more/b.md\n3 generators, 1 pages are stale\n"
    assert main(["--chekc"], folder) == 2


@pytest.mark.long
def test_no_page_of_ours_is_stale():
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_pictures_of_guides_are_what_their_script_draws():
    made = runpy.run_path(str(DOCS / "guides" / "generate_pictures.py"))["pages"]()
    for name, text in made.items():
        assert (DOCS / "guides" / name).read_text("utf-8") == text, "run python docs/generate.py"
