"""A search finds what was planted, says so where nothing is better, and shows what seeds that it did not see say."""

from __future__ import annotations

import pytest

from orchestrator.forecast.moves import NothingToTune
from orchestrator.forecast.tuning import Search, Tuned
from providers.documents.yaml import mapping_in
from providers.simulation.scenario_file import parse_scenario

HEAD = """\
title: Planted
policy:
  last_resort: []
"""
ORDER = (
    HEAD
    + """\
  tiers:
    worker:
      - cerebras/gpt-oss-120b     # dear, and it fails
      - groq/openai/gpt-oss-20b   # cheap
providers:
  groq: {}
  cerebras: {errors: {server: 30%}}
load:
  - {count: 40, over: 1h, tier: worker}
"""
)
WEIGHTS = ORDER.replace("  last_resort: []\n", "  strategy: weighted\n  weights: {groq: 0.1, cerebras: 0.9}\n")
LIMITS = (
    HEAD
    + """\
  tiers: {worker: [groq/openai/gpt-oss-20b, cerebras/gpt-oss-120b]}
  attempts: {per_turn: 1}
  providers:
    groq: {limits: [{metric: requests, amount: 60, window: 1m}]}   # what the vendor says
providers:
  groq: {hidden_limits: [{metric: requests, amount: 20, window: 1m}]}   # what it does
  cerebras: {}
load:
  - {count: 400, over: 10m, tier: worker}
"""
)


def searched(text: str, knob: str, budget: int = 60) -> Tuned:
    def build(text: str):
        return parse_scenario(mapping_in(text, "planted.yaml"), "planted")

    return Search(text, ("policy",), build, knob, seed=1, budget=budget).run()


def test_the_cheaper_order_is_found_and_comments_stay():
    found = searched(ORDER, "order", 12)
    lines = ORDER.splitlines(keepends=True)
    assert found.text == "".join([*lines[:5], lines[6], lines[5], *lines[7:]])
    assert found.after[0].cost < found.before[0].cost
    assert found.runs <= 12
    assert not found.overfit


UNKNOWN = ORDER.replace("groq: {}", "mistral: {}").replace("cerebras: {e", "openai: {e")
UNSTATED = LIMITS.replace("{limits: [{metric: requests, amount: 60, window: 1m}]}", "{plan: free}", 1)
PINNED = ORDER.replace("tier: worker", "model: groq/openai/gpt-oss-20b")


@pytest.mark.parametrize(("text", "knob"), [(UNKNOWN, "order"), (UNSTATED, "limits"), (PINNED, "weights")])
@pytest.mark.few(1)
def test_where_nothing_could_be_another_it_is_said(text, knob):
    with pytest.raises(NothingToTune):
        searched(text, knob)


@pytest.mark.long
def test_the_better_weight_and_the_true_limit_are_found():
    weights = searched(WEIGHTS, "weights")
    assert weights.text is not None
    policy = mapping_in(weights.text, "").plain()["policy"]
    assert policy["weights"]["groq"] > 0.5
    assert sum(policy["weights"].values()) == pytest.approx(1.0)
    assert weights.text == searched(WEIGHTS, "weights").text, "the same seed finds the same file"
    limits = searched(LIMITS, "limits")
    assert limits.text is not None
    (limit,) = mapping_in(limits.text, "").plain()["policy"]["providers"]["groq"]["limits"]
    assert limit["amount"] < 40
    assert limits.after[0].failed < limits.before[0].failed
    assert "# what the vendor says" in limits.text


@pytest.mark.long
def test_a_file_that_is_as_good_as_any_stays():
    best = ORDER.replace("cerebras: {errors: {server: 30%}}", "cerebras: {}")
    lines = best.splitlines(keepends=True)
    found = searched("".join([*lines[:5], lines[6], lines[5], *lines[7:]]), "order")
    assert (found.text, found.tried) == (None, 1)


@pytest.mark.long
def test_a_raised_limit_is_no_way_out():
    """What a file states is what its vendor allows: to state more brings refusals, not room."""
    found = searched(LIMITS.replace("{hidden_limits: [{metric: requests, amount: 20, window: 1m}]}", "{}"), "limits")
    assert found.text is None or "amount: 60" not in found.text
    before, after = found.before[0], found.after[0]
    assert (after.cost, after.failed) <= (before.cost, before.failed)
    assert after.providers["groq"].answers <= 60 * 11, "no more than the vendor allows in ten minutes and a window"
