"""The formulas and the simulation are one model: they agree wherever nothing is near its end, and on what is first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from providers.simulation import simulate
from providers.simulation.cluster.advice import advice
from providers.simulation.cluster.capacity import capacity_of
from providers.simulation.cluster.model import Cluster
from tests.providers.simulation.cluster.scenarios import clustered

WITHIN = 0.05
"""By how much a share of the formulas may be off, of itself; where it is small, 1.5 points: queues are not in them."""
SIZES: dict[str, dict[str, Any]] = {
    "usual": {"workers": 3},
    "one worker": {"workers": 1, "tasks": 100},
    "tasks one after the other": {"workers": 3, "run": {"tasks": 6, "turns": 3, "at_once": 1}},
    "tasks a few at a time": {"workers": 3, "run": {"tasks": 10, "turns": 3, "at_once": 3}},
    "a turn a run": {"workers": 3, "run": {"tasks": 1, "turns": 1, "at_once": 1}},
    "busy cores": {"workers": 2, "cpu": "20ms"},
    "a slow database": {"workers": 4, "postgres": {"begin": "5ms", "finish": "20ms"}},
    "a slow Redis": {"workers": 4, "redis": {"check": "8ms"}},
    "limits in PostgreSQL": {"workers": 4, "ledger": "postgres", "postgres": {"check": "6ms"}},
    "limits in PostgreSQL, each flushed": {
        "workers": 4,
        "ledger": "postgres",
        "postgres": {"flush": "8ms", "check_is_flushed": True},
    },
    "limits that are split": {"workers": 4, "ledger": "split"},
    "many that are woken": {"workers": 1000, "postgres": {"max_connections": 10_000}},
    "many that look by themselves": {"workers": 1000, "wakes": "none", "postgres": {"max_connections": 10_000}},
    "too few connections": {"workers": 40},
}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.few(5)
def test_formulas_agree_with_the_simulation(name: str) -> None:
    use = simulate(clustered(**SIZES[name])).cluster
    assert use is not None
    assert use.reached == pytest.approx(use.offered, rel=0.05)
    assert {each: of.planned for each, of in use.resources.items()} == {
        each: pytest.approx(of.used, rel=WITHIN, abs=0.015) for each, of in use.resources.items()
    }


SHORT: dict[str, dict[str, Any]] = {
    "task slots": {"workers": 1, "tasks": 15, "runs": 500},
    "run slots": {"workers": 1, "tasks": 500, "runs": 4},
    "worker CPU": {"workers": 1, "tasks": 500, "runs": 500, "cpu": "45ms"},
    "connections in use": {"workers": 1, "tasks": 500, "runs": 500, "postgres": {"flush": "80ms"}},
    "PostgreSQL": {"workers": 4, "postgres": {"cores": 1, "begin": "20ms", "finish": "20ms"}},
    "limit rows": {"workers": 4, "ledger": "postgres", "postgres": {"check_is_flushed": True, "flush": "20ms"}},
    "Redis": {"workers": 4, "redis": {"check": "20ms"}},
    "providers": {"workers": 4, "limits": ({"metric": "requests", "amount": 1500, "window": "1m"},)},
}


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.few(3)
def test_what_is_short_is_said_first_and_carries_what_the_formulas_say(name: str) -> None:
    scenario = clustered(**SHORT[name])
    use = simulate(scenario).cluster
    assert use is not None
    assert scenario.cluster is not None
    carries = capacity_of(scenario, scenario.cluster).carries * 3600
    assert (use.first, use.advice[0].partition(":")[0]) == (name, name)
    assert carries < 0.95 * use.offered
    assert use.reached == pytest.approx(carries, rel=0.1)
    assert use.resources[name].used > 0.95


def test_a_second_redis_and_more_cores_carry_more() -> None:
    scenario = clustered(more=("cerebras/gpt-oss-120b",), redis={"check": "20ms"})
    usual = capacity_of(scenario, Cluster())
    assert capacity_of(scenario, replace(Cluster(), redis=replace(Cluster().redis, servers=2))).needs[
        "Redis"
    ].most == pytest.approx(2 * usual.needs["Redis"].most)
    more = replace(Cluster(), postgres=replace(Cluster().postgres, cores=8))
    assert capacity_of(scenario, more).needs["PostgreSQL"].most > 3.9 * usual.needs["PostgreSQL"].most


def test_ten_thousand_workers_are_planned_at_once() -> None:
    scenario = clustered(turns=1_000_000, over="1h")
    many = Cluster(workers=10_000, tasks=1)
    short = capacity_of(scenario, many)
    assert short.first == "connections"
    assert short.used["connections"] == 500.0
    enough = replace(many, postgres=replace(many.postgres, max_connections=50_000))
    woken = capacity_of(scenario, enough)
    assert woken.first == "PostgreSQL"
    assert woken.used["PostgreSQL"] > 5
    (told,) = [text for text in advice(enough, woken) if text.startswith("PostgreSQL")]
    assert "wake 10,000 workers each" in told


def test_a_limit_of_tokens_and_one_of_all_models_bind_together() -> None:
    tokens = {"metric": "total", "amount": 90_000, "window": "1m", "fixed": True}  # 100 calls of 600 + 300
    by_tokens = capacity_of(clustered(limits=(tokens,)), Cluster())
    assert by_tokens.needs["providers"].most * 60 == pytest.approx(100)
    paced = {"metric": "requests", "spacing": "1s"}
    assert capacity_of(clustered(limits=(tokens, paced)), Cluster()).needs["providers"].most == pytest.approx(1.0)


def test_a_provider_without_limits_is_never_short() -> None:
    found = capacity_of(clustered(more=("cerebras/gpt-oss-120b",)), Cluster())
    assert found.used["providers"] == 0.0
    assert found.first != "providers"
