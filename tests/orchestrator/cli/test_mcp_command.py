"""MCP servers at the command line: what a run would start is told, asked for and listed; what changed is accepted."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from tests.mcp_servers.starting import LIAR

SERVED = """\
name: served
offline: always
mcp:
  t: {{command: [{python}, liar.py, well], env: {env}}}
agents:
  mary: {{persona: analyst, mcp: [t]}}
tasks:
  research: {{agent: mary, description: Research tea.}}
"""


def write(folder, env="{}"):
    (folder / "served.yaml").write_text(SERVED.format(python=sys.executable, env=env))


@pytest.fixture
def served(folder):
    shutil.copy(LIAR, folder / "liar.py")
    write(folder)
    return folder


def test_what_a_run_would_start_is_told_and_asked_for_again_when_it_changes(call, served):
    told = call("validate", "served.yaml")
    assert told.code == 0
    assert (
        f"a run would start the command {sys.executable} liar.py well (MCP server 't'), named by served.yaml"
        in told.err
    )
    assert call("tools", "ls", "served.yaml").out.count("t/*") == 1
    assert call("tools", "call", "t/t", "served.yaml").code == 4
    refused = call("run", "served.yaml")
    assert refused.code == 4
    assert "would run or ask what you have not allowed" in refused.err
    assert call("run", "served.yaml", "--dry-run").code == 0
    assert not (served / ".orchestrator").exists()
    assert call("run", "served.yaml", "--trust").code == 0
    assert call("run", "served.yaml").code == 0
    with (served / "liar.py").open("a") as script:
        script.write("\n# Another one.\n")
    assert call("run", "served.yaml").code == 4


@pytest.mark.long
def test_doctor_asks_the_servers_of_a_squad_for_their_tools_once_that_is_allowed(call, served):
    def of_servers(*options):
        rows = json.loads(call("doctor", "served.yaml", "--json", *options).out)
        return [(row["state"], row["text"]) for row in rows if row["check"] == "mcp"]

    assert of_servers() == [("ok", "served.yaml declares t: --online starts them, and asks for their tools")]
    [(state, text)] = of_servers("--online")
    assert (state, text.startswith("t is not started: the command ")) == ("warn", True)
    assert not (served / ".orchestrator" / "mcp-tools.json").exists()
    assert call("trust").code == 0
    assert of_servers("--online") == [("ok", "t: 1 tool, not pinned yet: the first run accepts them as they are then")]
    assert call("run", "served.yaml").code == 0
    assert of_servers("--online") == [("ok", "t: 1 tool, as they were accepted")]
    pins = served / ".orchestrator" / "mcp-tools.json"
    pins.write_text(pins.read_text().replace('"description": "d"', '"description": "was"'))
    assert of_servers("--online") == [("warn", "t: 1 tool, changed since they were accepted: t: another description")]
    (served / "served.yaml").write_text((served / "served.yaml").read_text().replace("well]", "exits]"))
    assert call("trust").code == 0
    assert [state for state, _ in of_servers("--online")] == ["fail"]


@pytest.mark.long
def test_the_tools_of_a_server_are_listed_and_accepted_as_they_are_now(call, served):
    assert call("trust").code == 0
    assert call("tools", "call", "t/t", "served.yaml").code == 7  # it is risky, and nobody is asked
    called = call("tools", "call", "t/t", "served.yaml", "--approve", "auto")
    assert (called.code, called.out) == (0, "well\n"), called.err
    assert "MCP server" in call("tools", "show", "t/t", "served.yaml").out
    assert call("tools", "show", "t/nix", "served.yaml").code == 5
    rows = json.loads(call("mcp", "ls", "served.yaml", "--json").out)
    assert [(row["server"], row["tool"], row["accepted"]) for row in rows] == [("t", "t", "not yet")]
    assert call("run", "served.yaml").code == 0
    assert "yes" in call("mcp", "ls", "served.yaml").out
    pins = served / ".orchestrator" / "mcp-tools.json"
    pins.write_text(pins.read_text().replace('"description": "d"', '"description": "was"'))
    changed = call("run", "served.yaml")
    assert changed.code == 1
    assert "its tools changed since they were accepted: t: another description" in changed.err
    assert "`orchestrator mcp accept served.yaml`" in changed.err
    assert "no: another description" in call("mcp", "ls", "served.yaml").out
    assert "accepted: t: t: another description" in call("mcp", "accept", "served.yaml").err
    assert "t: nothing changed" in call("mcp", "accept", "served.yaml", "t").err
    assert call("run", "served.yaml").code == 0
    assert call("mcp", "accept", "served.yaml", "u").code == 2


@pytest.mark.long
def test_a_variable_that_is_missing_is_told(call, served):
    write(served, env="[NO_SUCH_VARIABLE]")
    ended = call("run", "served.yaml", "--trust")
    assert ended.code == 4
    assert "MCP server 't': NO_SUCH_VARIABLE is not set\nhint: set it, or put it in .env" in ended.err
