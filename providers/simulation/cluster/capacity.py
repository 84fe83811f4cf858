"""What a cluster carries, by formulas: the share of each thing that a load uses, and the load that uses it up. Pure.

The same model as the simulation's, without its queues: times are means, nothing waits, and every worker is as busy as
the others. So it says what is saturated first and by which load, at any size and at once; how long what is nearly
saturated makes turns wait, only a simulation says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist

from providers.client.shared_breakers import LOOK_S
from providers.simulation.cluster.mix import Mix, PlacedMix
from providers.simulation.cluster.model import Cluster
from providers.simulation.scenario import Scenario

PROVIDERS, TASK_SLOTS, RUN_SLOTS, CPU = "providers", "task slots", "run slots", "worker CPU"
POSTGRES, CONNECTIONS, IN_USE = "PostgreSQL", "connections", "connections in use"
ROWS, REDIS = "limit rows", "Redis"
HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Need:
    """The share of one thing that a load uses: `always`, whatever the load, and `each` for every turn a second."""

    each: float
    always: float = 0.0

    def used(self, rate: float) -> float:
        return self.always + rate * self.each

    @property
    def most(self) -> float:
        """Turns a second that use all of it; 0: it is used up without any, infinite: none use it up."""
        if self.always > 1.0:
            return 0.0
        return (1.0 - self.always) / self.each if self.each > 0 else inf


@dataclass(frozen=True, slots=True)
class Capacity:
    """`needs` is by the name of the thing. `offered` and `carries` are turns a second: those that come, and those that
    all things together carry; `first` names the one that is saturated first. `turn` and `task` are the seconds that a
    turn, and a task, take where nothing is saturated."""

    offered: float
    carries: float
    first: str
    needs: Mapping[str, Need]
    turn: float
    task: float

    @property
    def used(self) -> Mapping[str, float]:
        """The share of each thing that the load uses; above 1 it is more than there is."""
        return {name: need.used(self.offered) for name, need in self.needs.items()}


def capacity_of(scenario: Scenario, cluster: Cluster) -> Capacity:
    """Return what the cluster carries of the scenario's load."""
    mix = Mix(scenario)
    placed = mix.place(min(mix.offered, mix.most))
    turn = _turn(placed, cluster)
    task = _job(cluster) + cluster.run.turns * turn
    needs = {
        PROVIDERS: Need(1.0 / mix.most if mix.most else inf),
        **_of_workers(cluster, task, placed.spread * sqrt(cluster.run.turns)),
        **_of_servers(cluster, placed, mix.offered),
    }
    carries = min(need.most for name, need in needs.items() if name != CONNECTIONS)
    # Where workers find no connection, the others have to do: what they carry is said, and why there are no more.
    short = needs[CONNECTIONS].always > 1.0
    first = CONNECTIONS if short else min(needs, key=lambda name: needs[name].most)
    return Capacity(mix.offered, carries, first, needs, turn, task)


def _turn(placed: PlacedMix, cluster: Cluster) -> float:
    """Return the seconds of a turn, its place in the journal among them."""
    costs = cluster.postgres
    trip = costs.round_trip + cluster.jitter + costs.flush
    journal = costs.begin + costs.finish + 2 * trip
    check = 0.0
    if cluster.is_shared:
        check = cluster.ledger_trip + cluster.jitter + _check(cluster)
    return journal + cluster.cpu + placed.seconds + placed.bound * placed.calls * check


def _check(cluster: Cluster) -> float:
    """Return the seconds of the ledger's time that one message takes."""
    if cluster.ledger == "redis":
        return cluster.redis.check
    return cluster.postgres.check + cluster.postgres.flush * cluster.postgres.check_is_flushed


def _job(cluster: Cluster) -> float:
    """Return the seconds for which a job has a slot beside its work: until it is there, and to end it."""
    costs = cluster.postgres
    looks = cluster.poll / 2 if cluster.wakes == "none" else 0.0
    trip = costs.round_trip + cluster.jitter + costs.flush
    return cluster.dispatch + looks + costs.fetch + costs.end + 2 * trip


def _of_workers(cluster: Cluster, task: float, spread: float) -> Mapping[str, Need]:
    size, workers = cluster.run, cluster.connected
    trip = cluster.postgres.round_trip + cluster.jitter + cluster.postgres.flush
    run = _job(cluster) + _longest(cluster, task + cluster.postgres.submit + trip, spread)
    return {
        TASK_SLOTS: Need(task / size.turns / (workers * cluster.tasks)),
        RUN_SLOTS: Need(run / size.whole / (workers * cluster.runs)),
        CPU: Need(cluster.cpu / workers),
    }


def _wakes(cluster: Cluster) -> float:
    """Return how often a run wakes all workers. Who is awake hears no more: tasks that come at once wake them twice."""
    size = cluster.run
    together = min(size.tasks, size.at_once)
    return (1 + min(together, 2) + size.tasks - together) * (cluster.wakes == "all")


def _longest(cluster: Cluster, task: float, spread: float) -> float:
    """Return the seconds until all tasks of a run are done, `at_once` of them at a time; `spread` is a task's sigma."""
    tasks, lanes = cluster.run.tasks, min(cluster.run.at_once, cluster.run.tasks)
    last = NormalDist().inv_cdf((lanes - 0.375) / (lanes + 0.25)) * spread  # the longest of so many, by Blom's formula
    if tasks == lanes:
        return task + last
    return task * tasks / lanes + max(last, task * (lanes - 1) / lanes / 2)


def _looks(cluster: Cluster, placed: PlacedMix, offered: float) -> float:
    """Return how often a turn's call is one of those with which a worker looks for the breakers of the others."""
    a_worker = placed.calls * offered / cluster.connected
    return placed.calls / (1.0 + a_worker * LOOK_S)


def _of_servers(cluster: Cluster, placed: PlacedMix, offered: float) -> Mapping[str, Need]:
    costs, size, workers = cluster.postgres, cluster.run, cluster.connected
    jobs = 1.0 / size.turns + 1.0 / size.whole
    work = costs.begin + costs.finish + jobs * (costs.submit + costs.fetch + costs.end)
    work += _wakes(cluster) / size.whole * (workers - 1) * costs.empty_fetch
    messages = 2 * placed.calls * placed.bound + _looks(cluster, placed, offered)
    if cluster.ledger == "postgres":
        work += messages * costs.check
    # A connection is in use until the answer is back.
    trip = costs.round_trip + cluster.jitter + costs.flush
    held = costs.begin + costs.finish + 2 * trip
    held += (costs.submit + trip) / size.turns + jobs * (costs.fetch + costs.end + 2 * trip)
    needs = {
        IN_USE: Need(held / (workers * cluster.connections)),
        POSTGRES: Need(work / costs.cores, cluster.background / costs.cores),
        CONNECTIONS: Need(0.0, cluster.workers * cluster.connections / costs.max_connections),
    }
    if cluster.ledger == "postgres":
        needs[ROWS] = Need(messages * _check(cluster))
    if cluster.ledger == "redis":
        needs[REDIS] = Need(messages * cluster.redis.check / cluster.redis.servers)
    return needs
