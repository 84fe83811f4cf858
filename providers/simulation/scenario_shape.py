"""The shape of a scenario's text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from providers.catalog.shapes import LimitShape
from providers.documents.fields import PERCENT, Duration, PositiveDuration, Share
from providers.documents.file_schema import file_schema
from providers.documents.models import StrictModel
from providers.documents.quantities import parse_share
from providers.policy.shapes import described_policy
from providers.simulation.cluster.shape import ClusterShape
from providers.simulation.scenario import MIDNIGHT, MOST_TOKENS, ErrorKind, Mode

MOST_TURNS = 10_000_000

TurnCount = Annotated[int, Field(ge=1, le=MOST_TURNS)]
TokenCount = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Sigma = Annotated[float, Field(ge=0, le=3)]
Keys = str | list[str | int]


def _instant(value: object) -> object:
    """Return epoch seconds of an instant or a day that is written as ISO 8601; all else as it is."""
    if not isinstance(value, str):
        return value
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not an instant: write 2026-11-21T06:00:00+01:00, or a day") from None
    return instant.replace(tzinfo=instant.tzinfo or UTC).timestamp()


def _figure(value: object) -> float:
    """Return a number, or the share that a percentage is."""
    if isinstance(value, str):
        return parse_share(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is not a figure: write a number, or a percentage")
    return float(value)


Claimed = Annotated[
    float,
    BeforeValidator(_figure),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": PERCENT}], "title": "number or share"}),
]
Instant = Annotated[
    float,
    BeforeValidator(_instant),
    Field(ge=0, lt=4e9),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "number", "minimum": 0, "exclusiveMaximum": 4e9}], "title": "instant"}
    ),
]


class LatencyShape(StrictModel):
    """How long an answer takes: (`first_token` + `per_token` for each token of it), times a log-normal draw."""

    noun: ClassVar[str] = "a latency"
    first_token: Duration = Field(default=0.5, description="Until its first token.", examples=["300ms"])
    per_token: Duration = Field(default=0.005, description="For each of its tokens.", examples=["2ms"])
    spread: Sigma = Field(default=0.0, description="Sigma of the draw; 0: always the same.", examples=[0.4])


class OutageShape(StrictModel):
    """A time in which a provider or a region is down."""

    noun: ClassVar[str] = "an outage"
    begins: Duration = Field(default=0.0, description="When, from the start of the scenario on.", examples=["4h"])
    lasts: PositiveDuration = Field(description="How long.", examples=["10m"])
    how: Mode = Field(
        default="refuses",
        description="What happens to calls then: `refuses` no connection, `hangs` no answer ever, `errors` server "
        "errors, `retires` no such model, `blocks` a firewall, `limits` 429.",
        examples=["hangs"],
    )


class FlakyShape(StrictModel):
    """Outages at random instants."""

    noun: ClassVar[str] = "flaky"
    share: Annotated[Share, Field(lt=1)] = Field(
        description="The share of the time in which it is down; less than 1.", examples=["1%"]
    )
    mean: PositiveDuration = Field(default=60.0, description="How long one lasts on average.", examples=["1m"])
    how: Mode = Field(default="refuses", description="As in an outage.", examples=["errors"])


class BehaviourShape(StrictModel):
    """How a provider behaves."""

    noun: ClassVar[str] = "a provider's behaviour"
    latency: LatencyShape = Field(
        default=LatencyShape(),
        description="How long its answers take.",
        examples=[{"first_token": "300ms", "per_token": "2ms", "spread": 0.4}],
    )
    errors: dict[ErrorKind, Share] = Field(
        default_factory=dict,
        description="Shares of all calls that fail, by kind; together at most 1.",
        examples=[{"server": "1%"}],
    )
    outages: list[OutageShape] = Field(
        default_factory=list,
        description="When it is down.",
        examples=[[{"begins": "4h", "lasts": "10m", "how": "hangs"}]],
    )
    flaky: FlakyShape | None = Field(
        default=None,
        description="It is down now and then. Default: it is not.",
        examples=[{"share": "1%", "mean": "1m"}],
    )
    region: str | None = Field(
        default=None, description="The region that it is in, one of `regions`: it is down with it.", examples=["eu"]
    )
    hidden_limits: list[Any] = Field(
        default_factory=list,
        description="Limits that it enforces and the router does not know, written as in a routing file.",
        examples=[[{"metric": "requests", "amount": 100, "window": "1m"}]],
    )


class LoadShape(StrictModel):
    """`count` turns `over` some time, or one `every` so often; two of the three. `agents` and `personas` mean one
    load for each name."""

    noun: ClassVar[str] = "a load"
    count: TurnCount | None = Field(default=None, description="How many turns.", examples=[1200])
    over: PositiveDuration | None = Field(default=None, description="The time in which they arrive.", examples=["8h"])
    every: PositiveDuration | None = Field(
        default=None, description="Or the time between two of them.", examples=["5m"]
    )
    begins: Duration = Field(default=0.0, description="When, from the start of the scenario on.", examples=["1h"])
    agents: list[str] = Field(
        default_factory=list, description="Agents that ask: each one makes all these turns.", examples=[["dev"]]
    )
    personas: list[str] = Field(default_factory=list, description="The same, by persona.", examples=[["analyst"]])
    tier: str | None = Field(default=None, description="The tier that is asked.", examples=["worker"])
    model: str | None = Field(default=None, description="The one model that is asked.", examples=["openai/gpt-6-luna"])
    task_type: str | None = Field(
        default=None, description="The type of the tasks, as in the policy.", examples=["code"]
    )
    abilities: list[str] = Field(
        default_factory=list, description="What the model must be able to do.", examples=[["tools"]]
    )
    input_tokens: TokenCount = Field(default=600, description="Tokens of a request.", examples=[3000])
    output_tokens: TokenCount = Field(default=200, description="Tokens of an answer, on average.", examples=[400])
    max_output_tokens: TokenCount | None = Field(
        default=1024,
        description="The most tokens of an answer that are asked for; null: what the model can.",
        examples=[2048],
    )
    spread: Sigma = Field(
        default=0.0, description="Sigma of the log-normal draw of both; 0: always the same.", examples=[0.5]
    )
    deadline: PositiveDuration | None = Field(
        default=None,
        description="By when a turn must be answered. Default: `timeouts.total` of the policy.",
        examples=["60s"],
    )
    arrivals: Literal["even", "random"] = Field(
        default="even", description="Whether turns come at equal times or at random ones.", examples=["random"]
    )
    phase: str = Field(
        default="", description="A name under which the report counts these turns.", examples=["reports"]
    )


class ClaimShape(StrictModel):
    """What must hold in the end. It needs one of `exactly`, `at_least` and `at_most`."""

    noun: ClassVar[str] = "a claim"
    text: str = Field(description="What it says, in words.", examples=["99 of 100 turns are answered in time"])
    of: Keys = Field(
        description="A figure of the report, as its path: `failed`, `providers.groq.share`; a list where a name"
        " has a point in it.",
        examples=["answered_in_time"],
    )
    per: Keys = Field(
        default_factory=list, description="A figure that it is divided by. Default: none.", examples=["turns"]
    )
    exactly: Claimed | None = Field(default=None, description="The value that it must have.", examples=[0])
    at_least: Claimed | None = Field(
        default=None, description="The least value: a number or a percentage.", examples=["99%"]
    )
    at_most: Claimed | None = Field(default=None, description="The largest value.", examples=[2000000])


class ScenarioShape(StrictModel):
    """A load, providers that behave in some way, and what must hold under a policy."""

    noun: ClassVar[str] = "a scenario"
    placeholders: ClassVar[Mapping[str, Any]] = {
        "title": "?",
        "providers": {"*": None},
        "load": [{"count": 1}],
        "lasts": 1,
        "share": 0.5,
        "text": "?",
        "of": "?",
    }
    title: str = Field(description="What is tried, on one line.", examples=["A working day on two accounts"])
    about: str = Field(
        default="", description="More about it.", examples=["The free account answers 1,000 requests a day."]
    )
    seed: int = Field(
        default=1, description="Of every random draw: the same seed gives the same decisions.", examples=[7]
    )
    starts: Instant = Field(
        default=MIDNIGHT,
        description="When it starts: an instant or a day as ISO 8601, or epoch seconds UTC. It matters for "
        "limits of a calendar day.",
        examples=["2026-11-21T06:00:00+01:00"],
    )
    instances: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="How many routers share the limits.", examples=[8]
    )
    message_delay: Duration = Field(
        default=0.0, description="How long a message to the ledger that they share takes.", examples=["20ms"]
    )
    policy: dict[str, Any] = Field(
        default_factory=dict,
        description="A routing file: what is tried, in which order, within which limits. Default: the built-in policy.",
        examples=[{"tiers": {"worker": ["groq/openai/gpt-oss-20b", "openai/gpt-6-luna"]}}],
    )
    providers: Annotated[dict[str, BehaviourShape | None], Field(min_length=1)] = Field(
        description="The providers that have a key, by name, and how each behaves; `*` is all others. null: "
        "with the defaults.",
        examples=[{"groq": {"errors": {"server": "1%"}}, "*": None}],
    )
    regions: dict[str, list[OutageShape]] = Field(
        default_factory=dict,
        description="Outages by region: each provider in it is down then.",
        examples=[{"eu": [{"begins": "1h", "lasts": "10m"}]}],
    )
    load: Annotated[list[LoadShape], Field(min_length=1)] = Field(
        description="The turns: give two of `count`, `over` and `every`.",
        examples=[[{"count": 1200, "over": "8h", "agents": ["dev"]}]],
    )
    claims: list[ClaimShape] = Field(
        default_factory=list,
        description="What must hold; else the exit code is 1.",
        examples=[[{"text": "no turn fails", "of": "failed", "exactly": 0}]],
    )
    cluster: ClusterShape | None = Field(
        default=None,
        description="Workers, PostgreSQL and Redis around the routers. Default: none.",
        examples=[{"workers": 10}],
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario's file, for editors: with the parts that other rooms read."""
    hidden: Any = (list[LimitShape], BehaviourShape.model_fields["hidden_limits"])
    behaviour: Any = create_model(
        "BehaviourShape", __base__=BehaviourShape, __doc__=BehaviourShape.__doc__, hidden_limits=hidden
    )
    types = {"policy": described_policy(), "providers": dict[str, behaviour | None]}
    fields: dict[str, Any] = {name: (kind, ScenarioShape.model_fields[name]) for name, kind in types.items()}
    shape = create_model(ScenarioShape.__name__, __base__=ScenarioShape, __doc__=ScenarioShape.__doc__, **fields)
    return file_schema(shape, "scenario")
