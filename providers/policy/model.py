"""Policy: who answers whom. The user's `agent_routing.yaml`, or the built-in default; facts are in `catalog.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from providers.catalog.model import Catalog, of_all_accounts
from providers.documents.quantities import parse_duration as parse_duration
from providers.errors import CatalogError
from providers.policy.factors import POINTS, Strategy
from providers.policy.names import Names

if TYPE_CHECKING:
    from providers.policy.parse import AgentShape, BudgetShape, PolicyShape

Environment = Literal["production", "development", "auto"]
_KINDS: Mapping[str, Environment] = {
    "production": "production",
    "prod": "production",
    "development": "development",
    "dev": "development",
}


@dataclass(frozen=True, slots=True)
class AgentPolicy:
    """What one agent or persona maps to: a model and nobody else, else a chain of candidates and then the last resort,
    else a tier. Empty: its persona's own tier."""

    tier: str | None = None
    chain: tuple[str, ...] = ()
    task_type: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 5.0
    first_token: float = 10.0
    between_chunks: float = 30.0
    total: float = 120.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Our own caps on what a day may cost, in micro-USD (None: no cap), and at which shares of one to raise an alert.

    `providers` and `models` (`provider/model`) have caps of their own beside that of all together. A day begins at
    midnight in `timezone`.
    """

    max_cost_per_day: int | None = None
    alert_at: tuple[float, ...] = (0.5, 0.8, 1.0)
    providers: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)
    timezone: str = "UTC"
    unknown_price: Literal["refuse", "allow"] = "refuse"
    """Whether a model may be asked under a cap whose price nobody knows: it would count as nothing beforehand."""
    webhook_env: str | None = None
    """The variable that holds the URL to which alerts are posted."""


@dataclass(frozen=True, slots=True)
class Checks:
    """Which providers are asked, `every` so many seconds, whether they answer at all."""

    every: float
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Tiers hold candidate names in order of preference: `provider/model`, or `provider/*` for all of a provider's.

    A name stands for all accounts of its provider; `provider/model#2` is the second one alone.
    """

    tiers: Mapping[str, tuple[str, ...]]
    agents: Mapping[str, AgentPolicy] = field(default_factory=dict)
    default: AgentPolicy = AgentPolicy(tier="worker")
    strategy: Strategy = "tier"
    environment: Environment = "auto"
    """Production prefers hosted models, development local ones; `auto` that stayed so: nobody said, no preference."""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By environment the providers that may be asked there; where it says nothing, all may."""
    weights: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=lambda: POINTS)
    by_price: bool = False
    """Whether price may overrule the order within a tier. A file asks for it by its `factors`; without them the order
    speaks for itself, for whoever wrote it knew the prices."""
    task_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    attempts_per_turn: int = 4
    retry_budget: float = 0.2
    hedge_after: float | None = None
    """Seconds of silence after which a second candidate is asked beside the first; None: never."""
    on_decline: Literal["error", "elsewhere"] = "error"
    """What follows when a provider's content filter declines a request."""
    on_break: Literal["error", "restart", "resume"] = "error"
    last_resort: tuple[str, ...] = ("fallback",)
    """Tiers tried after the asked one, in order."""
    affinity: Mapping[str, str] = field(default_factory=dict)
    """The tier of an agent or persona that brings none of its own. Unlike `agents`, it overrules nobody's wish."""
    budget: Budget = Budget()
    checks: Checks | None = None
    """None: whether a provider answers is learnt from turns alone."""
    ledger: str | None = None
    """The address of a ledger that machines share; None: each counts on its own."""
    lead: str | None = None
    """`provider/model` or `provider/*`: whose models come first in every tier, whatever the score. A tier's own ones of
    that provider go before this one; chains and pinned models stay as they are."""


def default_policy(catalog: Catalog) -> Policy:
    """Return the built-in policy. Raise `CatalogError` where `catalog` lacks what it names."""
    return parse_policy({}, catalog)[0]


def parse_policy(data: Mapping[str, Any], catalog: Catalog) -> tuple[Policy, Catalog]:
    """Return the policy that a routing file's mapping says, and the catalog with its `providers:` laid over it.

    A file with `tiers` stands alone: nobody is asked whom it doesn't name. One without takes the built-in tiers.
    Naming a provider that has no address (`stub`) switches it on; naming an unknown model of a server that takes any
    (`local/qwen3`) adds its row. Raise `CatalogError` with every problem of the file.
    """
    from providers.policy.lint import keys
    from providers.policy.parse import read_policy

    shape, problems = read_policy(data)
    catalog, wrong = catalog.overlay_partly(shape.providers)
    known = Names(catalog, [*problems, *wrong], broken={str(path[1]) for path, _ in wrong})
    policy = _policy(shape, data, known, tiers=set(shape.tiers) | keys(data.get("tiers")))
    if known.problems:
        raise CatalogError([(_as_written(path, data), problem) for path, problem in known.problems])
    return policy, known.catalog


def _as_written(path: tuple[str | int, ...], data: object) -> tuple[str | int, ...]:
    """Return the path with ranks in place of the numbers that they stand for in a chain."""
    from providers.policy.parse import RANKS

    found: list[str | int] = []
    for part in path:
        if found[-1:] == ["chain"] and isinstance(data, Mapping) and isinstance(part, int):
            found.append([rank for rank in RANKS if rank in data][part])
            break
        found.append(part)
        data = data.get(part) if isinstance(data, Mapping) else None
    return (*found, *path[len(found) :])


