"""How the cluster of a server stands, as its page and the API show it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from pydantic import BaseModel

from orchestrator.cluster.standing import status_document
from orchestrator.errors import OrchestratorError
from orchestrator.server.state import ServerState

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.dispatch.cluster.status import ClusterStatus

DATABASE_S = 3.0
"""How long the database is waited for: a page says that it is away instead of waiting with it."""


class ClusterProblem(BaseModel):
    """What keeps work from being done; `code` stays the same while the words change."""

    code: str
    message: str


class QueueSlots(BaseModel):
    slots: int
    busy: int


class WorkerShown(BaseModel):
    """One worker process. `state`: at work, draining, or stalled (silent for longer than its timeout)."""

    host: str
    pid: int
    state: str
    queues: dict[str, QueueSlots]
    heartbeat_age_s: float
    age_s: float
    engine: str


class QueueShown(BaseModel):
    """The jobs of one queue. `later` wait for their time; `again` of those that wait ran before. `by_priority` says how
    many of `waiting` are of each priority."""

    waiting: int
    later: int
    running: int
    stalled: int
    again: int
    oldest_waiting_s: float
    by_priority: dict[str, int]


class ClusterShown(BaseModel):
    """`healthy`: nothing keeps work from being done. `reachable`: the database could be asked."""

    healthy: bool
    reachable: bool
    problems: list[ClusterProblem]
    workers: list[WorkerShown]
    queues: dict[str, QueueShown]


async def cluster_status(state: ServerState) -> ClusterStatus | None:
    """Return how the cluster stands; None where there is none, or its database does not say it in time."""
    if state.cluster is not None:
        with anyio.move_on_after(DATABASE_S), suppress(OrchestratorError):
            return await state.cluster.queue.status()
    return None


async def cluster_shown(state: ServerState) -> ClusterShown:
    """Return what is shown of the cluster."""
    status = await cluster_status(state)
    if status is None:
        away = ClusterProblem(code="database_away", message="the database cannot be reached: what is at work goes on")
        return ClusterShown(healthy=False, reachable=False, problems=[away], workers=[], queues={})
    return ClusterShown.model_validate({**status_document(status), "reachable": True})
