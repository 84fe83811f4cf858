"""Python code of pages that is run as it stands: it needs no key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[1]
PAGES = ("streaming.md", "chat.md", "testing-squads.md", "observability.md")
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
BLOCKS = [
    pytest.param(code, id=f"{page}-{number}")
    for page in PAGES
    for number, code in enumerate(PYTHON.findall((ROOT / "docs" / "guides" / page).read_text("utf-8")))
]


@pytest.mark.long
@pytest.mark.parametrize("code", BLOCKS)
def test_the_code_of_a_page_runs(code: str, tmp_path: Path) -> None:
    script = tmp_path / "test_page.py"
    script.write_text(code, "utf-8")
    as_a_test = ["-m", "pytest", "-q"] if "(scripted)" in code else []  # it takes a fixture
    command = [sys.executable, "-W", "error", *as_a_test, str(script)]
    environ = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)}
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
