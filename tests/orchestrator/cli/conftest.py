"""A folder of one's own, and the command line called in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from orchestrator.__main__ import main
from tests.patience import PATIENCE_S

SQUAD = """\
name: pair
offline: auto
inputs:
  idea: {type: string, default: tea}
  copies: {type: integer, default: 1}
agents:
  mary: {persona: analyst}
  paige: {persona: tech-writer}
tasks:
  research: {agent: mary, description: "Research ${{ inputs.idea }}, ${{ inputs.copies }} times."}
  brief: {agent: paige, needs: [research], description: Write it down., output_file: brief.md}
outputs:
  file: ${{ tasks.brief.output_file }}
"""
GATED = """\
name: gated
offline: auto
agents:
  mary: {persona: analyst}
tasks:
  research: {agent: mary, description: Research tea.}
  approve: {needs: [research], approval: {prompt: Good enough?, show: [research]}}
outputs:
  choice: ${{ tasks.approve.output.choice }}
"""


class UnitResult(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder without keys in the environment."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_API_TOKEN", "_BASE_URL")) or name.startswith("ORCHESTRATOR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ORCHESTRATOR_LOCAL_SERVERS", "off")
    monkeypatch.setenv("ORCHESTRATOR_TRUST_FILE", str(tmp_path / "home" / "trust.json"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "squad.yaml").write_text(SQUAD)
    (tmp_path / "gated.yaml").write_text(GATED)
    return tmp_path


@pytest.fixture
def call(capsys):
    """Return a function that runs a command in this process."""

    def run(*arguments: str) -> UnitResult:
        code = main(list(arguments))
        captured = capsys.readouterr()
        return UnitResult(code, captured.out, captured.err)

    return run


@pytest.fixture
def spawn():
    """Return a function that runs a command in a process of its own, with bytes for streams: one that is forked, where
    the interpreter need not start in another way."""

    def run(*arguments: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
        if not environ and sys.platform != "win32":
            from tests.e2e.command import AT_START, forked

            given = {name: value for name, value in os.environ.items() if not AT_START.match(name)}
            ended = forked(arguments, Path.cwd(), given, stdin)
            return subprocess.CompletedProcess(arguments, ended.code, ended.stdout, ended.stderr)
        root = str(Path(__file__).parents[3])
        path = os.pathsep.join(filter(None, (environ.pop("FIRST", ""), root)))
        command = [sys.executable, "-m", "orchestrator", *arguments]
        env = {**os.environ, "PYTHONPATH": path, **environ}
        return subprocess.run(command, input=stdin, capture_output=True, env=env, timeout=PATIENCE_S)

    return run
