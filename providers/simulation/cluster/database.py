"""PostgreSQL as a queue, behind the connections that each worker has."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from providers.simulation.cluster.jobs import ModelledJob, ModelledWorker
from providers.simulation.cluster.ledgers import is_away
from providers.simulation.cluster.model import QUEUES, Cluster, QueueName
from providers.simulation.cluster.stations import MeasuredSpan, SlotUse, Station, WaitTimes

RETRY_S = 2.0
"""How soon a worker looks again for a database that was away."""
Schedule = Callable[[float, Callable[[Any, float], None], Any], None]


class DatabaseOperation(NamedTuple):
    """Something that PostgreSQL is asked, and what happens to the job when it is done. No worker: a client asks it."""

    worker: ModelledWorker | None
    seconds: float
    act: Callable[[ModelledJob, float], None]
    job: ModelledJob
    asked: float


class ModelledDatabase:
    """What it is asked comes in order of time. `schedule` makes something happen at an instant."""

    def __init__(self, cluster: Cluster, starts: float, span: MeasuredSpan, schedule: Schedule, own: Random) -> None:
        self._model, self._connections, self._jitter = cluster.postgres, cluster.connections, cluster.jitter
        self._starts, self._schedule, self._dice = starts, schedule, own
        self._leg = self._model.round_trip / 2
        self._woken = dict.fromkeys(QUEUES, 0.0)
        """When the fetches begin that the latest news of a job in a queue has brought about."""
        self.station = Station(self._model.cores, span, cluster.background / self._model.cores)
        self.rows = Station(1, span)
        """The rows that hold the counts of limits."""
        self.in_use = SlotUse(cluster.connections * cluster.connected, span)
        self.waits = WaitTimes(span)
        """For a connection."""

    def ask(
        self,
        worker: ModelledWorker | None,
        seconds: float,
        act: Callable[[ModelledJob, float], None],
        job: ModelledJob,
        now: float,
    ) -> None:
        """Do what takes so many seconds of PostgreSQL's time; then `act`, unless the job was lost meanwhile."""
        operation = DatabaseOperation(worker, seconds, act, job, now)
        if worker is None:
            self._go(operation, now)
        elif worker.busy < self._connections:
            worker.busy += 1
            self.in_use.change(1, now)
            self.waits.count(0.0, now)
            self._go(operation, now)
        else:
            worker.waiting.append(operation)

    def check(self, now: float) -> float:
        """Return when the limits are checked, or settled, of a call that comes `now`."""
        seconds = self._model.check
        self.station.take(now, seconds)
        return self.rows.take(now, seconds + self._model.flush * self._model.check_is_flushed)

    def wake(self, queue: QueueName, workers: int, now: float) -> None:
        """Let so many workers look for a job that another one gets.

        A worker that has not looked since it last heard of one looks once for both.
        """
        if workers > 0 and now >= self._woken[queue]:
            self._woken[queue] = self.station.burden(now, workers * self._model.empty_fetch)

    def _go(self, operation: DatabaseOperation, now: float) -> None:
        comes = now + self._way()
        if (away := is_away(self._model.away, comes - self._starts)) is not None:
            back = self._starts + away.begins + away.lasts
            self._schedule(back + self._dice.random() * RETRY_S, self._again, operation)
            return
        done = self.station.take(comes, operation.seconds)
        self._schedule(done + self._model.flush + self._way(), self._come_back, operation)

    def _again(self, operation: DatabaseOperation, now: float) -> None:
        self._go(operation, now)

    def _come_back(self, operation: DatabaseOperation, now: float) -> None:
        worker = operation.worker
        if worker is not None:
            worker.busy -= 1
            self.in_use.change(-1, now)
            if worker.waiting and not worker.is_dead:
                following = worker.waiting.popleft()
                worker.busy += 1
                self.in_use.change(1, now)
                self.waits.count(now - following.asked, following.asked)
                self._go(following, now)
        if not operation.job.is_lost:
            operation.act(operation.job, now)

    def _way(self) -> float:
        return self._leg + self._jitter * self._dice.random() if self._jitter else self._leg
