"""`simulate` as people start it: in a process of its own, on any console, with no key at all."""

from __future__ import annotations

import pytest

from tests.e2e.command import ESCAPE, files_below, orchestrator
from tests.e2e.test_text import CONSOLES, consoles

SCENARIO = """\
title: "Über die Straße 🚲 \\x1b[31m"
policy: {tiers: {worker: [groq/openai/gpt-oss-20b]}}
providers: {groq: {}}
load: [{count: 5, over: 1m, agents: [naïve]}]
claims: [{text: alle fünf, of: answered, exactly: 5}]
"""


@pytest.mark.long
def test_a_simulation_is_the_same_bytes_in_every_process(tmp_path):
    (tmp_path / "ride.yaml").write_text(SCENARIO, "utf-8")
    asks = ("simulate", "ride.yaml", "--chart", "ride.svg", "--log", "ride.log")
    first = orchestrator(*asks, cwd=tmp_path, env={"PYTHONHASHSEED": "1"})
    files = files_below(tmp_path)
    second = orchestrator(*asks, cwd=tmp_path, env={"PYTHONHASHSEED": "2"})
    assert first == second
    assert (first.code, first.stderr) == (0, b"")
    assert files_below(tmp_path) == files
    assert files.keys() == {"ride.yaml", "ride.svg", "ride.log"}  # nothing else: no state, no ledger


@consoles
@pytest.mark.few(1)
def test_a_report_is_readable_on_any_console(tmp_path, console):
    (tmp_path / "ride.yaml").write_text(SCENARIO, "utf-8")
    ended = orchestrator("simulate", "ride.yaml", cwd=tmp_path, env=CONSOLES[console])
    assert ended.code == 0
    assert ESCAPE.search(ended.stdout) is None
    assert b"5 answered in time" in ended.stdout
    assert ended.stderr == b""