def with_environment(policy: Policy, catalog: Catalog, environ: Mapping[str, str]) -> tuple[Policy, Catalog]:
    """Return the policy with what environment variables say, and the catalog with the models that they name.

    `MODEL_PROVIDER` names the provider that comes first in every tier. `<PROVIDER>_MODEL` (`GROQ_MODEL`) names the
    model that is asked wherever a tier names that provider. Where the policy's environment is `auto`,
    `ORCHESTRATOR_ENV`, else `ENVIRONMENT`, may say production (prod) or development (dev). Raise `CatalogError` naming
    the variable.
    """
    known, own = Names(catalog, [], broken=set()), dict[str, str]()
    for row in catalog.providers.values():
        if model := environ.get(f"{row.env_prefix}_MODEL", "").strip():
            (own[row.name],) = known.candidates([row.full_name(model)], ("environment", f"{row.env_prefix}_MODEL"))
    lead = environ.get("MODEL_PROVIDER", "").strip()
    known.providers([(("environment", "MODEL_PROVIDER"), lead)] if lead else ())
    if known.problems:
        raise CatalogError([(path[:2], problem) for path, problem in known.problems])
    return replace(
        policy,
        tiers={tier: _swapped(names, own) for tier, names in policy.tiers.items()} if own else policy.tiers,
        lead=own.get(lead, f"{lead}/*") if lead else policy.lead,
        environment=_detected(environ) if policy.environment == "auto" else policy.environment,
    ), known.catalog


def _swapped(names: Iterable[str], own: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names, each once, with the model of its provider in `own` in place of the one that stood there."""
    return tuple(dict.fromkeys(own.get(name.partition("/")[0], name) for name in names))


def _detected(environ: Mapping[str, str]) -> Environment:
    said = environ.get("ORCHESTRATOR_ENV", "").strip() or environ.get("ENVIRONMENT", "").strip()
    return _KINDS.get(said.lower(), "auto")


def _policy(shape: PolicyShape, data: Mapping[str, Any], known: Names, tiers: set[str]) -> Policy:
    """Return the policy; what is wrong with it goes into `known`. `tiers` are those that the file means to define."""
    from providers.policy.lint import problems_in

    default = shape.default or _first_tier(shape)
    agents = {name: _agent(agent, known, ("agents", name)) for name, agent in shape.agents.items()}
    known.tiers(((("agents", name, "tier"), agent.tier) for name, agent in agents.items()), tiers)
    known.tiers(((("affinity", name), tier) for name, tier in shape.affinity.items()), tiers)
    known.tiers([(("default", "tier"), default.tier)], tiers)
    last_resort = ["fallback"] if shape.last_resort is None and "fallback" in tiers else shape.last_resort or []
    known.tiers(((("last_resort", at), tier) for at, tier in enumerate(last_resort)), tiers)
    known.providers((("weights", name), name) for name in shape.weights)
    known.providers((("only", where, at), name) for where, names in shape.only.items() for at, name in enumerate(names))
    checked = shape.checks.providers if shape.checks else []
    known.providers((("checks", "providers", at), name) for at, name in enumerate(checked))
    known.providers(
        (("task_types", task, "prefer", at), name)
        for task, wish in shape.task_types.items()
        for at, name in enumerate(wish.prefer)
    )
    known.problems += problems_in(shape, data, known)
    return Policy(
        tiers={name: known.candidates(names, ("tiers", name)) for name, names in shape.tiers.items()},
        agents=agents,
        default=_agent(default, known, ("default",)),
        strategy=shape.strategy,
        environment=shape.environment,
        only={where: tuple(names) for where, names in shape.only.items()},
        weights=shape.weights,
        factors=shape.factors.model_dump(),
        by_price=data.get("factors") is not None,
        task_types={task: tuple(wish.prefer) for task, wish in shape.task_types.items()},
        timeouts=Timeouts(**shape.timeouts.given()),
        attempts_per_turn=shape.attempts.per_turn,
        retry_budget=shape.attempts.retry_budget,
        hedge_after=shape.attempts.hedge_after,
        on_decline=shape.attempts.on_decline,
        on_break=shape.stream.on_break,
        last_resort=tuple(last_resort),
        affinity=shape.affinity,
        budget=_budget(shape.budget, known),
        checks=None if shape.checks is None else Checks(shape.checks.every, tuple(shape.checks.providers)),
        ledger=shape.ledger,
    )


def _first_tier(shape: PolicyShape) -> AgentShape:
    """What answers whom nothing is said about: the worker tier, else the first one."""
    from providers.policy.parse import AgentShape

    return AgentShape(tier="worker" if "worker" in shape.tiers else next(iter(shape.tiers), None))


def _agent(agent: AgentShape, known: Names, path: tuple[str | int, ...]) -> AgentPolicy:
    chain = known.candidates(agent.chain, (*path, "chain"))
    model = None if agent.model is None else known.model(agent.model, (*path, "model"))
    return AgentPolicy(agent.tier, chain, agent.task_type, model)


def _budget(shape: BudgetShape, known: Names) -> Budget:
    known.providers((("budget", "providers", name), name) for name in shape.providers)
    models = {}
    for name, amount in shape.models.items():
        spelled, problem = known.candidate(name)
        if spelled.endswith("/*"):
            problem = "is no model: a provider's cap stands in providers"
        known.problems += [] if problem is None else [(("budget", "models", name), problem)]
        models[of_all_accounts(spelled)] = _micro(amount)
    cap = None if shape.max_cost_per_day is None else _micro(shape.max_cost_per_day)
    return Budget(
        cap,
        tuple(sorted(set(shape.alert_at))),
        {name: _micro(amount) for name, amount in shape.providers.items()},
        models,
        shape.timezone,
        shape.unknown_price,
        shape.webhook_env,
    )


def _micro(usd: float) -> int:
    return round(usd * 1e6)
