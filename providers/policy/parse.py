"""The shape of the policy's text, `agent_routing.yaml`, and how it is laid over the built-in one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from providers.catalog.file import Duration, Name, Shape, packaged, read_shape
from providers.catalog.model import Problem
from providers.documents.quantities import parse_share
from providers.policy.factors import POINTS, Strategy

Share = Annotated[float, BeforeValidator(parse_share)]
Weight = Annotated[float, Field(ge=0)]
Names = Annotated[list[str], Field(min_length=1)]
RANKS = ("primary", "secondary", "tertiary", "last_resort")

_BY_NAME = {"tiers", "agents", "affinity", "task_types", "weights"}
"""Sections whose entries are independent of each other: a broken one takes no other one with it."""


def _by_rank(value: Any) -> Any:
    """Return a chain whose members are given by rank as a list."""
    if not isinstance(value, Mapping):
        return value
    if strange := next((key for key in value if key not in RANKS), None):
        raise ValueError(f"knows no rank {strange!r}: write primary, secondary, tertiary and last_resort")
    for rank, before in (("primary", None), ("tertiary", "secondary"), ("secondary", "primary")):
        if before is None and rank not in value:
            raise ValueError("has no primary")
        if before is not None and rank in value and before not in value:
            raise ValueError(f"has a {rank} and no {before}")
    return [value[rank] for rank in RANKS if rank in value]


class AgentShape(Shape):
    tier: str | None = None
    model: str | None = None
    chain: Annotated[Names, BeforeValidator(_by_rank)] = Field(default_factory=list)
    task_type: str | None = None


class TaskShape(Shape):
    prefer: Names


class FactorsShape(Shape):
    """Points per factor."""

    cost: Weight = POINTS["cost"]
    quota: Weight = POINTS["quota"]
    health: Weight = POINTS["health"]
    latency: Weight = POINTS["latency"]
    task: Weight = POINTS["task"]
    environment: Weight = POINTS["environment"]


class TimeoutsShape(Shape):
    connect: Duration = 0
    first_token: Duration = 0
    between_chunks: Duration = 0
    total: Duration = 0


class AttemptsShape(Shape):
    per_turn: int = Field(default=4, ge=1)
    retry_budget: Share = 0.2
    hedge_after: Duration | None = None
    on_decline: Literal["error", "elsewhere"] = "error"


class StreamShape(Shape):
    on_break: Literal["error", "restart", "resume"] = "error"


def _variable(value: object) -> object:
    """Return the name of a variable. What stands there instead is not repeated: it may be the secret itself."""
    if value is None or (isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value)):
        return value
    raise ValueError("names the variable that holds the URL: write BUDGET_WEBHOOK_URL, and set that")


Usd = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class BudgetShape(Shape):
    """Amounts are USD a day: for all providers together, for one provider, for one model."""

    max_cost_per_day: Usd | None = None
    providers: dict[str, Usd] = Field(default_factory=dict)
    models: dict[str, Usd] = Field(default_factory=dict)
    timezone: str = "UTC"
    alert_at: list[Share] = Field(default_factory=lambda: [0.5, 0.8, 1.0])
    unknown_price: Literal["refuse", "allow"] = "refuse"
    webhook_env: Annotated[str | None, BeforeValidator(_variable)] = None


class ChecksShape(Shape):
    every: Annotated[Duration, Field(ge=1)] = 60.0
    providers: Names


class PolicyShape(Shape):
    """The whole file. No field depends on another one: each can be left out and the rest still reads."""

    version: Literal[1] = 1
    environment: Literal["production", "development", "auto"] = "auto"
    only: dict[Literal["production", "development"], Names] = Field(default_factory=dict)
    strategy: Strategy = "tier"
    tiers: Annotated[dict[Name, Names], Field(min_length=1)] = Field(default_factory=dict)
    agents: dict[str, AgentShape] = Field(default_factory=dict)
    affinity: dict[str, str] = Field(default_factory=dict)
    default: AgentShape | None = None
    last_resort: list[str] | None = None
    task_types: dict[str, TaskShape] = Field(default_factory=dict)
    weights: dict[str, Weight] = Field(default_factory=dict)
    factors: FactorsShape = FactorsShape()
    timeouts: TimeoutsShape = TimeoutsShape()
    attempts: AttemptsShape = AttemptsShape()
    stream: StreamShape = StreamShape()
    budget: BudgetShape = BudgetShape()
    checks: ChecksShape | None = None
    ledger: str | None = None
    providers: dict[str, Any] = Field(default_factory=dict)


def read_policy(data: Mapping[str, Any]) -> tuple[PolicyShape, list[Problem]]:
    """Return what `data` says over the built-in policy, without the parts that are wrong, and what is wrong."""
    written = {str(key): _named(key, value) for key, value in data.items() if value is not None}
    builtin = _builtin_below(written)
    shape, problems = read_shape(PolicyShape, {**builtin, **written}, ())
    if shape is None:
        shape, _ = read_shape(PolicyShape, {**builtin, **_without(written, problems)}, ())
        assert shape is not None  # no field depends on another
    return shape, problems


def _named(section: object, entries: Any) -> Any:
    """Return a by-name section with its names as text: YAML reads `5`, `null` and `on` as other things."""
    named = section in _BY_NAME and isinstance(entries, Mapping)
    return {str(key): value for key, value in entries.items()} if named else entries


def _builtin_below(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the built-in policy adds. A file with tiers says itself who may be asked: nobody is added."""
    builtin: dict[str, Any] = packaged("policy/agent_routing.yaml")
    if "tiers" in written:
        own = written["tiers"] if isinstance(written["tiers"], Mapping) else {}
        builtin["affinity"] = {who: tier for who, tier in builtin["affinity"].items() if tier in own}
        del builtin["tiers"], builtin["default"], builtin["last_resort"]
    return builtin


def _without(written: Mapping[str, Any], problems: Iterable[Problem]) -> dict[str, Any]:
    """Return `written` without what the problems point at: an entry where entries are independent, else a section."""
    sound = dict(written)
    for path, _ in problems:
        section, entries = path[0], sound.get(str(path[0]))
        if section in _BY_NAME and len(path) > 1 and isinstance(entries, Mapping):
            entries = {key: value for key, value in entries.items() if key != path[1]}
            sound[str(section)] = entries or None
        else:
            sound[str(section)] = None
    return {key: value for key, value in sound.items() if value is not None}
