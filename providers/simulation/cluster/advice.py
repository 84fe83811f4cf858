"""What to do about what is saturated, with figures. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from providers.simulation.cluster.capacity import (
    HOUR,
    POSTGRES,
    PROVIDERS,
    Capacity,
)
from providers.simulation.cluster.model import Cluster
from providers.simulation.report import ClusterUse

FULL, WANTED = 0.7, 0.6
"""The share from which on more is advised, and the share that the advice aims at: queues are short there."""


def advice(cluster: Cluster, capacity: Capacity, use: ClusterUse | None = None) -> Iterator[str]:
    """Yield what to do, the fullest thing first; `use`: what a simulation counted."""
    used = dict(capacity.used)
    if use is not None and not any(share >= FULL for share in used.values()):
        # Only then: where one thing is saturated, others fill up with what waits for it.
        used |= {name: max(used[name], each.used) for name, each in use.resources.items()}
    for name in sorted(used, key=lambda each: -used[each]):
        if used[name] >= FULL:
            yield f"{name}: {_about(name, cluster, capacity, used[name])}"
    if use is not None:
        yield from _past_limits(cluster, use)
    if not any(share >= FULL for share in used.values()):
        first, most = capacity.first, capacity.carries * HOUR
        yield f"nothing is short: {first} would be first, at {most:,.0f} turns an hour"


def _about(name: str, cluster: Cluster, capacity: Capacity, used: float) -> str:
    """Return what to do about one thing."""
    grow, costs, offered = used / WANTED, cluster.postgres, capacity.offered * HOUR
    match name:
        case "providers":
            return _of_providers(capacity)
        case "task slots":
            tasks, workers = ceil(cluster.tasks * grow), ceil(cluster.workers * grow)
            return f"{tasks:,} task slots a worker instead of {cluster.tasks:,}, or {workers:,} workers ({_kept(grow)})"
        case "run slots":
            runs, workers = ceil(cluster.runs * grow), ceil(cluster.workers * grow)
            return f"{runs:,} run slots a worker instead of {cluster.runs:,}, or {workers:,} workers: they are cheap"
        case "worker CPU":
            return f"{ceil(cluster.workers * grow):,} workers of one core each: more slots do not help"
        case "connections":
            return _of_connections(cluster)
        case "connections in use":
            wanted = ceil(cluster.connections * grow)
            return f"{wanted} connections a worker instead of {cluster.connections}, or a disk that flushes sooner"
        case "limit rows":
            return "count limits on Redis (`ledger: redis`): rows that all workers change are changed one at a time"
        case "Redis":
            servers = ceil(cluster.redis.servers * grow)
            return f"{servers} Redis servers, each with the limits of some providers: one does one thing at a time"
        case _:
            assert name == POSTGRES, name
            return _of_postgres(cluster, capacity, ceil(costs.cores * grow), offered)


def _kept(grow: float) -> str:
    return f"to keep {WANTED:.0%} busy, {grow:.1f} times as many"


def _of_providers(capacity: Capacity) -> str:
    most = capacity.needs[PROVIDERS].most * HOUR
    return f"their limits allow {most:,.0f} turns an hour: more accounts, other providers in the tier, or higher plans"


def _of_connections(cluster: Cluster) -> str:
    costs, needed = cluster.postgres, cluster.workers * cluster.connections
    found = f"{needed:,} are needed, and PostgreSQL has {costs.max_connections:,}"
    if cluster.connected < cluster.workers:
        found += f", so {cluster.workers - cluster.connected:,} workers cannot start"
    fewer = max(1, ceil(cluster.workers * cluster.tasks / 500))
    hint = (
        f"; fewer workers with more slots ({fewer:,} x 500)" if cluster.tasks < 500 and fewer < cluster.workers else ""
    )
    return f"{found}: a pooler before it (PgBouncer), fewer a worker, or a higher max_connections{hint}"


def _of_postgres(cluster: Cluster, capacity: Capacity, cores: int, offered: float) -> str:
    costs, jobs = cluster.postgres, capacity.offered * (1 / cluster.run.turns + 1 / cluster.run.whole)
    woken = jobs * (cluster.connected - 1) * costs.empty_fetch * (cluster.wakes == "all")
    if woken > 0.3 * costs.cores:
        return (
            f"{jobs:,.0f} jobs a second wake {cluster.connected:,} workers each, which takes {woken:,.1f} cores: fewer "
            f"workers with more slots each, or {cores} cores instead of {costs.cores}"
        )
    if cluster.background > 0.3 * costs.cores:
        return (
            f"heartbeats and looking for jobs of {cluster.connected:,} workers take {cluster.background:,.1f} cores: "
            "fewer workers with more slots each"
        )
    others = "; count limits on Redis" if cluster.ledger == "postgres" else ""
    return (
        f"{cores} cores instead of {costs.cores} for {offered:,.0f} turns an hour{others}; then runs on several "
        "databases, each with workers of its own"
    )


def _past_limits(cluster: Cluster, use: ClusterUse) -> Iterator[str]:
    """Yield why calls exceeded the limits of providers."""
    if not use.exceeded:
        return
    told = f"{use.exceeded:,} calls exceeded the limits of providers: "
    if cluster.ledger == "memory":
        yield told + "each worker counts for itself; share a ledger (`ledger: redis`)"
    elif cluster.stale:
        yield told + f"the counts are {cluster.stale:g} s old at most; ask the server for each call"
    elif use.lost:
        yield (
            told + f"workers went on alone {use.lost:,} times while the ledger was away; see `orchestrator docs limits`"
        )
    else:
        yield told + "a worker died with reservations in hand, or a provider counts otherwise than the file says"
