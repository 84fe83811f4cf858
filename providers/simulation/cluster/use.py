"""From what a simulation of a cluster counted to the cluster's part of the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Protocol

from providers.simulation.claims import measured
from providers.simulation.cluster.advice import advice
from providers.simulation.cluster.capacity import (
    CONNECTIONS,
    CPU,
    HOUR,
    IN_USE,
    POSTGRES,
    PROVIDERS,
    REDIS,
    ROWS,
    RUN_SLOTS,
    TASK_SLOTS,
    Capacity,
)
from providers.simulation.cluster.database import ModelledDatabase
from providers.simulation.cluster.jobs import ModelledWorker
from providers.simulation.cluster.ledgers import WorkerLedgers
from providers.simulation.cluster.model import Cluster, QueueName
from providers.simulation.cluster.stations import MeasuredSpan, SlotUse, Station, WaitTimes
from providers.simulation.report import ClusterUse, Durations, Report, ResourceUse
from providers.simulation.scenario import Scenario


class ClusterCounts(Protocol):
    """What a simulation of a cluster counted."""

    cluster: Cluster
    span: MeasuredSpan
    workers: list[ModelledWorker]
    slots: dict[QueueName, SlotUse]
    waits: dict[QueueName, WaitTimes]
    database: ModelledDatabase
    ledgers: WorkerLedgers
    redis: list[Station]
    cpu: WaitTimes
    recorded: int
    done: int
    arrived: int
    cut: int


def cluster_use(report: Report, scenario: Scenario, counted: ClusterCounts, capacity: Capacity) -> Report:
    """Return the report with what the cluster came to, and with the claims measured."""
    used, cluster, hours = _used(report, counted, capacity), counted.cluster, counted.span.seconds / HOUR
    resources = {
        name: ResourceUse(
            used=share,
            planned=capacity.needs[name].used(capacity.offered),
            carries=None if capacity.needs[name].most == inf else capacity.needs[name].most * HOUR,
            waited=waited,
        )
        for name, (share, waited) in used.items()
    }
    all_turns = sum(each.count for each in scenario.load)
    found = ClusterUse(
        workers=cluster.workers,
        connected=cluster.connected,
        offered=counted.arrived / hours,
        reached=counted.recorded / hours,
        first=_first(resources, capacity),
        resources=resources,
        jobs={queue: waits.durations() for queue, waits in counted.waits.items()},
        exceeded=report.violations,
        lost=counted.ledgers.lost,
        cut=counted.cut,
        unfinished=all_turns - counted.done,
        advice=(),
    )
    found = replace(found, advice=tuple(advice(cluster, capacity, found)))
    return measured(replace(report, cluster=found), scenario.claims)


def _first(resources: Mapping[str, ResourceUse], capacity: Capacity) -> str:
    """Return what is saturated first. Where one thing is, others fill up with what waits for it."""
    if capacity.used[capacity.first] >= 1.0:
        return capacity.first
    return max(resources, key=lambda name: resources[name].used)


def _used(report: Report, counted: ClusterCounts, capacity: Capacity) -> Mapping[str, tuple[float, Durations]]:
    """Return of each thing the share that was used, and how long it was waited for."""
    database, cluster, most = counted.database, counted.cluster, capacity.needs[PROVIDERS].most
    cores = [worker.cpu.used for worker in counted.workers]
    asked = report.answered / report.virtual_seconds if report.virtual_seconds else 0.0
    found = {
        PROVIDERS: (min(1.0, asked / most) if most else 1.0, Durations()),
        TASK_SLOTS: (counted.slots["tasks"].used, counted.waits["tasks"].durations()),
        RUN_SLOTS: (counted.slots["runs"].used, counted.waits["runs"].durations()),
        CPU: (sum(cores) / len(cores), counted.cpu.durations()),
        POSTGRES: (database.station.used, database.station.waits.durations()),
        CONNECTIONS: (capacity.needs[CONNECTIONS].always, Durations()),
        IN_USE: (database.in_use.used, database.waits.durations()),
    }
    if cluster.ledger == "postgres":
        found[ROWS] = (database.rows.used, database.rows.waits.durations())
    if cluster.ledger == "redis":
        busiest = max(counted.redis, key=lambda each: each.busy)
        found[REDIS] = (busiest.used, busiest.waits.durations())
    return found
