"""A file is changed by place: what is said beside the change stays, byte for byte."""

from __future__ import annotations

import pytest
import yaml

from orchestrator.forecast.policy_edit import CannotEdit, edited

FILE = """\
# ours
version: 1
strategy: weighted   # by share
weights: {groq: 0.5, "cerebras": 0.5}  # halves

tiers:
  worker:
    - groq/openai/gpt-oss-20b   # fast
    # the second one
    - cerebras/gpt-oss-120b     # dear
    - "mistral/mistral-small-latest"
  boss: [a/b, c/d:free,   # flow
         e/f]
providers:
  groq: {limits: [{metric: requests, amount: 30, window: 1m}]}
"""
WEIGHTS, WORKER, AMOUNT = ("weights",), ("tiers", "worker"), ("providers", "groq", "limits", 0, "amount")


GROQ, CEREBRAS = "- groq/openai/gpt-oss-20b   # fast", "- cerebras/gpt-oss-120b     # dear"
CASES = [
    ({WEIGHTS: {"groq": 0.25, "cerebras": 0.75}}, [("groq: 0.5", "groq: 0.25"), ('as": 0.5', 'as": 0.75')]),
    ({WEIGHTS: {"mistral": 0.1}}, [("0.5}  #", "0.5, mistral: 0.1}  #")]),
    ({AMOUNT: 20}, [("amount: 30", "amount: 20")]),
    ({("tiers", "boss"): ["e/f", "a/b", "c/d:free"]}, [("[a/b, c/d:free", "[e/f, a/b"), ("e/f]", "c/d:free]")]),
    ({("attempts", "per_turn"): 3}, [("tiers:\n", "attempts: {per_turn: 3}\ntiers:\n")]),
    (
        {WORKER: ["cerebras/gpt-oss-120b", "groq/openai/gpt-oss-20b", "mistral/mistral-small-latest"]},
        [(GROQ, "?"), (CEREBRAS, GROQ), ("?", CEREBRAS)],
    ),
]


@pytest.mark.parametrize(("changes", "replaced"), CASES)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_only_what_changes_is_written(changes, replaced, ends):
    wanted = FILE
    for before, after in replaced:
        assert wanted.count(before) == 1, before
        wanted = wanted.replace(before, after)
    assert edited(FILE.replace("\n", ends), changes).replace("\r\n", "\n") == wanted


def test_a_file_that_says_nothing_gets_lines():
    made = edited("", {("tiers",): {"worker": ["a/b"], "boss": ["c/*"]}, ("weights",): {"a": 0.5}})
    assert yaml.safe_load(made) == {"weights": {"a": 0.5}, "tiers": {"worker": ["a/b"], "boss": ["c/*"]}}
    inner = edited("title: x\npolicy:\n  tiers: {worker: [a/b]}\n", {("policy", "strategy"): "weighted"})
    assert inner == "title: x\npolicy:\n  strategy: weighted\n  tiers: {worker: [a/b]}\n"


def test_what_is_made_elsewhere_is_not_changed():
    text = "tiers:\n  worker: &all [a/b, c/d]\n  boss: *all\n"
    with pytest.raises(CannotEdit):
        edited(text, {("tiers", "boss"): ["c/d", "a/b"]})
    with pytest.raises(CannotEdit):
        edited(text, {("tiers", "worker"): ["c/d", "new"]})
