"""Tokens of a real engine as they come: llama.cpp, with a tiny model that writes noise within a schema."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from tests.e2e.command import orchestrator
from tests.e2e.test_real_engine import ROUTING, WORD
from tests.llama import Llama

pytestmark = [pytest.mark.e2e, pytest.mark.long]

SHAPE = {
    "type": "object",
    "properties": {"words": {"type": "array", "items": WORD, "minItems": 3, "maxItems": 5}},
    "required": ["words"],
    "additionalProperties": False,
}
TASK = {"description": "Say some words.", "output_schema": SHAPE}
SQUAD = {
    "version": 1,
    "name": "words",
    "agents": {name: {"persona": "analyst", "max_output_tokens": 300} for name in ("ann", "bob")},
    "tasks": {"a": {"agent": "ann", **TASK}, "b": {"agent": "bob", **TASK}},
    "outputs": {"a": "${{ tasks.a.output.words }}", "b": "${{ tasks.b.output.words }}"},
}


def test_what_is_told_while_it_comes_is_what_is_recorded_in_the_end(llama: Llama, tmp_path: Path):
    (tmp_path / "squad.yaml").write_text(yaml.safe_dump(SQUAD, sort_keys=False), "utf-8")
    (tmp_path / "agent_routing.yaml").write_text(yaml.safe_dump(ROUTING), "utf-8")
    env = {"LOCAL_BASE_URL": llama.base_url}
    ended = orchestrator("run", "squad.yaml", "--stream", "--json", "--run-id", "r", cwd=tmp_path, env=env)
    assert ended.code == 0, ended.err
    told: defaultdict[str, str] = defaultdict(str)
    pieces: defaultdict[str, int] = defaultdict(int)
    for delta in ended.of_type("delta"):
        if delta["anew"] or delta["kind"] == "restarted":
            told[delta["agent"]] = ""
        if delta["kind"] == "text":
            told[delta["agent"]] += delta["text"]
            pieces[delta["agent"]] += 1
    watched = orchestrator("runs", "watch", "r", "--stream", "--json", cwd=tmp_path, env=env)
    recorded = {one["agent"]: one["text"] for one in watched.of_type("delta") if one["kind"] == "text"}
    assert dict(told) == recorded
    assert set(told) == {"ann", "bob"}
    assert min(pieces.values()) > 1, "it came in pieces"
