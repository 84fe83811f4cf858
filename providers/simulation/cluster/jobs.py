"""Runs, jobs and workers on their way through a simulation of a cluster."""

from __future__ import annotations

from collections import deque
from typing import Any

from providers.client.shared_breakers import SharedBreakers
from providers.limits.ledger import Ledger
from providers.simulation.cluster.model import Cluster, QueueName
from providers.simulation.cluster.stations import Station
from providers.simulation.load import Kind
from providers.simulation.turns import ModelledRouter, ModelledTurn


class ModelledWorker:
    """One worker: its router and ledger, its core, its connections, and the jobs that it has in hand."""

    __slots__ = (
        "breakers",
        "busy",
        "cpu",
        "free",
        "is_dead",
        "jobs",
        "ledger",
        "looked_at",
        "place",
        "router",
        "waiting",
    )

    def __init__(self, cluster: Cluster, router: ModelledRouter, ledger: Ledger, cpu: Station) -> None:
        self.router, self.ledger, self.cpu = router, ledger, cpu
        self.free: dict[QueueName, int] = {"runs": cluster.runs, "tasks": cluster.tasks}
        self.place: dict[QueueName, int] = {}
        """Where it stands in the list of those that have a free slot."""
        self.jobs: dict[ModelledJob, None] = {}
        self.busy = 0
        """Connections that are in use."""
        self.waiting: deque[Any] = deque()
        """What waits for one."""
        self.is_dead = False
        self.breakers: SharedBreakers | None = None
        """Those that it shares with the other workers."""
        self.looked_at = 0.0


class ModelledRun:
    """One run of a load: the sizes of the tasks that are still to be submitted, and how many are out."""

    __slots__ = ("driver", "load", "out", "waiting")

    def __init__(self, load: int, turns: int, cluster: Cluster) -> None:
        whole, rest = divmod(turns, cluster.run.turns)
        self.load, self.out = load, 0
        self.waiting = [cluster.run.turns] * whole + [rest] * bool(rest)
        self.driver: ModelledJob | None = None
        """The job that drives it, once a worker has it in hand."""


class ModelledJob:
    """What a worker takes from a queue: a run to drive, or a task with `left` turns to take."""

    __slots__ = ("is_lost", "left", "queue", "queued", "run", "turn", "worker")

    def __init__(self, run: ModelledRun, queue: QueueName, left: int = 0) -> None:
        self.run, self.queue, self.left = run, queue, left
        self.queued = 0.0
        self.worker: ModelledWorker | None = None
        self.turn: ClusterTurn | None = None
        self.is_lost = False
        """Its worker is dead: what comes back of it comes back to nobody."""

    @property
    def owner(self) -> ModelledWorker:
        assert self.worker is not None, "a worker has it in hand"
        return self.worker


class ClusterTurn(ModelledTurn):
    """A turn of a job."""

    __slots__ = ("job",)

    def __init__(self, number: int, job: ModelledJob, kind: Kind, began: float) -> None:
        super().__init__(number, job.owner.router, job.run.load, kind, began)
        self.job = job
