"""How a cluster stands as figures for Prometheus: set before each look, from the queue's own tables.

Each process of the cluster tells the same; a rule that adds them up over processes takes their maximum.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge

from orchestrator.cluster.standing import faults, state_of_worker

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.dispatch.cluster.status import ClusterStatus

WORKER_STATES = ("at work", "draining", "stalled")


class ClusterFigures:
    """The gauges of a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"orchestrator_cluster_{name}", words, labels, registry=registry)

        self._jobs = gauge("jobs", "Jobs of the queues, by what they do.", "queue", "state")
        self._oldest = gauge("oldest_waiting_seconds", "How long the job that waits longest waits.", "queue")
        self._workers = gauge("workers", "Worker processes, by their state.", "state")
        self._slots = gauge("slots", "Jobs that workers which are not stalled can run at a time.", "queue")
        self._faults = gauge("faults", "What keeps work from being done.")
        self._reached = gauge("database_up", "1 where the database could be asked, else 0.")

    def take(self, status: ClusterStatus | None) -> None:
        """Let the gauges say this; None: the database cannot be reached, and all but that is as it was."""
        self._reached.set(status is not None)
        if status is None:
            return
        self._jobs.clear()
        for name, depth in status.queues.items():
            counts = {"waiting": depth.waiting, "later": depth.later, "running": depth.running}
            for state, number in {**counts, "stalled": depth.stalled, "again": depth.again}.items():
                self._jobs.labels(name, state).set(number)
            self._oldest.labels(name).set(depth.oldest_waiting_s)
        states = Counter(state_of_worker(worker) for worker in status.workers)
        for one in WORKER_STATES:
            self._workers.labels(one).set(states[one])  # type: ignore[index]  # a literal of them
        self._slots.clear()
        slots = Counter[str](dict.fromkeys(status.queues, 0))
        for worker in status.workers:
            if not worker.is_stalled:
                slots.update({name: share.slots for name, share in worker.queues.items()})
        for name, number in slots.items():
            self._slots.labels(name).set(number)
        self._faults.set(len(faults(status)))
