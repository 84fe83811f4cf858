"""The `cluster:` of a scenario's file: what it may leave out, and its mistakes, each with its place."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import CatalogError
from providers.simulation import load_scenario
from providers.simulation.cluster.model import Away, Cluster, Death, RunSize
from providers.simulation.scenario_file import parse_scenario

SMALL: dict[str, Any] = {
    "title": "small",
    "policy": {"tiers": {"worker": ["groq/openai/gpt-oss-20b"]}},
    "providers": {"groq": None},
    "load": [{"count": 3, "over": "3s"}],
}
AWAY = [{"begins": "1m", "lasts": "1m"}, {"begins": "90s", "lasts": "1s"}]


@pytest.mark.parametrize(
    ("cluster", "path", "text"),
    [
        ({"worker": 3}, "cluster.worker", "is not a field of a cluster did you mean 'workers'?"),
        ({"workers": 0}, "cluster.workers", "greater than or equal to 1"),
        ({"workers": 10_001}, "cluster.workers", "less than or equal to 10000"),
        ({"ledger": "sqlite"}, "cluster.ledger", "one of redis,"),
        ({"cpu": "fast"}, "cluster.cpu", "'fast' is not a duration"),
        ({"poll": 0}, "cluster.poll", "more than 0"),
        ({"postgres": {"cores": 0}}, "cluster.postgres.cores", "greater than or equal to 1"),
        ({"postgres": {"speed": 1}}, "cluster.postgres.speed", "is not a field of a cluster's PostgreSQL"),
        ({"postgres": {"max_connections": 4}}, "cluster.connections", "not one worker finds its 5 connections among 4"),
        ({"redis": {"away": AWAY}}, "cluster.redis.away.1", "it is down already"),
        ({"postgres": {"away": AWAY}}, "cluster.postgres.away.1", "it is down already"),
        ({"workers": 2, "deaths": [{"at": "1s", "workers": 2}]}, "cluster.deaths", "one has to be left"),
        ({"ledger": "split", "stale": "1s"}, "cluster.stale", "'split' is each worker's own"),
    ],
)
def test_a_mistake_is_told_with_its_path(cluster: dict[str, Any], path: str, text: str) -> None:
    with pytest.raises(CatalogError) as failed:
        parse_scenario({**SMALL, "cluster": cluster}, "test")
    found = {".".join(map(str, p.path)): f"{p.message} {p.hint}" for p in failed.value.problems}
    assert text in found[path]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"instances": 3}, "instances"),
        ({"message_delay": "5ms"}, "message_delay"),
        ({"load": [{"count": 3}]}, "load.0"),
    ],
)
def test_what_a_cluster_has_its_own_way_of_saying_is_told(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(CatalogError) as failed:
        parse_scenario({**SMALL, "cluster": {}, **changes}, "test")
    assert [".".join(map(str, problem.path)) for problem in failed.value.problems] == [path]
    parse_scenario({**SMALL, **changes}, "test")


def test_a_mistake_in_a_file_has_its_line(tmp_path: Any) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "title: bad\nproviders: {groq: }\nload: [{count: 1, over: 1s}]\ncluster:\n  workers: 2\n  redis: {chek: 1ms}\n"
    )
    with pytest.raises(CatalogError) as failed:
        load_scenario(path)
    (problem,) = failed.value.problems
    assert (problem.line, problem.column, problem.code) == (6, 11, "unknown-field")


def test_what_is_left_out_is_usual_and_what_is_said_is_taken() -> None:
    assert parse_scenario(SMALL, "x").cluster is None
    assert parse_scenario({**SMALL, "cluster": {}}, "x").cluster == Cluster()
    cluster = parse_scenario(
        {
            **SMALL,
            "cluster": {
                "workers": 9,
                "run": {"turns": 2},
                "redis": {"away": [{"begins": "1s", "lasts": "2s", "empty": True}]},
                "deaths": [{"at": "3s"}],
            },
        },
        "x",
    ).cluster
    assert cluster is not None
    assert (cluster.workers, cluster.run, cluster.deaths) == (9, RunSize(turns=2), (Death(3.0, 1),))
    assert cluster.redis.away == cluster.outages == (Away(1.0, 2.0, empty=True),)
