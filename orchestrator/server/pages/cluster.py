"""The page Cluster: its workers, its queues, and what keeps work from being done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.server.cluster_view import ClusterShown, cluster_shown
from orchestrator.server.pages.page import PageRequest

STATES = {"at work": "running", "draining": "paused", "stalled": "failed"}
"""How the state of a worker is drawn: as that of a run."""


async def cluster_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return what the page shows."""
    if asked.state.cluster is None:
        return {"cluster": None, "sentence": "This server does its runs itself.", "drawn_as": STATES}
    cluster = await cluster_shown(asked.state)
    return {"cluster": cluster, "sentence": _sentence(cluster), "drawn_as": STATES}


def _sentence(cluster: ClusterShown) -> str:
    if not cluster.reachable:
        return "The database cannot be reached."
    alive = sum(worker.state != "stalled" for worker in cluster.workers)
    waiting = sum(queue.waiting for queue in cluster.queues.values())
    running = sum(queue.running for queue in cluster.queues.values())
    workers = f"{alive} worker{'' if alive == 1 else 's'}"
    return f"{workers}, {running:,} job{'' if running == 1 else 's'} at work, {waiting:,} waiting."
