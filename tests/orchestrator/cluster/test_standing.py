"""What is wrong with a cluster, from how it stands; and the same as figures."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cluster.standing import faults, status_document, unserved
from tests.components import imported, installed

status = imported("orchestrator.dispatch.cluster.status", "cluster")


def worker(**more: Any) -> Any:
    queues = {"tasks": status.QueueShare(50, 3), "runs": status.QueueShare(5, 1)}
    given = {"queues": queues, "heartbeat_age_s": 1.0, "is_draining": False, "is_stalled": False, **more}
    return status.ClusterWorker(host="one", pid=7, version="3.10", age_s=60.0, **given)


def cluster(*workers: Any, **depths: Any) -> Any:
    return status.ClusterStatus(workers, {name: status.QueueDepth(**depth) for name, depth in depths.items()})


def test_a_cluster_whose_queues_are_served_is_well() -> None:
    found = cluster(worker(), tasks={"waiting": 9, "again": 2}, runs={})
    assert faults(found) == []
    assert status_document(found)["healthy"]


@pytest.mark.parametrize(
    ("workers", "missing"),
    [
        ((), ["runs", "tasks"]),
        (({"is_draining": True},), ["runs", "tasks"]),
        (({"is_stalled": True},), ["runs", "tasks"]),
        (({"queues": {}},), ["runs", "tasks"]),
        (({"is_draining": True}, {}), []),
    ],
)
def test_who_drains_or_is_silent_serves_nothing(workers: tuple[dict[str, Any], ...], missing: list[str]) -> None:
    assert unserved(cluster(*(worker(**more) for more in workers))) == missing


def test_a_worker_of_one_queue_serves_that_alone() -> None:
    only = worker(queues={"tasks": status.QueueShare(50, 0), "runs": status.QueueShare(0, 0)})
    found = faults(cluster(only, runs={"waiting": 2, "later": 1}))
    assert [(one.code, one.message) for one in found] == [
        ("no_worker", "no worker serves the queue `runs`, and 3 of its jobs wait")
    ]


def test_silence_is_told_with_its_jobs() -> None:
    found = faults(cluster(worker(), worker(is_stalled=True, heartbeat_age_s=31.4), tasks={"running": 4, "stalled": 3}))
    assert [one.code for one in found] == ["stalled_worker", "stalled_jobs"]
    assert "31 s" in found[0].message


def test_figures_say_what_stands_now_and_keep_nothing_of_before() -> None:
    installed("prometheus_client", "server")
    from prometheus_client import CollectorRegistry

    from orchestrator.observe.cluster_figures import ClusterFigures

    registry = CollectorRegistry()
    figures = ClusterFigures(registry)
    figures.take(cluster(worker(), worker(is_stalled=True), tasks={"waiting": 9}, runs={"running": 1}))
    jobs = "orchestrator_cluster_jobs"
    assert registry.get_sample_value(jobs, {"queue": "tasks", "state": "waiting"}) == 9
    assert registry.get_sample_value("orchestrator_cluster_workers", {"state": "stalled"}) == 1
    assert registry.get_sample_value("orchestrator_cluster_slots", {"queue": "tasks"}) == 50
    figures.take(cluster(tasks={}))
    assert registry.get_sample_value(jobs, {"queue": "runs", "state": "running"}) is None
    assert registry.get_sample_value("orchestrator_cluster_slots", {"queue": "tasks"}) == 0
    assert registry.get_sample_value("orchestrator_cluster_faults") == 2
    figures.take(None)
    assert registry.get_sample_value("orchestrator_cluster_database_up") == 0
    assert registry.get_sample_value("orchestrator_cluster_faults") == 2
