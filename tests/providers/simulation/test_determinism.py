"""The same scenario and seed give the same decision log byte for byte, in any process."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys

import pytest

from providers.simulation import load_scenario, simulate
from tests.patience import PATIENCE_S

TELL = """
import sys
from dataclasses import replace
from providers.simulation import load_scenario, simulate
scenario = load_scenario(sys.argv[1])
load = [replace(each, count=each.count // 10, over=each.over / 10) for each in scenario.load]
report = simulate(scenario, load=load, log=sys.stdout.buffer)
sys.stderr.write(report.digest)
"""


def run(name: str, hash_seed: str) -> tuple[bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-c", TELL, name],
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        timeout=PATIENCE_S,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.long
def test_two_processes_write_the_same_log():
    for name in ("shared-limits", "availability", "outage"):
        log, digest = run(name, "1")
        assert (log, digest) == run(name, "2")
        assert hashlib.sha256(log).hexdigest().encode() == digest
        assert log.count(b"\n") > 400


@pytest.mark.long
def test_the_digest_is_the_same_without_a_log_and_another_with_another_seed():
    scenario, log = load_scenario("outage"), io.BytesIO()
    written = simulate(scenario, log=log)
    assert simulate(scenario) == written
    assert log.getvalue().count(b"\n") == written.decisions
    assert simulate(scenario, seed=2).digest != written.digest
