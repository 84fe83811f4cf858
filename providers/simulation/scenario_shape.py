"""The shape of a scenario's text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from providers.catalog.file import Duration, Shape
from providers.documents.quantities import parse_duration, parse_share
from providers.policy.parse import Share
from providers.simulation.scenario import MIDNIGHT, MOST_TOKENS, ErrorKind, Mode

MOST_TURNS = 10_000_000

Seconds = Annotated[float, BeforeValidator(parse_duration)]
Count = Annotated[int, Field(ge=1, le=MOST_TURNS)]
Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Sigma = Annotated[float, Field(ge=0, le=3)]
Keys = str | list[str | int]


def _instant(value: object) -> object:
    """Return epoch seconds of what YAML read as an instant or a day; text and all else as it is."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).timestamp()
    return value


def _figure(value: object) -> float:
    """Return a number, or the share that a percentage is."""
    if isinstance(value, str):
        return parse_share(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no figure: write a number, or a percentage")
    return float(value)


Figure = Annotated[float, BeforeValidator(_figure)]


class LatencyShape(Shape):
    first_token: Seconds = 0.5
    per_token: Seconds = 0.005
    spread: Sigma = 0.0


class OutageShape(Shape):
    begins: Seconds = 0.0
    lasts: Duration
    how: Mode = "refuses"


class FlakyShape(Shape):
    share: Annotated[Share, Field(lt=1)]
    mean: Duration = 60.0
    how: Mode = "refuses"


class BehaviourShape(Shape):
    latency: LatencyShape = LatencyShape()
    errors: dict[ErrorKind, Share] = Field(default_factory=dict)
    outages: list[OutageShape] = Field(default_factory=list)
    flaky: FlakyShape | None = None
    region: str | None = None
    hidden_limits: list[Any] = Field(default_factory=list)


class LoadShape(Shape):
    """`count` turns `over` some time, or one `every` so often; two of the three. `agents` and `personas` stand for one
    load for each name."""

    count: Count | None = None
    over: Duration | None = None
    every: Duration | None = None
    begins: Seconds = 0.0
    agents: list[str] = Field(default_factory=list)
    personas: list[str] = Field(default_factory=list)
    tier: str | None = None
    model: str | None = None
    task_type: str | None = None
    abilities: list[str] = Field(default_factory=list)
    input_tokens: Tokens = 600
    output_tokens: Tokens = 200
    max_output_tokens: Tokens | None = 1024
    spread: Sigma = 0.0
    deadline: Duration | None = None
    arrivals: Literal["even", "random"] = "even"
    phase: str = ""


class ClaimShape(Shape):
    text: str
    of: Keys
    per: Keys = Field(default_factory=list)
    exactly: Figure | None = None
    at_least: Figure | None = None
    at_most: Figure | None = None


class ScenarioShape(Shape):
    title: str
    about: str = ""
    seed: int = 1
    starts: Annotated[float, BeforeValidator(_instant), Field(ge=0, lt=4e9)] = MIDNIGHT
    instances: Annotated[int, Field(ge=1, le=1000)] = 1
    message_delay: Seconds = 0.0
    policy: dict[str, Any] = Field(default_factory=dict)
    providers: Annotated[dict[str, BehaviourShape | None], Field(min_length=1)]
    regions: dict[str, list[OutageShape]] = Field(default_factory=dict)
    load: Annotated[list[LoadShape], Field(min_length=1)]
    claims: list[ClaimShape] = Field(default_factory=list)
