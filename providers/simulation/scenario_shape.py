"""The shape of a scenario's text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from providers.documents.fields import Duration, PositiveDuration, Share
from providers.documents.models import StrictModel
from providers.documents.quantities import parse_share
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


Claimed = Annotated[float, BeforeValidator(_figure)]


class LatencyShape(StrictModel):
    noun: ClassVar[str] = "a latency"
    first_token: Duration = 0.5
    per_token: Duration = 0.005
    spread: Sigma = 0.0


class OutageShape(StrictModel):
    noun: ClassVar[str] = "an outage"
    begins: Duration = 0.0
    lasts: PositiveDuration
    how: Mode = "refuses"


class FlakyShape(StrictModel):
    noun: ClassVar[str] = "flaky"
    share: Annotated[Share, Field(lt=1)]
    mean: PositiveDuration = 60.0
    how: Mode = "refuses"


class BehaviourShape(StrictModel):
    noun: ClassVar[str] = "a provider's behaviour"
    latency: LatencyShape = LatencyShape()
    errors: dict[ErrorKind, Share] = Field(default_factory=dict)
    outages: list[OutageShape] = Field(default_factory=list)
    flaky: FlakyShape | None = None
    region: str | None = None
    hidden_limits: list[Any] = Field(default_factory=list)


class LoadShape(StrictModel):
    """`count` turns `over` some time, or one `every` so often; two of the three. `agents` and `personas` stand for one
    load for each name."""

    noun: ClassVar[str] = "a load"
    count: TurnCount | None = None
    over: PositiveDuration | None = None
    every: PositiveDuration | None = None
    begins: Duration = 0.0
    agents: list[str] = Field(default_factory=list)
    personas: list[str] = Field(default_factory=list)
    tier: str | None = None
    model: str | None = None
    task_type: str | None = None
    abilities: list[str] = Field(default_factory=list)
    input_tokens: TokenCount = 600
    output_tokens: TokenCount = 200
    max_output_tokens: TokenCount | None = 1024
    spread: Sigma = 0.0
    deadline: PositiveDuration | None = None
    arrivals: Literal["even", "random"] = "even"
    phase: str = ""


class ClaimShape(StrictModel):
    noun: ClassVar[str] = "a claim"
    text: str
    of: Keys
    per: Keys = Field(default_factory=list)
    exactly: Claimed | None = None
    at_least: Claimed | None = None
    at_most: Claimed | None = None


class ScenarioShape(StrictModel):
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
    title: str
    about: str = ""
    seed: int = 1
    starts: Annotated[float, BeforeValidator(_instant), Field(ge=0, lt=4e9)] = MIDNIGHT
    instances: Annotated[int, Field(ge=1, le=1000)] = 1
    message_delay: Duration = 0.0
    policy: dict[str, Any] = Field(default_factory=dict)
    providers: Annotated[dict[str, BehaviourShape | None], Field(min_length=1)]
    regions: dict[str, list[OutageShape]] = Field(default_factory=dict)
    load: Annotated[list[LoadShape], Field(min_length=1)]
    claims: list[ClaimShape] = Field(default_factory=list)
    cluster: ClusterShape | None = None
