"""The examples, and the commands that their first lines give."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.e2e.command import ROOT

EXAMPLES = ROOT / "examples"
COMMAND = re.compile(r"(?:Run: |`)python -m orchestrator ([^`\n]+)")


def commands(file: Path) -> list[list[str]]:
    """Return what the comment at the beginning of an example says to type."""
    lines = file.read_text("utf-8").splitlines()
    head = "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))])
    return [shlex.split(found[1].rstrip(".")) for found in COMMAND.finditer(head)]


def first_run(name: str) -> list[str]:
    return next(command for command in commands(EXAMPLES / name) if command[0] == "run")
