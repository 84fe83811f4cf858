"""Another distribution's package `agents` is told from ours, also where importing it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from orchestrator.cli.our_packages import strange_agents
from tests.patience import PATIENCE_S

LOOK = "from orchestrator.cli.our_packages import strange_agents as s; print(s())"


def test_our_own_package_is_ours() -> None:
    assert strange_agents() is None


def test_one_that_cannot_even_be_imported_is_told(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/__init__.py").write_text("import a_package_that_is_not_there\n", "utf-8")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])}
    command = [sys.executable, "-c", LOOK]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path)
    assert "is not part of squad-orchestrator" in done.stdout, done.stderr
