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
    """A time in which a server is down."""

    noun: ClassVar[str] = "a server outage"
    begins: Duration = Field(description="When, from the start on.", examples=["10m"])
    lasts: PositiveDuration = Field(description="How long.", examples=["20s"])
    empty: bool = Field(default=False, description="Whether it has lost what it held.", examples=[True])


class DeathShape(StrictModel):
    """Workers that die."""

    noun: ClassVar[str] = "a death"
    at: Duration = Field(description="When, from the start on.", examples=["10m"])
    workers: Some = Field(default=1, description="How many.", examples=[2])


class PostgresShape(StrictModel):
    """A server that does as many operations at a time as it has cores."""

    noun: ClassVar[str] = "a cluster's PostgreSQL"
    cores: Annotated[int, Field(ge=1, le=512)] = Field(
        default=PostgresModel().cores, description="Its cores.", examples=[4]
    )
    round_trip: Duration = Field(
        default=PostgresModel().round_trip, description="Of the network, there and back.", examples=["0.5ms"]
    )
    flush: Duration = Field(default=PostgresModel().flush, description="Until a commit is answered.", examples=["1ms"])
    begin: Duration = Field(
        default=PostgresModel().begin,
        description="Time of the server to record a call's beginning.",
        examples=["0.15ms"],
    )
    finish: Duration = Field(default=PostgresModel().finish, description="The same for its end.", examples=["0.35ms"])
    submit: Duration = Field(
        default=PostgresModel().submit, description="The same to submit a job.", examples=["0.25ms"]
    )
    fetch: Duration = Field(default=PostgresModel().fetch, description="The same to fetch one.", examples=["0.6ms"])
    empty_fetch: Duration = Field(
        default=PostgresModel().empty_fetch, description="The same where there is none.", examples=["0.05ms"]
    )
    end: Duration = Field(default=PostgresModel().end, description="The same to end one.", examples=["0.5ms"])
    heartbeat: Duration = Field(
        default=PostgresModel().heartbeat, description="The same for a worker's heartbeat.", examples=["0.09ms"]
    )
    check: Duration = Field(
        default=PostgresModel().check, description="The same to check or settle a call's limits.", examples=["0.4ms"]
    )
    check_is_flushed: bool = Field(
        default=PostgresModel().check_is_flushed,
        description="Whether each such check waits for its own flush.",
        examples=[True],
    )
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=PostgresModel().max_connections, description="The connections that it takes.", examples=[200]
    )
    away: list[AwayShape] = Field(
        default_factory=list, description="When it is down.", examples=[[{"begins": "10m", "lasts": "20s"}]]
    )


class RedisShape(StrictModel):
    """Servers that each do one thing at a time; each provider's limits are on one of them."""

    noun: ClassVar[str] = "a cluster's Redis"
    servers: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=RedisModel().servers, description="How many.", examples=[3]
    )
    round_trip: Duration = Field(
        default=RedisModel().round_trip, description="Of the network, there and back.", examples=["0.5ms"]
    )
    check: Duration = Field(
        default=RedisModel().check, description="To check or settle a call's limits.", examples=["0.17ms"]
    )
    away: list[AwayShape] = Field(
        default_factory=list, description="When it is down.", examples=[[{"begins": "10m", "lasts": "20s"}]]
    )


class RunShape(StrictModel):
    """How large a run is."""

    noun: ClassVar[str] = "a run's size"
    tasks: Some = Field(default=RunSize().tasks, description="Its tasks.", examples=[4])
    turns: Some = Field(default=RunSize().turns, description="Turns of each task.", examples=[5])
    at_once: Some = Field(
        default=RunSize().at_once, description="Tasks that are worked on at the same time.", examples=[2]
    )


class ClusterShape(StrictModel):
    """Workers that do the turns, with one core each, and the servers that they share."""

    noun: ClassVar[str] = "a cluster"
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] = Field(default=1, description="How many.", examples=[10])
    runs: Some = Field(
        default=Cluster().runs, description="Runs that one worker drives at the same time.", examples=[5]
    )
    tasks: Some = Field(
        default=Cluster().tasks, description="Tasks that one worker does at the same time.", examples=[50]
    )
    cpu: Duration = Field(default=Cluster().cpu, description="What a turn takes of its core.", examples=["3ms"])
    connections: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=Cluster().connections, description="Its connections to PostgreSQL.", examples=[5]
    )
    ledger: CountedOn = Field(
        default="redis",
        description="Where limits are counted: on one server for all, by each worker of its share (`split`), or"
        " of the whole as if alone (`memory`).",
        examples=["postgres"],
    )
    stale: Duration = Field(
        default=0.0, description="How old what is read of the shared ledger may be.", examples=["100ms"]
    )
    jitter: Duration = Field(
        default=0.0, description="How much longer than half a round trip a message may take.", examples=["5ms"]
    )
    dispatch: Duration = Field(
        default=Cluster().dispatch,
        description="How long a job waits at least before a worker has it.",
        examples=["5ms"],
    )
    wakes: WhoWakes = Field(
        default="all", description="Whether workers hear of a new job, or only look for it.", examples=["none"]
    )
    poll: PositiveDuration = Field(default=Cluster().poll, description="How often they look.", examples=["1s"])
    heartbeat: PositiveDuration = Field(
        default=Cluster().heartbeat, description="How often they send a heartbeat.", examples=["5s"]
    )
    takeover: Duration = Field(
        default=Cluster().takeover,
        description="How long after a worker has died another one continues its work.",
        examples=["20s"],
    )
    run: RunShape = Field(default=RunShape(), description="How large a run is.", examples=[{"tasks": 4, "turns": 5}])
    postgres: PostgresShape = Field(default=PostgresShape(), description="The PostgreSQL.", examples=[{"cores": 4}])
    redis: RedisShape = Field(default=RedisShape(), description="The Redis.", examples=[{"servers": 3}])
    deaths: list[DeathShape] = Field(
        default_factory=list, description="Workers that die.", examples=[[{"at": "10m", "workers": 2}]]
    )


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
                message = "it is down already at that time: list the outages one after the other"
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
