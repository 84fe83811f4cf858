"""stdout and stderr that are closed or full: told, with an exit code, and nothing recorded is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is needed")
ROOT = str(Path(__file__).parents[3])
FULL, CLOSED, STDERR_FULL, STDERR_CLOSED = ">/dev/full", ">&-", "2>/dev/full", "2>&-"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    line = f"{sys.executable} -m orchestrator {command}"
    environ = {**os.environ, "PYTHONPATH": ROOT}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environ, timeout=PATIENCE_S)


def ended_badly(done: subprocess.CompletedProcess[str], why: str) -> None:
    assert done.returncode == 1, done
    assert f"stdout cannot be written: {why}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize(("where", "why"), [(FULL, "No space left"), (CLOSED, "it is closed")])
@pytest.mark.few(1)
def test_results_that_are_lost_are_told_and_the_run_is_recorded(call, folder, where, why):
    ended_badly(shell(f"run squad.yaml --offline --run-id r {where}"), why)
    assert [line["status"] for line in json.loads(call("runs", "ls", "--json").out)] == ["done"]


def test_a_command_that_drives_no_run_speaks_of_none():
    done = shell(f"completion bash {FULL}")
    ended_badly(done, "No space left")
    assert "hint" not in done.stderr
    assert "`orchestrator runs resume`" in shell(f"run squad.yaml --offline {FULL}").stderr


@pytest.mark.long
def test_a_run_goes_on_where_its_log_is_lost(call, folder):
    done = shell(f"run squad.yaml --offline --run-id r --log-format json {STDERR_FULL}")
    assert done.returncode == 0, "all its results are there"
    assert "brief.md" in done.stdout, "the run went on, unwatched"
    assert [line["status"] for line in json.loads(call("runs", "ls", "--json").out)] == ["done"]


@pytest.mark.long
@pytest.mark.parametrize(("where", "why"), [(FULL, "No space left"), (CLOSED, "it is closed")])
@pytest.mark.parametrize(
    "command",
    [
        "runs show r",
        "runs show r --json",
        "runs ls",
        "runs ls --json",
        "runs watch r",
        "runs watch r --json",
        "runs replay r",
        "runs export r",
        "explain r research",
        "spending",
        "approvals ls --json",
        "validate squad.yaml --format json",
        "graph squad.yaml",
        "config squad.yaml",
        "personas ls",
        "providers ls",
        "run squad.yaml --offline --json",
        "run squad.yaml --offline --dry-run",
        "run squad.yaml --offline --log-format json",
        "--version",
        "--help",
        "schema",
    ],
)
def test_what_any_command_loses_is_told(call, folder, command, where, why):
    assert call("run", "squad.yaml", "--offline", "--run-id", "r").code == 0
    ended_badly(shell(f"{command} {where}"), why)


@pytest.mark.long
@pytest.mark.parametrize(
    "command", ["run squad.yaml --offline", "run squad.yaml --offline --json", "runs ls", "nothing"]
)
def test_without_stderr_nothing_breaks(call, folder, command):
    for where in (STDERR_FULL, STDERR_CLOSED, f"{CLOSED} {STDERR_CLOSED}", f"{FULL} {STDERR_FULL}"):
        call("run", "squad.yaml", "--offline", "--run-id", "r")
        done = shell(f"{command} {where}")
        fine = 0 if where in (STDERR_CLOSED, STDERR_FULL) else 1
        assert done.returncode == (2 if command == "nothing" else fine), (where, done)
        assert "Traceback" not in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("command", ["run squad.yaml --offline --json", "runs show r --json", "runs ls"])
def test_a_reader_that_has_enough_ends_it_quietly(call, folder, command):
    call("run", "squad.yaml", "--offline", "--run-id", "r")
    done = shell(f"{command} -q | head -n 1; exit ${{PIPESTATUS[0]}}")
    assert done.returncode in (0, 130), "130: it was interrupted; 0: it had written all before"
    assert done.stderr == ""
