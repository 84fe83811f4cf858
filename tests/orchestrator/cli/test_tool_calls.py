"""Calls of tools are shown with what was asked and what came of it: at work, by `runs show` and by `explain`."""

from __future__ import annotations

import json

from orchestrator.run.tool_calls import ShownCall, call_text, clipped
from tests.orchestrator.vendors import Vendors

SQUAD = """\
name: reads
agents: {mary: {persona: {name: Mary, role: Reads.}, tools: [read_file]}}
tasks: {look: {agent: mary, description: Look.}}
"""
ROUTING = """\
tiers: {{worker: [lab/m]}}
last_resort: []
providers:
  lab: {{dialect: openai-chat, base_url: "{url}", models: {{m: {{context: 90000, max_output: 900, tools: true}}}}}}
"""
CALL = 'read_file({"path": "none.md"})'


def test_a_call_is_shown_with_its_arguments_and_its_error(call, folder):
    (folder / "reads.yaml").write_text(SQUAD)
    with Vendors().serving() as vendors:
        (folder / "agent_routing.yaml").write_text(ROUTING.format(url=vendors.root))
        done = call("run", "reads.yaml", "--run-id", "r-1", "--json")
    assert done.code == 0, done.err
    assert f"look: calls {CALL}" in done.err
    assert "look: read_file failed (" in done.err
    events = {event["type"]: event for event in map(json.loads, done.out.splitlines())}
    assert events["tool.started"]["arguments"] == '{"path": "none.md"}'
    assert events["tool.ended"]["result"].startswith("read_file failed: FileNotFoundError")
    shown, explained = call("runs", "show", "r-1").out, call("explain", "look").out
    assert f"tool: look/try-1, turn 1: {CALL}: read_file failed: " in shown
    assert f"  tool: {CALL}: read_file failed: " in explained
    assert f"  tool: {CALL}: read_file failed: " in call("explain", "look", "-v").out


def test_that_a_person_changed_the_arguments_is_shown():
    note = "A person changed the arguments of this call before it was made, to: {}"
    shown = ShownCall("a/try-1", 1, "pay", '{"to": "ann"}', "paid bob", False, note)
    assert shown.line() == f'pay({{"to": "ann"}}) answered: paid bob [{note}]'
    assert shown._replace(note=note + "x" * 999).line(20).endswith(f" [{note[:40].rstrip()}…]")


def test_what_is_long_is_cut_between_characters_as_people_see_them():
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert clipped(family * 5, 3) == family * 3 + "…"
    assert clipped("a\n  b", 10) == "a b"
    assert clipped("a\n  b", None) == "a\n  b"
    assert call_text("f", '{"x": 1}', 40) == 'f({"x": 1})'
