"""A cluster on the virtual clock: runs come, workers take them and their tasks, and each turn goes through a router.

Exact, because it is the code that runs live, is what `engine.py` says, for each worker by itself; and what a worker
does while a shared ledger is away. Modelled: how jobs are queued, placed and taken over, and what PostgreSQL, Redis and
a worker's core take. A worker that dies forgets all it knew; what it reserved of limits expires.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from providers.catalog.model import Catalog
from providers.client.shared_breakers import LOOK_S, SharedBreakers
from providers.limits.reserve import NoRoom
from providers.limits.rules import Ending
from providers.policy.model import Policy
from providers.routing.admission import shut_until
from providers.routing.effects import Outcome
from providers.simulation.cluster.capacity import capacity_of
from providers.simulation.cluster.database import ModelledDatabase
from providers.simulation.cluster.jobs import ClusterTurn, ModelledJob, ModelledRun, ModelledWorker
from providers.simulation.cluster.ledgers import WorkerLedgers, at_once, is_away
from providers.simulation.cluster.model import QUEUES, Cluster, Death, QueueName
from providers.simulation.cluster.stations import MeasuredSpan, SlotUse, Station, WaitTimes
from providers.simulation.cluster.use import cluster_use
from providers.simulation.engine import Act, Simulation
from providers.simulation.load import dice
from providers.simulation.report import Report
from providers.simulation.scenario import Load, Scenario
from providers.simulation.terms import AllTerms
from providers.simulation.turns import ModelledAttempt, ModelledTurn

WARMING = 0.2
"""The share of the load's time in which queues fill: it is not measured."""


def run(
    scenario: Scenario,
    cluster: Cluster,
    *,
    policy: Policy | None = None,
    catalog: Catalog | None = None,
    load: Sequence[Load] | None = None,
    seed: int | None = None,
    log: BinaryIO | None = None,
) -> Report:
    """Return what the scenario came to on the cluster; see `simulate`."""
    as_said = replace(
        scenario,
        policy=scenario.policy if policy is None else policy,
        catalog=scenario.catalog if catalog is None else catalog,
        load=scenario.load if load is None else tuple(load),
        seed=scenario.seed if seed is None else seed,
    )
    simulation = ClusterSimulation(as_said, cluster, log)
    report = simulation.run()
    return cluster_use(report, as_said, simulation, capacity_of(as_said, cluster))


