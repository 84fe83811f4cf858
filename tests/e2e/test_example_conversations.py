"""The example of every pattern, offline, as its first line says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import ROOT, orchestrator


@pytest.mark.long
def test_the_example_of_conversations_runs_offline_and_replays(tmp_path: Path) -> None:
    done = orchestrator("run", str(ROOT / "examples" / "conversations.yaml"), "--run-id", "ex", cwd=tmp_path)
    told = (done.stdout + done.stderr).decode()
    assert done.code == 0, told
    assert "done  (7 ok)" in told
    assert "could not be followed" not in told
    replayed = orchestrator("runs", "replay", "ex", cwd=tmp_path)
    assert b"equal" in replayed.stdout + replayed.stderr
