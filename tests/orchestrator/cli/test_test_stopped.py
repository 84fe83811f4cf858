"""`test` against a server, ended in the middle: what was paid for is kept and told, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.orchestrator.cli.test_chat import routing
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")]
SQUAD = """\
name: one
workspace: {path: ., write: true}
agents: {ann: {role: Writes., tier: worker}}
tasks: {write: {agent: ann, description: "Write."}}
"""
TESTS = "squad: one.yaml\nrecording: rec\ncases: [{name: first}, {name: second}, {name: third}]\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_test_that_is_stopped(folder, loopback: Loopback, number: int, code: int, tmp_path: Path) -> None:
    (folder / "agent_routing.yaml").write_text(routing(loopback.url("ok", "hang")))
    (folder / "one.yaml").write_text(SQUAD)
    (folder / "one.test.yaml").write_text(TESTS)
    own = tmp_path / "temporary"
    own.mkdir()
    given = {"PYTHONPATH": str(Path(__file__).parents[3]), "LM_API_KEY": "k-loopback", "TMPDIR": str(own)}
    command = [sys.executable, "-m", "orchestrator", "--trust", "test", "one.yaml", "--record", "--junit", "j.xml"]
    with subprocess.Popen(
        command, env={**os.environ, **given}, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        loopback.wait_for(2)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, err
    assert [file.name for file in (folder / "rec").iterdir()] == ["first.json"]
    if number == signal.SIGKILL:
        return
    assert out == "1 case: 1 passed\n", err
    assert "2 cases were not run to the end" in err
    names = [case.get("name") for case in ET.parse(folder / "j.xml").iter("testcase")]
    assert names == ["first"]
    assert [file.name for file in own.iterdir() if not file.name.startswith("orchestrator-")] == []