class ClusterSimulation(Simulation):
    """One run of a scenario on a cluster. What it counted stays on it."""

    def __init__(self, scenario: Scenario, cluster: Cluster, log: BinaryIO | None) -> None:
        super().__init__(scenario, scenario.policy, scenario.catalog, scenario.load, scenario.seed, log)
        starts, seed = scenario.starts, scenario.seed
        begins = starts + min(each.begins for each in scenario.load)
        ends = starts + max(each.begins + each.over for each in scenario.load)
        if ends <= begins:
            raise ValueError("loads of a cluster last: what it carries is measured while they come")
        self.span = span = MeasuredSpan(begins + WARMING * (ends - begins), ends)
        self.cluster, self._starts = cluster, starts
        self._placing, self._ways = dice(seed, "placing"), dice(seed, "ways")
        self.ledgers = WorkerLedgers(cluster, starts)
        self.database = ModelledDatabase(cluster, starts, span, self._at, dice(seed, "database"))
        self.redis = [Station(1, span) for _ in range(cluster.redis.servers)]
        self.cpu = WaitTimes(span)
        self.workers = [self._worker(number) for number in range(cluster.connected)]
        self._free: dict[QueueName, list[ModelledWorker]] = {queue: [] for queue in QUEUES}
        self._queues: dict[QueueName, deque[ModelledJob]] = {queue: deque() for queue in QUEUES}
        self.slots: dict[QueueName, SlotUse] = {
            "runs": SlotUse(cluster.runs * cluster.connected, span),
            "tasks": SlotUse(cluster.tasks * cluster.connected, span),
        }
        self.waits = {queue: WaitTimes(span) for queue in QUEUES}
        self._shards: dict[str, int] = {}
        self._now = starts
        self._came = Counter[int]()
        self.recorded = self.done = self.arrived = self.cut = 0
        for worker in self.workers:
            for queue in QUEUES:
                self._offer(worker, queue)
        for death in cluster.deaths:
            self._at(starts + death.at, self._die, death)

    @property
    def terms(self) -> AllTerms:
        """What calls count for, of those that were made."""
        return self._terms

    def _worker(self, number: int) -> ModelledWorker:
        router, ledger = self._router(number), self.ledgers.of_worker()
        worker = ModelledWorker(self.cluster, router, ledger, Station(1, self.span, waits=self.cpu))
        if self.cluster.is_shared:
            worker.breakers = SharedBreakers(ledger, router.fleet, self._clock)
        return worker

    def _clock(self) -> float:
        return self._now

    # Runs and their tasks

    def _arrive(self, load: int, now: float) -> None:
        """Count a turn that comes; with the first one of each run the run comes."""
        self._expect(load)
        came, whole = self._came[load], self.cluster.run.whole
        self._came[load] += 1
        self.arrived += self.span.begins <= now <= self.span.ends
        if came % whole == 0:
            turns = min(whole, self._records.load[load].count - came)
            self._submit(ModelledJob(ModelledRun(load, turns, self.cluster), "runs"), None, now)

    def _submit(self, job: ModelledJob, by: ModelledWorker | None, now: float) -> None:
        job.queued = now
        self.database.ask(by, self.cluster.postgres.submit, self._queue, job, now)

    def _queue(self, job: ModelledJob, now: float) -> None:
        """The job is recorded: workers hear of it."""
        if self.cluster.wakes == "all":
            self.database.wake(job.queue, len(self._free[job.queue]) - 1, now)
        self._queues[job.queue].append(job)
        self._place(job.queue, now)

    def _place(self, queue: QueueName, now: float) -> None:
        waiting, free = self._queues[queue], self._free[queue]
        while waiting and free:
            worker, job = free[int(self._placing.random() * len(free))], waiting.popleft()
            worker.free[queue] -= 1
            if not worker.free[queue]:
                self._withdraw(worker, queue)
            job.worker = worker
            worker.jobs[job] = None
            self.slots[queue].change(1, now)
            wait = self.cluster.dispatch
            if self.cluster.wakes == "none":  # it looks by itself, at some instant of its own
                wait += self._placing.random() * self.cluster.poll
            self._at(now + wait, self._fetch, job)

    def _fetch(self, job: ModelledJob, now: float) -> None:
        if not job.is_lost:
            self.database.ask(job.worker, self.cluster.postgres.fetch, self._begin, job, now)

    def _begin(self, job: ModelledJob, now: float) -> None:
        """A worker has the job in hand."""
        self.waits[job.queue].count(now - job.queued, job.queued)
        if job.queue == "tasks":
            self._next(job, now)
        else:
            job.run.driver = job
            self._drive(job.run, now)

    def _drive(self, run: ModelledRun, now: float) -> None:
        """Submit what the run may have out, and end it where nothing is left."""
        if (driver := run.driver) is None:
            return
        while run.waiting and run.out < self.cluster.run.at_once:
            run.out += 1
            self._submit(ModelledJob(run, "tasks", run.waiting.pop()), driver.worker, now)
        if not run.out:
            run.driver = None
            self._next(driver, now)

    def _next(self, job: ModelledJob, now: float) -> None:
        """Take the job's next turn, or end it."""
        costs = self.cluster.postgres
        if job.left:
            self.database.ask(job.worker, costs.begin, self._begun, job, now)
        else:
            self.database.ask(job.worker, costs.end, self._finish, job, now)

    def _finish(self, job: ModelledJob, now: float) -> None:
        worker, queue = job.owner, job.queue
        del worker.jobs[job]
        self.slots[queue].change(-1, now)
        worker.free[queue] += 1
        if worker.free[queue] == 1:
            self._offer(worker, queue)
        self._place(queue, now)
        if queue == "tasks":
            job.run.out -= 1
            self._drive(job.run, now)

    def _offer(self, worker: ModelledWorker, queue: QueueName) -> None:
        worker.place[queue] = len(self._free[queue])
        self._free[queue].append(worker)

    def _withdraw(self, worker: ModelledWorker, queue: QueueName) -> None:
        """Take a worker from those that have a free slot; the last one gets its place."""
        last = self._free[queue].pop()
        if last is not worker:
            last.place[queue] = worker.place[queue]
            self._free[queue][last.place[queue]] = last

    # Turns

    def _begun(self, job: ModelledJob, now: float) -> None:
        self._at(job.owner.cpu.take(now, self.cluster.cpu / 2), self._take_turn, job)

    def _take_turn(self, job: ModelledJob, now: float) -> None:
        if job.is_lost:
            return
        self._turns += 1
        job.turn = ClusterTurn(self._turns, job, self._kind(job.run.load), now)
        self._go_on(job.turn, None, now)

    def _go_on(
        self, turn: ModelledTurn, outcome: Outcome | None, now: float, ended: ModelledAttempt | None = None
    ) -> None:
        if not _job(turn).is_lost:
            super()._go_on(turn, outcome, now, ended)

    def _give_up(self, turn: ModelledTurn, now: float) -> None:
        super()._give_up(turn, now)
        job = _job(turn)
        job.turn = None
        self._at(job.owner.cpu.take(now, self.cluster.cpu / 2), self._record, job)

    def _record(self, job: ModelledJob, now: float) -> None:
        if not job.is_lost:
            self.database.ask(job.worker, self.cluster.postgres.finish, self._recorded, job, now)

    def _recorded(self, job: ModelledJob, now: float) -> None:
        job.left -= 1
        self.done += 1
        self.recorded += self.span.begins <= now <= self.span.ends
        self._next(job, now)

    # The ledger

    def _is_shut(self, attempt: ModelledAttempt, now: float) -> bool:
        """Tell of breakers and look for those of others, as a live worker does before a call. It takes no trip here."""
        worker = _worker_of(attempt)
        if worker.breakers is None:
            return False
        if now - worker.looked_at >= LOOK_S:
            worker.looked_at = now
            self._burden_ledger(attempt, now)
        self._now = now
        return attempt.name in at_once(worker.breakers.exchange(self._clock))

    def _send(self, attempt: ModelledAttempt, act: Act, now: float) -> None:
        if self.cluster.is_shared:
            self._at(now + self._way(), self._come_to_ledger, (attempt, act))
        else:
            act(attempt, now)

    def _send_back(self, attempt: ModelledAttempt, act: Act, now: float) -> None:
        if self.cluster.is_shared:
            self._at(now + self._way(), act, attempt)
        else:
            act(attempt, now)

    def _come_to_ledger(self, message: tuple[ModelledAttempt, Act], now: float) -> None:
        """The server hears a message; it answers when it has done all that came before."""
        attempt, act = message
        if is_away(self.cluster.outages, now - self._starts):
            act(attempt, now)  # the worker's own ledger says what happens then
        else:
            self._at(self._burden_ledger(attempt, now), act, attempt)

    def _burden_ledger(self, attempt: ModelledAttempt, now: float) -> float:
        """Give the server one more message; return when it is done with it."""
        if self.cluster.ledger == "postgres":
            return self.database.check(now)
        provider = attempt.effect.candidate.provider.name
        shard = self._shards.setdefault(provider, len(self._shards) % len(self.redis))
        return self.redis[shard].take(now, self.cluster.redis.check)

    def _way(self) -> float:
        jitter = self.cluster.jitter
        return self.cluster.ledger_trip / 2 + (jitter * self._ways.random() if jitter else 0.0)

    def _hold(self, attempt: ModelledAttempt, ttl: float, now: float) -> NoRoom | None:
        return at_once(_worker_of(attempt).ledger.reserve(attempt.plan.reserves, attempt.lease, now, ttl))

    def _settle(self, attempt: ModelledAttempt, now: float) -> None:
        assert attempt.terms is not None
        ledger = _worker_of(attempt).ledger
        at_once(ledger.settle(attempt.terms.settles[attempt.ending], attempt.lease, now))
        if (shut := shut_until(attempt.plan.bound, attempt.error, now)) is not None:
            at_once(ledger.observe(shut[0], -1.0, shut[1], now))

    def _close(self, attempt: ModelledAttempt, how: Ending, now: float) -> None:
        if not _job(attempt.turn).is_lost:
            super()._close(attempt, how, now)

    # Deaths

    def _die(self, death: Death, now: float) -> None:
        for worker in [each for each in self.workers if not each.is_dead][: death.workers]:
            worker.is_dead = True
            for queue in QUEUES:
                if worker.free[queue]:
                    self._withdraw(worker, queue)
            for job in worker.jobs:
                self._lose(job, now)

    def _lose(self, job: ModelledJob, now: float) -> None:
        job.is_lost = True
        self.slots[job.queue].change(-1, now)
        if job.run.driver is job:
            job.run.driver = None
        if job.turn is not None:
            self.cut += sum(attempt.called is not None for attempt in job.turn.out)
            job.turn.out = []
        again = ModelledJob(job.run, job.queue, job.left)
        again.queued = now
        self._at(now + self.cluster.takeover, self._queue, again)


def _job(turn: ModelledTurn) -> ModelledJob:
    assert isinstance(turn, ClusterTurn), "all turns of a cluster are of jobs"
    return turn.job


def _worker_of(attempt: ModelledAttempt) -> ModelledWorker:
    return _job(attempt.turn).owner
