"""How `agent_routing.yaml` is written: its sections, their fields and their types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from providers.documents.fields import Duration, PositiveDuration, Share, Word
from providers.documents.models import StrictModel
from providers.policy.factors import POINTS, Strategy

Weight = Annotated[float, Field(ge=0)]
NameList = Annotated[list[str], Field(min_length=1)]
Dollars = Annotated[float, Field(ge=0, le=1e9)]


class RankedChain(StrictModel):
    """A chain whose members are given by rank."""

    noun: ClassVar[str] = "a chain"
    primary: str
    secondary: str | None = None
    tertiary: str | None = None
    last_resort: str | None = None

    @model_validator(mode="after")
    def _without_gap(self) -> Self:
        if self.tertiary is not None and self.secondary is None:
            raise ValueError("has a tertiary and no secondary")
        return self


def _kind(value: object) -> str:
    return "ranks" if isinstance(value, dict) else "list"


Chain = Annotated[Annotated[NameList, Tag("list")] | Annotated[RankedChain, Tag("ranks")], Discriminator(_kind)]


class AgentShape(StrictModel):
    """Whom an agent or a persona asks."""

    noun: ClassVar[str] = "an agent's routing"
    tier: str | None = None
    model: str | None = None
    chain: Chain | None = None
    task_type: str | None = None

    def members(self) -> Iterator[tuple[str | int, str]]:
        """Yield the members of the chain in order, each with its index or its rank."""
        if isinstance(self.chain, RankedChain):
            named = ((rank, getattr(self.chain, rank)) for rank in RankedChain.model_fields)
            yield from ((rank, name) for rank, name in named if name is not None)
        else:
            yield from enumerate(self.chain or ())


class TaskShape(StrictModel):
    """What a type of task prefers."""

    noun: ClassVar[str] = "a task type"
    prefer: NameList


class FactorsShape(StrictModel):
    """Points per factor."""

    noun: ClassVar[str] = "factors"
    cost: Weight = POINTS["cost"]
    quota: Weight = POINTS["quota"]
    health: Weight = POINTS["health"]
    latency: Weight = POINTS["latency"]
    task: Weight = POINTS["task"]
    environment: Weight = POINTS["environment"]


class TimeoutsShape(StrictModel):
    """Those of one attempt."""

    noun: ClassVar[str] = "timeouts"
    connect: PositiveDuration = 0
    first_token: PositiveDuration = 0
    between_chunks: PositiveDuration = 0
    total: PositiveDuration = 0


class AttemptsShape(StrictModel):
    """What a turn may try."""

    noun: ClassVar[str] = "attempts"
    per_turn: int = Field(default=4, ge=1)
    retry_budget: Share = 0.2
    hedge_after: PositiveDuration | None = None
    wait_for_preferred: Duration = 0.0
    on_decline: Literal["error", "elsewhere"] = "error"


class StreamShape(StrictModel):
    """What follows a stream that breaks off."""

    noun: ClassVar[str] = "stream"
    on_break: Literal["error", "restart", "resume"] = "error"


def _variable(value: object) -> object:
    """Return the name of a variable. What stands there instead is not repeated: it may be the secret itself."""
    if value is None or (isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value)):
        return value
    raise ValueError("names the variable that holds it: write BUDGET_WEBHOOK_URL, for example, and set that")


class BudgetShape(StrictModel):
    """Amounts are USD a day: for all providers together, for one provider, for one model."""

    noun: ClassVar[str] = "a budget"
    max_cost_per_day: Dollars | None = None
    providers: dict[str, Dollars] = Field(default_factory=dict)
    models: dict[str, Dollars] = Field(default_factory=dict)
    timezone: str = "UTC"
    alert_at: list[Share] = Field(default_factory=lambda: [0.5, 0.8, 1.0])
    unknown_price: Literal["refuse", "allow"] = "refuse"
    webhook_env: Annotated[str | None, BeforeValidator(_variable)] = None
    webhook_secret_env: Annotated[str | None, BeforeValidator(_variable)] = None


class ChecksShape(StrictModel):
    """Which providers are asked, how often, whether they answer at all."""

    noun: ClassVar[str] = "checks"
    every: Annotated[PositiveDuration, Field(ge=1)] = 60.0
    providers: NameList


class PolicyShape(StrictModel):
    """The whole file. No field depends on another one: each can be left out and the rest still reads."""

    noun: ClassVar[str] = "a routing file"
    other_names: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("fallback", "fallbacks"), "last_resort"),
        **dict.fromkeys(("routes", "routing", "model_list"), "tiers"),
        "retries": "attempts",
    }
    examples: ClassVar[Mapping[str, str]] = {
        "last_resort": "[groq/openai/gpt-oss-20b]",
        "tiers": "{worker: [groq/openai/gpt-oss-20b]}",
        "attempts": "{per_turn: 4}",
    }
    placeholders: ClassVar[dict[str, Any]] = {"primary": "?", "prefer": ["?"]}
    version: Literal[1] = 1
    environment: Literal["production", "development", "auto"] = "auto"
    only: dict[Literal["production", "development"], NameList] = Field(default_factory=dict)
    strategy: Strategy = "tier"
    tiers: Annotated[dict[Word, NameList], Field(min_length=1)] = Field(default_factory=dict)
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
    tools: Any = None
    """Of agents, and nothing that routes: `orchestrator/squad/routing_tools.py` reads it."""
