"""The SQL of the journal on every Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import orchestrator.journal.sqlite as package

FILES = sorted(Path(package.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_numbered_placeholders_which_python_3_14_refuses_are_not_used(file: Path) -> None:
    assert re.findall(r"\?\d", file.read_text("utf-8")) == []
