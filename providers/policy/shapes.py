"""How `agent_routing.yaml` is written: its sections, their fields and their types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, create_model, model_validator

from providers.catalog.shapes import ProviderName, ProviderShape
from providers.documents.fields import Duration, FormatVersion, PositiveDuration, Share, Word
from providers.documents.models import StrictModel
from providers.policy.factors import POINTS, Strategy
from providers.policy.model import Timeouts

Weight = Annotated[float, Field(ge=0)]
NameList = Annotated[list[str], Field(min_length=1)]
Dollars = Annotated[float, Field(ge=0, le=1e9)]


class RankedChain(StrictModel):
    """A chain whose members are given by rank."""

    noun: ClassVar[str] = "a chain"
    primary: str = Field(description="Asked first: `provider/model`.", examples=["groq/openai/gpt-oss-120b"])
    secondary: str | None = Field(default=None, description="Asked second.", examples=["openai/gpt-6-luna"])
    tertiary: str | None = Field(
        default=None, description="Asked third; needs `secondary`.", examples=["mistral/mistral-small-latest"]
    )
    last_resort: str | None = Field(default=None, description="Asked when all others failed.", examples=["local/*"])

    @model_validator(mode="after")
    def _without_gap(self) -> Self:
        if self.tertiary is not None and self.secondary is None:
            raise ValueError("has a tertiary and no secondary")
        return self


def _kind(value: object) -> str:
    return "ranks" if isinstance(value, dict) else "list"


Chain = Annotated[Annotated[NameList, Tag("list")] | Annotated[RankedChain, Tag("ranks")], Discriminator(_kind)]


class AgentShape(StrictModel):
    """Which models an agent or a persona asks."""

    noun: ClassVar[str] = "an agent's routing"
    tier: str | None = Field(default=None, description="The tier whose models are asked.", examples=["boss"])
    model: str | None = Field(
        default=None,
        description="The only model that is asked, `provider/model`.",
        examples=["openai/gpt-6.1-sol"],
    )
    chain: Chain | None = Field(
        default=None,
        description="These models in this order, in place of a tier: a list, or by rank.",
        examples=[["gemini/gemini-3.1-flash-lite", "openai/gpt-6-luna"]],
    )
    task_type: str | None = Field(
        default=None, description="The type of its tasks, one of `task_types`.", examples=["code"]
    )

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
    prefer: NameList = Field(
        description="Providers that are preferred for such tasks, the best first.", examples=[["cerebras", "groq"]]
    )


class FactorsShape(StrictModel):
    """How many points each factor has in the score by which candidates are ordered. 0: it does not count."""

    noun: ClassVar[str] = "factors"
    cost: Weight = Field(
        default=POINTS["cost"], description="A low price. It counts only where the file has `factors`.", examples=[30.0]
    )
    quota: Weight = Field(default=POINTS["quota"], description="Room that is left in limits.", examples=[10.0])
    health: Weight = Field(default=POINTS["health"], description="Few failures lately.", examples=[20.0])
    latency: Weight = Field(default=POINTS["latency"], description="Fast answers lately.", examples=[10.0])
    task: Weight = Field(
        default=POINTS["task"], description="The provider is in `prefer` of the task's type.", examples=[20.0]
    )
    environment: Weight = Field(
        default=POINTS["environment"], description="The provider fits `environment`.", examples=[10.0]
    )


class TimeoutsShape(StrictModel):
    """How long one attempt may take."""

    noun: ClassVar[str] = "timeouts"
    connect: PositiveDuration = Field(
        default=Timeouts().connect, description="Until there is a connection.", examples=["5s"]
    )
    first_token: PositiveDuration = Field(
        default=Timeouts().first_token, description="Until the first piece of an answer.", examples=["10s"]
    )
    between_chunks: PositiveDuration = Field(
        default=Timeouts().between_chunks, description="Between two pieces of a streamed answer.", examples=["30s"]
    )
    total: PositiveDuration = Field(default=Timeouts().total, description="For the whole attempt.", examples=["2m"])


class AttemptsShape(StrictModel):
    """What a turn may try."""

    noun: ClassVar[str] = "attempts"
    per_turn: int = Field(
        default=4, ge=1, description="How many attempts a turn may make, over all providers.", examples=[4]
    )
    retry_budget: Share = Field(
        default=0.2,
        description="How many retries there may be among the turns of the last 10 s, as a share, where no "
        "provider answers: an outage meets no storm of retries.",
        examples=["20%"],
    )
    hedge_after: PositiveDuration | None = Field(
        default=None,
        description="When a second candidate is asked beside the first, if no answer has begun by then. "
        "Default: never.",
        examples=["3s"],
    )
    wait_for_preferred: Duration = Field(
        default=0.0,
        description="How long a turn waits for its first choice if only a limit holds that back; 0: not at all.",
        examples=["2s"],
    )
    on_decline: Literal["error", "elsewhere"] = Field(
        default="error",
        description="A model declined to answer: `error` ends the turn, `elsewhere` asks the next candidate.",
        examples=["elsewhere"],
    )


class StreamShape(StrictModel):
    """What follows a stream that breaks off."""

    noun: ClassVar[str] = "stream"
    on_break: Literal["error", "restart", "resume"] = Field(
        default="error",
        description="A streamed answer breaks off: `error` ends the turn, `restart` asks again, `resume` has it "
        "continued.",
        examples=["restart"],
    )


def _variable(value: object) -> object:
    """Return the name of a variable. What stands there instead is not repeated: it may be the secret itself."""
    if value is None or (isinstance(value, str) and re.fullmatch(_NAME, value)):
        return value
    raise ValueError("names the variable that holds it: write BUDGET_WEBHOOK_URL, for example, and set that")


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
VariableName = Annotated[
    str, BeforeValidator(_variable), WithJsonSchema({"type": "string", "pattern": f"^{_NAME}$", "title": "variable"})
]


class BudgetShape(StrictModel):
    """Amounts are USD a day: for all providers together, for one provider, for one model."""

    noun: ClassVar[str] = "a budget"
    max_cost_per_day: Dollars | None = Field(
        default=None, description="The cap for all providers together, USD a day. Default: none.", examples=[2.5]
    )
    providers: dict[str, Dollars] = Field(
        default_factory=dict, description="Caps by provider, USD a day.", examples=[{"openai": 1.0}]
    )
    models: dict[str, Dollars] = Field(
        default_factory=dict, description="Caps by model, USD a day.", examples=[{"openai/gpt-6.1-sol": 0.5}]
    )
    timezone: str = Field(
        default="UTC", description="Where the day begins: a name of the IANA database.", examples=["Europe/Berlin"]
    )
    alert_at: list[Share] = Field(
        default_factory=lambda: [0.5, 0.8, 1.0],
        description="Shares of a cap at which an alert is sent. Default: 50%, 80% and 100%.",
        examples=[["50%", "90%"]],
    )
    unknown_price: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="A model without a known price: `refuse` does not ask it while a cap holds, `allow` counts "
        "it as free.",
        examples=["allow"],
    )
    webhook_env: VariableName | None = Field(
        default=None,
        description="The variable that holds the address alerts are posted to.",
        examples=["BUDGET_WEBHOOK_URL"],
    )
    webhook_secret_env: VariableName | None = Field(
        default=None,
        description="The variable that holds the secret alerts are signed with.",
        examples=["BUDGET_WEBHOOK_SECRET"],
    )


class ChecksShape(StrictModel):
    """Providers that are asked from time to time whether they answer at all."""

    noun: ClassVar[str] = "checks"
    every: Annotated[PositiveDuration, Field(ge=1)] = Field(default=60.0, description="How often.", examples=["60s"])
    providers: NameList = Field(description="Which ones, by name.", examples=[["groq", "local"]])


class PolicyShape(StrictModel):
    """Which models answer which agents, in which order and within which limits. Each section may be left out."""

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
    version: FormatVersion = Field(default=1, description="The version of this format.", examples=[1])
    environment: Literal["production", "development", "auto"] = Field(
        default="auto",
        description="Which kind of provider is preferred: hosted in production, local in development. `auto`: "
        "as the variable `ORCHESTRATOR_ENV` says.",
        examples=["production"],
    )
    only: dict[Literal["production", "development"], NameList] = Field(
        default_factory=dict,
        description="By environment, the only providers that may be asked.",
        examples=[{"development": ["local", "ollama"]}],
    )
    strategy: Strategy = Field(
        default="tier",
        description="How the candidates of a tier are ordered: by score (`tier`), as the file has them (`chain`), "
        "by `weights` or by `latency`.",
        examples=["weighted"],
    )
    tiers: Annotated[dict[Word, NameList], Field(min_length=1)] = Field(
        default_factory=dict,
        description="Classes of models by name, each a list of `provider/model`; `provider/*` is any model of "
        "it. A file with tiers names all models that may be asked. Default: the built-in tiers.",
        examples=[{"worker": ["groq/openai/gpt-oss-20b", "openai/gpt-6-luna"]}],
    )
    agents: dict[str, AgentShape] = Field(
        default_factory=dict,
        description="What agents or personas ask, by name. One that is not named has the tier of its persona.",
        examples=[{"dev": {"tier": "worker", "task_type": "code"}}],
    )
    affinity: dict[str, str] = Field(
        default_factory=dict,
        description="The tier of a persona that brings none of its own, by its name.",
        examples=[{"analyst": "boss"}],
    )
    default: AgentShape | None = Field(
        default=None,
        description="What those ask of which nothing else is said. Default: the tier `worker`, else the first one.",
        examples=[{"tier": "worker"}],
    )
    last_resort: list[str] | None = Field(
        default=None,
        description="Tiers that are asked after the one that was wanted. Default: `fallback`, where there is "
        "such a tier.",
        examples=[["fallback"]],
    )
    task_types: dict[str, TaskShape] = Field(
        default_factory=dict,
        description="What types of tasks prefer, by name.",
        examples=[{"code": {"prefer": ["cerebras", "groq"]}}],
    )
    weights: dict[str, Weight] = Field(
        default_factory=dict,
        description="How the turns are shared among providers, by name, under the strategy `weighted`; 0: never.",
        examples=[{"groq": 0.7, "openai": 0.3}],
    )
    factors: FactorsShape = Field(
        default=FactorsShape(), description="The points of each factor.", examples=[{"cost": 40.0}]
    )
    timeouts: TimeoutsShape = Field(
        default=TimeoutsShape(),
        description="How long one attempt may take.",
        examples=[{"connect": "5s", "total": "2m"}],
    )
    attempts: AttemptsShape = Field(
        default=AttemptsShape(), description="What a turn may try.", examples=[{"per_turn": 4}]
    )
    stream: StreamShape = Field(
        default=StreamShape(), description="What follows a stream that breaks off.", examples=[{"on_break": "resume"}]
    )
    budget: BudgetShape = Field(
        default=BudgetShape(), description="Caps on what is spent a day.", examples=[{"max_cost_per_day": 2.5}]
    )
    checks: ChecksShape | None = Field(
        default=None,
        description="Providers that are asked from time to time whether they answer. Default: none.",
        examples=[{"every": "60s", "providers": ["groq"]}],
    )
    ledger: str | None = Field(
        default=None,
        description="Where processes count limits together: `redis://`, `rediss://`, `unix://`, "
        "`postgresql://`, or `split:INDEX/N`. Default: each machine counts in its state folder.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    providers: dict[str, Any] = Field(
        default_factory=dict,
        description="Providers by name: changes to the catalog's rows, and new ones.",
        examples=[{"groq": {"limits": [{"metric": "requests", "spacing": "500ms"}]}}],
    )
    tools: Any = Field(
        default=None,
        description="Tools that every squad under this file may name, as in a squad file.",
        examples=[{"clock": {"python": "tools/clock.py:now"}}],
    )


def described_policy(**sections: Any) -> type[PolicyShape]:
    """Return the whole file as a schema describes it: with the rows of providers, which are read one by one, and with
    the types of `sections` that others read. Each section may be null: one whose lines are all comments is left out."""
    types: dict[str, Any] = {name: info.annotation for name, info in PolicyShape.model_fields.items()}
    types |= {"providers": dict[ProviderName, ProviderShape | None], **sections}
    fields: dict[str, Any] = {name: (kind | None, PolicyShape.model_fields[name]) for name, kind in types.items()}
    return create_model(PolicyShape.__name__, __base__=PolicyShape, __doc__=PolicyShape.__doc__, **fields)
