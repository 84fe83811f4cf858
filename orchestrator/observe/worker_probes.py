"""What a worker answers to who watches over it: alive, ready, its figures, and that it should drain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio

from orchestrator.dispatch.cluster.queue import JobQueue
from orchestrator.dispatch.cluster.status import ClusterStatus
from orchestrator.errors import OrchestratorError
from orchestrator.observe.probes import Probe, ProbeAnswer, ProbeAsked, told

if TYPE_CHECKING:
    from orchestrator.observe.metrics import Metrics

DATABASE_S = 2.0
"""How long a probe waits for the database: who asks gives up after some seconds."""


class WorkerProbes:
    """`stop` is set to drain the worker. `metrics` None: Prometheus' client is not installed."""

    def __init__(self, queue: JobQueue, stop: anyio.Event, metrics: Metrics | None) -> None:
        self._queue, self._stop, self._metrics = queue, stop, metrics
        self._figures = None if metrics is None else metrics.with_cluster()

    def paths(self) -> Mapping[str, Probe]:
        """Return what answers at which path."""
        return {"/healthz": self.alive, "/readyz": self.ready, "/metrics": self.figures, "/drain": self.drain}

    async def alive(self, _: ProbeAsked) -> ProbeAnswer:
        """Answer 200: the event loop runs. One that waits for the database is alive: to restart it helps nobody."""
        return told(200, "alive")

    async def ready(self, _: ProbeAsked) -> ProbeAnswer:
        """Answer 503 while it takes no jobs, with the reason."""
        if self._stop.is_set():
            return told(503, "draining")
        if await self._status() is None:
            return told(503, "the database cannot be reached")
        return told(200, "ready")

    async def figures(self, asked: ProbeAsked) -> ProbeAnswer:
        if self._metrics is None or self._figures is None:
            return told(404, "figures need Prometheus' client: pip install 'squad-orchestrator[server]'")
        self._figures.take(await self._status())
        body, media_type = self._metrics.text(asked.accept)
        return ProbeAnswer(200, body, media_type)

    async def drain(self, asked: ProbeAsked) -> ProbeAnswer:
        """Have the worker hand over its work and end, as SIGTERM does. Only this machine may ask for it."""
        if not asked.is_local:
            return told(403, "only this machine may drain its worker")
        if asked.method != "POST":
            return told(405, "POST drains the worker")
        self._stop.set()
        return told(202, "draining")

    async def _status(self) -> ClusterStatus | None:
        """Return how the cluster stands; None where the database does not say it in time."""
        with anyio.move_on_after(DATABASE_S):
            try:
                return await self._queue.status()
            except OrchestratorError:
                return None
        return None
