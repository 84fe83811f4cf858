"""How a cluster stands, in words and as a document, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orchestrator.dispatch.cluster.job import RUNS, TASKS

if TYPE_CHECKING:  # it brings PostgreSQL's client, an extra
    from orchestrator.dispatch.cluster.status import ClusterStatus, ClusterWorker

SCHEMA_VERSION = 1
WorkerState = Literal["at work", "draining", "stalled"]


class ClusterFault(NamedTuple):
    """What keeps work from being done; `code` is for programs."""

    code: Literal["no_worker", "stalled_worker", "stalled_jobs"]
    message: str


def state_of_worker(worker: ClusterWorker) -> WorkerState:
    return "stalled" if worker.is_stalled else "draining" if worker.is_draining else "at work"


def unserved(status: ClusterStatus) -> list[str]:
    """Return the queues that a run needs and that no worker which is alive takes jobs of."""
    alive = [worker for worker in status.workers if state_of_worker(worker) == "at work"]
    served = {queue for worker in alive for queue, share in worker.queues.items() if share.slots}
    return [queue for queue in (RUNS, TASKS) if queue not in served]


def faults(status: ClusterStatus) -> list[ClusterFault]:
    """Return what is wrong now; nothing where all that waits will be done."""
    return list(_faults(status))


def _faults(status: ClusterStatus) -> Iterator[ClusterFault]:
    for queue in unserved(status):
        depth = status.queues.get(queue)
        waits = 0 if depth is None else depth.waiting + depth.later
        jobs = f", and {waits} of its jobs wait" if waits else ""
        yield ClusterFault("no_worker", f"no worker serves the queue `{queue}`{jobs}")
    for worker in status.workers:
        if worker.is_stalled:
            age = f"{worker.heartbeat_age_s:.0f} s"
            yield ClusterFault("stalled_worker", f"the worker {worker.host}/{worker.pid} has been silent for {age}")
    for queue, depth in status.queues.items():
        if depth.stalled:
            yield ClusterFault("stalled_jobs", f"{depth.stalled} jobs of `{queue}` are of workers that are silent")


def status_document(status: ClusterStatus) -> dict[str, Any]:
    """Return how a cluster stands, for programs. Times are seconds."""
    found = faults(status)
    return {
        "schema_version": SCHEMA_VERSION,
        "healthy": not found,
        "problems": [fault._asdict() for fault in found],
        "workers": [
            {
                "host": worker.host,
                "pid": worker.pid,
                "state": state_of_worker(worker),
                "queues": {name: {"slots": one.slots, "busy": one.busy} for name, one in worker.queues.items()},
                "heartbeat_age_s": round(worker.heartbeat_age_s, 3),
                "age_s": round(worker.age_s, 3),
                "engine": worker.version,
            }
            for worker in status.workers
        ],
        "queues": {
            name: {
                "waiting": depth.waiting,
                "later": depth.later,
                "running": depth.running,
                "stalled": depth.stalled,
                "again": depth.again,
                "oldest_waiting_s": round(depth.oldest_waiting_s, 3),
                "by_priority": {str(priority): count for priority, count in depth.by_priority.items()},
            }
            for name, depth in status.queues.items()
        },
    }
