"""The shape of a cluster's text in a scenario, and the cluster that it says."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field

from providers.documents.fields import Duration, PositiveDuration
from providers.documents.findings import Findings
from providers.documents.models import StrictModel
from providers.simulation.cluster.model import (
    Away,
    Cluster,
    CountedOn,
    Death,
    PostgresModel,
    RedisModel,
    RunSize,
    WhoWakes,
)

MOST_WORKERS = 10_000
Some = Annotated[int, Field(ge=1, le=10_000)]
T = TypeVar("T")


class AwayShape(StrictModel):
    noun: ClassVar[str] = "a time away"
    begins: Duration
    lasts: PositiveDuration
    empty: bool = False


class DeathShape(StrictModel):
    noun: ClassVar[str] = "a death"
    at: Duration
    workers: Some = 1


class PostgresShape(StrictModel):
    noun: ClassVar[str] = "a cluster's PostgreSQL"
    cores: Annotated[int, Field(ge=1, le=512)] = PostgresModel().cores
    round_trip: Duration = PostgresModel().round_trip
    flush: Duration = PostgresModel().flush
    begin: Duration = PostgresModel().begin
    finish: Duration = PostgresModel().finish
    submit: Duration = PostgresModel().submit
    fetch: Duration = PostgresModel().fetch
    empty_fetch: Duration = PostgresModel().empty_fetch
    end: Duration = PostgresModel().end
    heartbeat: Duration = PostgresModel().heartbeat
    check: Duration = PostgresModel().check
    check_is_flushed: bool = PostgresModel().check_is_flushed
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = PostgresModel().max_connections
    away: list[AwayShape] = Field(default_factory=list)


class RedisShape(StrictModel):
    noun: ClassVar[str] = "a cluster's Redis"
    servers: Annotated[int, Field(ge=1, le=1000)] = RedisModel().servers
    round_trip: Duration = RedisModel().round_trip
    check: Duration = RedisModel().check
    away: list[AwayShape] = Field(default_factory=list)


class RunShape(StrictModel):
    noun: ClassVar[str] = "a run's size"
    tasks: Some = RunSize().tasks
    turns: Some = RunSize().turns
    at_once: Some = RunSize().at_once


class ClusterShape(StrictModel):
    noun: ClassVar[str] = "a cluster"
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] = 1
    runs: Some = Cluster().runs
    tasks: Some = Cluster().tasks
    cpu: Duration = Cluster().cpu
    connections: Annotated[int, Field(ge=1, le=1000)] = Cluster().connections
    ledger: CountedOn = "redis"
    stale: Duration = 0.0
    jitter: Duration = 0.0
    dispatch: Duration = Cluster().dispatch
    wakes: WhoWakes = "all"
    poll: PositiveDuration = Cluster().poll
    heartbeat: PositiveDuration = Cluster().heartbeat
    takeover: Duration = Cluster().takeover
    run: RunShape = RunShape()
    postgres: PostgresShape = PostgresShape()
    redis: RedisShape = RedisShape()
    deaths: list[DeathShape] = Field(default_factory=list)


def check_cluster(shape: ClusterShape, instances: int, message_delay: float, findings: Findings) -> None:
    """Report what makes no sense together."""
    path = ("cluster",)
    if instances != 1:
        findings.error(("instances",), "misplaced-field", "with a cluster its workers are the instances", key=True)
    if message_delay:
        hint = "cluster.redis.round_trip, or cluster.postgres.round_trip"
        findings.error(("message_delay",), "misplaced-field", "a cluster has its own delay of messages", hint, key=True)
    if shape.stale and shape.ledger not in ("redis", "postgres"):
        message = f"'stale' is of a ledger that workers share; '{shape.ledger}' is each worker's own"
        findings.error((*path, "stale"), "misplaced-field", message, key=True)
    if (found := shape.postgres.max_connections) < shape.connections:
        message = f"not one worker finds its {shape.connections} connections among {found}"
        findings.error((*path, "connections"), "out-of-range", message)
    if (dead := sum(each.workers for each in shape.deaths)) >= shape.workers and shape.deaths:
        message = f"{dead} of {shape.workers} workers die: one has to be left"
        findings.error((*path, "deaths"), "out-of-range", message, key=True)
    for server, row in (("postgres", shape.postgres), ("redis", shape.redis)):
        for at, (one, other) in enumerate(zip(row.away, row.away[1:], strict=False)):
            if other.begins < one.begins + one.lasts:
                message = "it is away already: write one after the other"
                findings.error((*path, server, "away", at + 1), "out-of-range", message)


def cluster_of(shape: ClusterShape) -> Cluster:
    """Return the cluster that the text says."""
    postgres = _made(PostgresModel, shape.postgres, away=tuple(_made(Away, each) for each in shape.postgres.away))
    redis = _made(RedisModel, shape.redis, away=tuple(_made(Away, each) for each in shape.redis.away))
    deaths = tuple(_made(Death, each) for each in shape.deaths)
    return _made(Cluster, shape, run=_made(RunSize, shape.run), postgres=postgres, redis=redis, deaths=deaths)


def _made(kind: type[T], shape: StrictModel, **others: Any) -> T:
    """Return a value whose fields are those of the shape, but for the `others`."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: others[name] if name in others else getattr(shape, name) for name in names})
