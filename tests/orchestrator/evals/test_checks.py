"""Whether a run is as expected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.evals.checks import checks_of, fits
from orchestrator.evals.expect import Expect
from orchestrator.evals.facts import ConversationFact, RunFacts, TaskFact, ToolFact

STORIES = [{"id": "S-1", "text": "Given a cart When it is full Then it says so"}, {"id": "S-2", "text": "Given ..."}]
FACTS = RunFacts(
    run_id="r",
    status="done",
    cost=0.25,
    tokens=5000,
    turns=9,
    seconds=12.0,
    failovers=1,
    stub=False,
    outputs={"brief": "# Brief\n\nThe customers pay 5 EUR.", "n": 3},
    tasks={
        "brief": TaskFact("ok", "# Brief\n\nThe customers pay 5 EUR."),
        "stories": TaskFact("ok", STORIES),
        "each": TaskFact("ok", ["a", "b"], items={"x": "alpha", "y": "beta"}),
        "build": TaskFact("skipped", error="its if does not hold"),
        "broken": TaskFact("failed", error="no answer within 5 s", error_kind="TaskTimedOut"),
    },
    spoke=("ann", "ann", "bob", "cid", "dan", "ann"),
    tools=(
        ToolFact("dev", "write_file", {"path": "src/app/main.py", "content": "x"}, True, "wrote", "build"),
        ToolFact("dev", "run_tests", {}, False, "2 failed", "build"),
        ToolFact("qa", "read_file", {"path": "README.md", "limit": 3}, True, "text", "test"),
    ),
    conversations=(ConversationFact("plan", ("pm", "dev", "pm"), ("a", "b", "a"), "text", "meet"),),
    files={"docs/brief.md": "# Brief\n", "docs/deep/x.md": "x", "raw.bin": None},
)


def failed(**expect: Any) -> list[str]:
    checks = checks_of(Expect.model_validate(expect), FACTS, {"s.json": {"type": "array", "minItems": 3}})
    assert all(check.message for check in checks if not check.ok)
    return [".".join(map(str, check.path)) for check in checks if not check.ok]


HOLD = [
    {"run": {"cost": "<= 0.25", "tokens": "..5000", "turns": "1..9", "time": "10s..15s", "failovers": ">= 1"}},
    {
        "tasks": {
            "brief": {"output": {"contains": ["# Brief", "EUR"], "lacks": "USD", "words": "3..9", "chars": "..99"}}
        }
    },
    {"tasks": {"brief": {"output": {"matches": r"(?i)CUSTOMERS pay \d", "never_matches": "never"}}}},
    {"tasks": {"stories": {"items": 2, "output": {"items": 2, "at": {"0.id": {"equals": "S-1"}, "-1.id": {}}}}}},
    {"tasks": {"stories": {"each": {"contains": "Given", "schema": {"type": "object", "required": ["id"]}}}}},
    {"tasks": {"each": {"items": 2, "each": {"matches": "a$"}}}},
    {"tasks": {"build": {"status": "skipped"}, "broken": {"status": "failed", "error": {"contains": "5 s"}}}},
    {"outputs": {"n": {"number": "> 2", "equals": 3}}},
    {"turns": ["ann", "cid"]},
    {"turns": ["ann", {"any_order": ["cid", "bob"]}, "ann"]},
    {"turns": {"exactly": ["ann", "bob", "cid", "dan", "ann"]}},
    {"tools": [{"agent": "dev", "tool": "write_file", "args": {"path": "src/**"}, "times": 1, "before": "run_tests"}]},
    {"tools": [{"never": ["http_*", "run_command"]}, {"tool": "run_tests", "ok": False}]},
    {"tools": [{"tool": "read_file", "args": {"limit": 3}}, {"tool": "write_file", "agent": "qa", "times": 0}]},
    {"conversations": {"plan": {"turns": "<= 3", "speakers": ["dev", "pm"], "repeats": 1, "ended_by": "text"}}},
    {"conversations": {"plan": {"order": ["pm", "dev"]}}},
    {"files": {"docs/*.md": {"contains": "# Brief"}, "**/*.env": {"exists": False}, "raw.bin": {}, "**/x.md": {}}},
    {"secrets": "none"},
]
MISS = [
    ({"run": {"status": "failed"}}, ["run.status"]),
    ({"run": {"cost": "< 0.25", "turns": 8}}, ["run.cost", "run.turns"]),
    ({"tasks": {"brief": {"output": {"contains": "gone", "lacks": "EUR"}}}}, ["contains", "lacks"]),
    ({"tasks": {"brief": {"output": {"equals": None}}}}, ["tasks.brief.output.equals"]),
    ({"tasks": {"brief": {"output": {"schema": {"type": "object"}}}}}, ["tasks.brief.output.schema"]),
    ({"tasks": {"brief": {"output": {"items": 1, "number": 1, "each": {}}}}}, ["items", "number", "each"]),
    (
        {"tasks": {"stories": {"output": {"schema": "s.json", "at": {"5.id": {}, "0.id.x": {}}}}}},
        ["schema", "5.id", "x"],
    ),
    ({"tasks": {"stories": {"each": {"contains": "When"}}}}, ["each.contains"]),
    ({"tasks": {"build": {}, "broken": {}}}, ["tasks.build.status", "tasks.broken.status"]),
    ({"outputs": {"n": {"equals": True}, "m": {}}}, ["outputs.n.equals", "outputs.m"]),
    ({"turns": ["bob", "bob"]}, ["turns.1"]),
    ({"turns": [{"any_order": ["dan", "eve"]}]}, ["turns.0"]),
    ({"turns": {"exactly": ["ann"]}}, ["turns.exactly"]),
    ({"tools": [{"tool": "run_tests", "before": "write_file"}]}, ["tools.0.before"]),
    (
        {"tools": [{"never": "read_*"}, {"tool": "write_file", "args": {"path": "lib/**"}}]},
        ["tools.0.never", "tools.1.times"],
    ),
    ({"tools": [{"tool": "write_file", "args": {"mode": "x"}}]}, ["tools.0.times"]),
    (
        {"conversations": {"plan": {"turns": 2, "speakers": ["pm"], "repeats": 0, "ended_by": "max_turns"}}},
        ["plan"] * 4,
    ),
    ({"conversations": {"plan": {"order": ["dev"]}, "other": {}}}, ["plan.order", "other"]),
    (
        {"files": {"nope.md": {}, "docs/*.md": {"exists": False}, "raw.bin": {"contains": "x"}}},
        ["nope", "exists", "raw"],
    ),
]


@pytest.mark.parametrize("expect", HOLD)
def test_what_holds(expect: dict[str, Any]) -> None:
    assert failed(**expect) == []


@pytest.mark.parametrize(("expect", "paths"), MISS)
def test_what_does_not_hold(expect: dict[str, Any], paths: list[str]) -> None:
    found = failed(**expect)
    assert len(found) == len(paths)
    assert all(part in path for part, path in zip(paths, found, strict=True))


def test_a_run_that_says_nothing_of_a_status_must_be_done() -> None:
    checks = checks_of(Expect(), replace(FACTS, status="failed"), {})
    assert [(check.path, check.ok) for check in checks] == [(("run", "status"), False)]
    assert "broken: no answer within 5 s" in checks[0].message


def test_a_cost_that_is_not_known_is_within_no_cap() -> None:
    checks = checks_of(Expect.model_validate({"run": {"cost": "<= 9"}}), replace(FACTS, cost=None), {})
    assert [check.path for check in checks if not check.ok] == [("run", "cost")]


def test_a_key_anywhere_is_found() -> None:
    key = "sk-" + "a1B2" * 8
    for leaky in (
        replace(FACTS, outputs={"x": f"use {key}"}),
        replace(FACTS, files={"a.env": f"KEY={key}"}),
        replace(FACTS, tools=(ToolFact("a", "http_get", {"url": f"https://x/?key={key}"}, True, "", "t"),)),
    ):
        checks = checks_of(Expect.model_validate({"secrets": "none"}), leaky, {})
        assert [check.path for check in checks if not check.ok] == [("secrets",)]
        assert key not in "".join(check.message for check in checks)


@pytest.mark.long
def test_a_pattern_that_does_not_end_is_stopped() -> None:
    text = replace(FACTS, tasks={"brief": TaskFact("ok", "a" * 20_000)})
    wanted = {"output": {"matches": r"^(([a-z])+.)+[A-Z]([a-z])+$"}}
    checks = checks_of(Expect.model_validate({"tasks": {"brief": wanted}}), text, {})
    assert "took more than 1 s" in checks[-1].message


@pytest.mark.parametrize(
    ("pattern", "text", "is_so"),
    [
        ("src/**", "src/a/b.py", True),
        ("src/*", "src/a/b.py", False),
        ("**/*.py", "b.py", True),
        ("*.py", "src/b.py", False),
        ("src/**/b.py", "src/b.py", True),
        ("src/**/b.py", "src/ab.py", False),
        ("a[1].txt", "a[1].txt", True),
        ("read_*", "read_file", True),
        ("Plans *", "Plans a shop", True),
    ],
)
def test_patterns_are_those_of_file_names(pattern: str, text: str, is_so: bool) -> None:
    assert fits(pattern, text) is is_so
