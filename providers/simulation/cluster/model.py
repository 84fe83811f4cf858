"""What a cluster is made of: workers, PostgreSQL, Redis, what fails. Plain values; seconds, unless they say otherwise.

The times of PostgreSQL and Redis are what `benchmarks/cluster_costs.py` measured on 2026-11-30, the larger ones of
three rounds: PostgreSQL 15 and Redis 7 on two shared cores of an Intel Xeon. `begin` and `finish` are of the project's
own journal, `submit`, `fetch` and `end` of its queue. `flush` was between 0.1 and 4 ms there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CountedOn = Literal["redis", "postgres", "split", "memory"]
"""Where limits are counted: on one server for all, or by each worker: of its share, or of the whole as if alone."""
QueueName = Literal["runs", "tasks"]
QUEUES: tuple[QueueName, ...] = ("runs", "tasks")
WhoWakes = Literal["all", "none"]
"""Who hears that a job has come: every worker that has a free slot, or none before it looks by itself."""


@dataclass(frozen=True, slots=True)
class Away:
    """When a server is away. `empty`: it comes back with nothing of what it knew."""

    begins: float
    lasts: float
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """So many `workers` die `at` once. What they had in hand is taken over after the cluster's `takeover`."""

    at: float
    workers: int = 1


@dataclass(frozen=True, slots=True)
class PostgresModel:
    """A server that does as many operations at a time as it has `cores`, each for the time that is said here.

    `round_trip` is the network's, there and back. `flush` passes before a commit is answered; commits share it, so it
    takes no time of the server. `check`: a call's limits are checked or settled in rows that all workers change; such
    checks come one after the other, each with its flush where `check_is_flushed`.
    """

    cores: int = 2
    round_trip: float = 0.0005
    flush: float = 0.001
    begin: float = 0.00015
    finish: float = 0.00035
    submit: float = 0.00025
    fetch: float = 0.0006
    empty_fetch: float = 0.00005
    end: float = 0.0005
    heartbeat: float = 0.00009
    check: float = 0.0004
    check_is_flushed: bool = False
    max_connections: int = 100
    away: tuple[Away, ...] = ()


@dataclass(frozen=True, slots=True)
class RedisModel:
    """`servers` that each do one thing at a time, for `check` seconds; each provider's limits are on one of them."""

    servers: int = 1
    round_trip: float = 0.0005
    check: float = 0.00017
    away: tuple[Away, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSize:
    """A run has `tasks` of `turns` each, and `at_once` of them are out at a time."""

    tasks: int = 4
    turns: int = 5
    at_once: int = 4

    @property
    def whole(self) -> int:
        """All turns of a run."""
        return self.tasks * self.turns


@dataclass(frozen=True, slots=True)
class Cluster:
    """`workers`, each with slots for `runs` and `tasks`, `connections` to PostgreSQL, and one core.

    `cpu` is what a turn takes of that core. A job waits for `dispatch` seconds at least before a worker has it. Workers
    look for what is due every `poll` seconds and tell that they live every `heartbeat`. `takeover` is how long after a
    death the work goes on elsewhere. `jitter`: a message takes up to so much longer than half a round trip. `stale`:
    the shared ledger is read as it was up to so long ago.
    """

    workers: int = 1
    runs: int = 5
    tasks: int = 50
    cpu: float = 0.003
    connections: int = 5
    ledger: CountedOn = "redis"
    stale: float = 0.0
    jitter: float = 0.0
    dispatch: float = 0.005
    wakes: WhoWakes = "all"
    poll: float = 1.0
    heartbeat: float = 5.0
    takeover: float = 20.0
    run: RunSize = RunSize()
    postgres: PostgresModel = PostgresModel()
    redis: RedisModel = RedisModel()
    deaths: tuple[Death, ...] = ()

    @property
    def connected(self) -> int:
        """How many of the workers find room for their connections."""
        return min(self.workers, self.postgres.max_connections // self.connections)

    @property
    def is_shared(self) -> bool:
        """Whether all workers count on one ledger."""
        return self.ledger in ("redis", "postgres")

    @property
    def outages(self) -> tuple[Away, ...]:
        """When the ledger that all share is away."""
        return {"redis": self.redis.away, "postgres": self.postgres.away}.get(self.ledger, ())

    @property
    def ledger_trip(self) -> float:
        """Seconds to the shared ledger and back."""
        return self.redis.round_trip if self.ledger == "redis" else self.postgres.round_trip

    @property
    def background(self) -> float:
        """Seconds of PostgreSQL's time for each second, whatever the load: heartbeats, and looking for what is due.

        A worker has a heartbeat for each queue, looks into each for jobs and for those that were cancelled, and looks
        for dead workers.
        """
        beats = len(QUEUES) * self.postgres.heartbeat / self.heartbeat
        return self.connected * (beats + (2 * len(QUEUES) + 1) * self.postgres.empty_fetch / self.poll)
