"""The page of exit codes: made from the table, and each command on it ends as it says."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from orchestrator.cli.exits import ADVICE, Exit

REFERENCE = Path(__file__).parents[3] / "docs/reference"
PAGE = (REFERENCE / "exit-codes.md").read_text("utf-8")
BY_SIGNALS = {Exit.INTERRUPTED, Exit.TERMINATED}  # test_stops.py and test_serve_stops.py send them
SHOWN = [code for code in Exit if ADVICE[code].shown_by and code not in BY_SIGNALS]


def test_the_page_is_what_the_code_says() -> None:
    made = runpy.run_path(str(REFERENCE / "generate_exit_codes.py"))
    assert set(made["said_of_codes"]()) == set(Exit) == set(ADVICE)
    assert made["page"]() == PAGE, "run python docs/reference/generate_exit_codes.py"


@pytest.mark.parametrize("code", SHOWN, ids=lambda code: code.name)
def test_a_command_that_shows_a_code_ends_with_it(call, folder, monkeypatch, code: Exit) -> None:
    for name, text in re.findall(r"```yaml[ \w]*\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        (folder / name).write_text(text)
    words = shlex.split(ADVICE[code].shown_by.partition(" < ")[0])
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words[0] == "orchestrator"
    assert call(*words[1:]).code == code
