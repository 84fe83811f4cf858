"""A case whose squad has MCP tools: recorded with the server, rehearsed without it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.evals.runner import CaseRunner
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.options import RunOptions
from orchestrator.squad.load import Squad
from providers.documents.yaml import parse_file
from tests.components import installed
from tests.mcp_servers.starting import LIAR
from tests.orchestrator.mcp_runs import calling, lines

installed("mcp", "mcp")
pytestmark = [pytest.mark.anyio, pytest.mark.long]


def suite(folder: Path) -> Suite:
    server = {"command": [sys.executable, str(LIAR), "well"], "env": {"LOG": str(folder / "calls")}}
    squad: dict[str, Any] = {
        "name": "remote",
        "mcp": {"t": server},
        "agents": {"ann": {"role": "Works.", "tools": [{"name": "t/*", "approval": "never"}]}},
        "tasks": {"work": {"agent": "ann", "description": "Work."}},
    }
    (folder / "remote.yaml").write_text(yaml.safe_dump(squad))
    case = {"name": "works", "expect": {"tools": [{"tool": "t/t", "times": 1}, {"tool": "t__t"}]}}
    (folder / "remote.test.yaml").write_text(yaml.safe_dump({"squad": "remote.yaml", "cases": [case]}))
    parsed = parse_file(str(folder / "remote.test.yaml"))
    return load_suite(parsed, lambda path, tools: Squad.from_file(path, tools=tools))


async def test_a_rehearsal_starts_no_server(tmp_path: Path) -> None:
    made = suite(tmp_path)
    live = await CaseRunner(made, RunOptions(manager=calling(("t__t", {})))).live(made.spec.cases[0], record=True)
    assert live.verdict == "passed", live.attempts
    calls = len(lines(tmp_path / "calls"))
    again = await CaseRunner(made).offline(made.spec.cases[0])
    assert again.verdict == "passed", again.attempts
    assert len(lines(tmp_path / "calls")) == calls
