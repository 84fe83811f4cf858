"""No test fails because a busy machine needs some seconds more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

GRACE_S = 10.0
WAITS = {"fail_after", "join", "wait", "communicate", "run", "check_output"}
"""Functions that give up after the seconds of their last argument, or of `timeout`."""


WRITTEN = re.compile(rf"\b(?:{'|'.join(WAITS)})\(\s*[\d.]|\btimeout\s*=\s*[\d.]")
"""What a file holds that has such a wait: most have none, and need not be parsed."""


def literal_waits(tree: ast.AST) -> Iterator[tuple[int, float]]:
    """Yield the line and the seconds of each wait whose end is written there as a number."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        seconds = [word.value for word in call.keywords if word.arg == "timeout"]
        if name in WAITS:
            for value in (*call.args[:1], *seconds):
                if isinstance(value, ast.Constant) and isinstance(value.value, (int, float)):
                    yield call.lineno, float(value.value)


def test_whoever_waits_for_something_has_patience() -> None:
    hasty = [
        f"{path.name}:{line} waits for {seconds:g} s"
        for path in sorted(Path(__file__).parent.rglob("*.py"))
        if WRITTEN.search(text := path.read_text("utf-8"))
        for line, seconds in literal_waits(ast.parse(text))
        if seconds < GRACE_S
    ]
    assert hasty == [], "see tests/patience.py"
