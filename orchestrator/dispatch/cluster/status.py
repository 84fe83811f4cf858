"""How a cluster stands: its workers, and what waits in its queues. By the database's clock alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from psycopg_pool import AsyncConnectionPool

_WORKERS = """
    SELECT process, host, pid, version, queue, slots, busy, draining,
        extract(epoch FROM now() - heartbeat_at)::float8, extract(epoch FROM now() - started_at)::float8, timeout_s
    FROM orchestrator_workers ORDER BY started_at, id"""
_QUEUES = """
    SELECT queue_name,
        count(*) FILTER (WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())) AS waiting,
        count(*) FILTER (WHERE status = 'todo' AND scheduled_at > now()) AS later,
        count(*) FILTER (WHERE status = 'doing') AS running,
        count(*) FILTER (WHERE status = 'doing' AND alive.id IS NULL) AS stalled,
        count(*) FILTER (WHERE status = 'todo' AND attempts > 0) AS again,
        min(job.id) FILTER (WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())) AS oldest
    FROM procrastinate_jobs AS job
    LEFT JOIN orchestrator_workers AS alive
        ON alive.id = job.worker_id AND alive.heartbeat_at >= now() - make_interval(secs => alive.timeout_s)
    WHERE status IN ('todo', 'doing')
    GROUP BY queue_name ORDER BY queue_name"""
_PRIORITIES = """
    SELECT queue_name, ceil(priority / 2.0)::int AS given, count(*) FROM procrastinate_jobs
    WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
    GROUP BY queue_name, given ORDER BY given DESC"""
_AGES = """
    SELECT job_id, extract(epoch FROM now() - max(at))::float8 FROM procrastinate_events
    WHERE job_id = ANY(%s) AND at <= now() GROUP BY job_id"""


@dataclass(frozen=True, slots=True)
class QueueShare:
    """How many jobs of a queue one worker process runs at a time, and now."""

    slots: int
    busy: int


@dataclass(frozen=True, slots=True)
class ClusterWorker:
    """One worker process. It is stalled when its last heartbeat is older than its timeout: it is dead, frozen or cut
    off, and its jobs are about to be given to others."""

    host: str
    pid: int
    version: str
    """Procrastinate's."""
    queues: dict[str, QueueShare] = field(hash=False)
    heartbeat_age_s: float
    age_s: float
    is_draining: bool
    is_stalled: bool


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The jobs of one queue. `waiting` may start now, `later` at their time; `stalled` are those of `running` whose
    worker is. `again` of those that wait ran before: their handler failed, or their worker ended.
    `by_priority` says of `waiting` how many are of each, the highest first."""

    waiting: int = 0
    later: int = 0
    running: int = 0
    stalled: int = 0
    again: int = 0
    oldest_waiting_s: float = 0.0
    by_priority: dict[int, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """All of it at one moment. A queue without jobs stands in `queues` where a worker serves it."""

    workers: tuple[ClusterWorker, ...]
    queues: dict[str, QueueDepth] = field(hash=False)


async def read_status(pool: AsyncConnectionPool, prefix: str) -> ClusterStatus:
    """Return how the cluster stands; `prefix` stands before each queue's name in the tables."""
    async with pool.connection() as connection, connection.transaction():
        workers = await (await connection.execute(_WORKERS)).fetchall()
        queues = await (await connection.execute(_QUEUES)).fetchall()
        priorities = await (await connection.execute(_PRIORITIES)).fetchall()
        oldest = [row[-1] for row in queues if row[-1] is not None]
        ages: dict[int, float] = dict(await (await connection.execute(_AGES, [oldest])).fetchall())
    depths = {}
    for name, waiting, later, running, stalled, again, first in queues:
        of_each = {priority: count for queue, priority, count in priorities if queue == name}
        oldest_s = max(0.0, ages.get(first, 0.0))
        depths[name.removeprefix(prefix)] = QueueDepth(waiting, later, running, stalled, again, oldest_s, of_each)
    processes = defaultdict[str, list[tuple[Any, ...]]](list)
    for process, *row in workers:
        processes[process].append(tuple(row))
    found = tuple(_process(rows, prefix) for rows in processes.values())
    return ClusterStatus(found, {name: QueueDepth() for worker in found for name in worker.queues} | depths)


def _process(rows: list[tuple[Any, ...]], prefix: str) -> ClusterWorker:
    host, pid, version, *_ = rows[0]
    queues = {queue.removeprefix(prefix): QueueShare(slots, busy) for _, _, _, queue, slots, busy, *_ in rows}
    ages = [(heartbeat, age, timeout) for *_, heartbeat, age, timeout in rows]
    return ClusterWorker(
        host,
        pid,
        version,
        queues,
        heartbeat_age_s=max(0.0, *(heartbeat for heartbeat, _, _ in ages)),
        age_s=max(age for _, age, _ in ages),
        is_draining=any(row[6] for row in rows),
        is_stalled=any(heartbeat > timeout for heartbeat, _, timeout in ages),
    )
