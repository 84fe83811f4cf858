"""Policy: who answers whom. The user's `agent_routing.yaml`, or the built-in default; facts are in `catalog.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from providers.catalog import Catalog, Problem, of_all_accounts
from providers.errors import CatalogError
from providers.ledger.opening import wrong_address
from providers.quantities import parse_duration as parse_duration
from providers.quota import knows_timezone
from providers.scoring import POINTS, Strategy

if TYPE_CHECKING:
    from providers.policy_file import AgentShape, BudgetShape, PolicyShape

Environment = Literal["production", "development", "auto"]
SMALLEST_CONTEXT = 6
"""Tokens: one message that says nothing is five by our estimate, and something must be left for the answer."""
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
    from providers.policy_file import read_policy

    shape, problems = read_policy(data)
    catalog, wrong = catalog.overlay_partly(shape.providers)
    proof = _Proof(catalog, [*problems, *wrong], broken={str(path[1]) for path, _ in wrong})
    policy = _policy(shape, data, proof, tiers=set(shape.tiers) | _keys(data.get("tiers")))
    if proof.problems:
        raise CatalogError([(_as_written(path, data), problem) for path, problem in proof.problems])
    return policy, proof.catalog


def _as_written(path: tuple[str | int, ...], data: object) -> tuple[str | int, ...]:
    """Return the path with ranks in place of the numbers that they stand for in a chain."""
    from providers.policy_file import RANKS

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
    proof, own = _Proof(catalog, [], broken=set()), dict[str, str]()
    for row in catalog.providers.values():
        if model := environ.get(f"{row.env_prefix}_MODEL", "").strip():
            (own[row.name],) = proof.candidates([row.full_name(model)], ("environment", f"{row.env_prefix}_MODEL"))
    lead = environ.get("MODEL_PROVIDER", "").strip()
    proof.providers([(("environment", "MODEL_PROVIDER"), lead)] if lead else ())
    if proof.problems:
        raise CatalogError([(path[:2], problem) for path, problem in proof.problems])
    return replace(
        policy,
        tiers={tier: _swapped(names, own) for tier, names in policy.tiers.items()} if own else policy.tiers,
        lead=own.get(lead, f"{lead}/*") if lead else policy.lead,
        environment=_detected(environ) if policy.environment == "auto" else policy.environment,
    ), proof.catalog


def _swapped(names: Iterable[str], own: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names, each once, with the model of its provider in `own` in place of the one that stood there."""
    return tuple(dict.fromkeys(own.get(name.partition("/")[0], name) for name in names))


def _detected(environ: Mapping[str, str]) -> Environment:
    said = environ.get("ORCHESTRATOR_ENV", "").strip() or environ.get("ENVIRONMENT", "").strip()
    return _KINDS.get(said.lower(), "auto")


@dataclass(slots=True)
class _Proof:
    """Checks names against the catalog, gathers what is wrong, and widens the catalog by what a policy may bring.

    `broken` are providers whose rows in the file are wrong: that their names lead nowhere is no further mistake.
    """

    catalog: Catalog
    problems: list[Problem]
    broken: set[str]

    def candidates(self, names: Iterable[str], path: tuple[str | int, ...]) -> tuple[str, ...]:
        """Return the names as events spell them. One that an earlier one covers is never reached: a mistake."""
        kept: dict[str, None] = {}
        for at, written in enumerate(names):
            name, problem = self._candidate(written)
            every = f"{name.partition('/')[0]}/*"
            covered = next((seen for seen in kept if seen in (name, of_all_accounts(name), every)), None)
            if problem is None and covered is not None:
                problem = f"is never reached: {covered!r} stands before it"
            if problem is not None:
                self.problems.append(((*path, at), problem))
            kept[name] = None
        return tuple(kept)

    def model(self, name: str, path: tuple[str | int, ...]) -> str:
        """Return the name of one model as events spell it."""
        spelled, problem = self._candidate(name)
        if problem is None and spelled.endswith("/*"):
            problem = "names several models: a chain may"
        self.problems += [] if problem is None else [(path, problem)]
        return spelled

    def _candidate(self, name: str) -> tuple[str, str | None]:
        whole = of_all_accounts(name)
        account = name[len(whole) :]
        provider, _, model = whole.partition("/")
        if not model or model != model.strip():
            return name, f"{name!r} is no candidate: write provider/model or provider/*"
        if provider in self.broken:
            return name, None
        if problem := self.provider(provider):
            return name, problem
        row = self.catalog.providers[provider]
        if row.opt_in and not row.base_url:
            self.catalog = self.catalog.enable(provider)
        if model == "*":
            return name, None
        if found := self.catalog.find(whole):
            fits = found[1].context >= SMALLEST_CONTEXT
            spelled = f"{row.full_name(found[1].name)}{account}"
            return spelled, None if fits else "could never answer: no request fits its context"
        if row.any_model:
            self.catalog = self.catalog.serving(provider, model)
            return f"{row.full_name(model)}{account}", None
        return name, f"{provider} serves no model {model!r}{_nearest(name, map(row.full_name, row.models))}"

    def provider(self, name: str) -> str | None:
        """Return what is wrong with this provider's name, or None."""
        if name in self.broken or name in self.catalog.providers:
            return None
        return f"unknown provider {name!r}{_nearest(name, self.catalog.providers)}"

    def providers(self, names: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
        self.problems += [(path, problem) for path, name in names if (problem := self.provider(name))]

    def tiers(self, names: Iterable[tuple[tuple[str | int, ...], str | None]], known: set[str]) -> None:
        unknown = [(path, name) for path, name in names if name is not None and name not in known]
        self.problems += [(path, f"unknown tier {name!r}{_nearest(name, known)}") for path, name in unknown]


def _policy(shape: PolicyShape, data: Mapping[str, Any], proof: _Proof, tiers: set[str]) -> Policy:
    """Return the policy; what is wrong with it is in `proof`. `tiers` are the names that the file means to define."""
    default = shape.default or _first_tier(shape)
    agents = {name: _agent(agent, proof, ("agents", name)) for name, agent in shape.agents.items()}
    proof.tiers(((("agents", name, "tier"), agent.tier) for name, agent in agents.items()), tiers)
    proof.tiers(((("affinity", name), tier) for name, tier in shape.affinity.items()), tiers)
    proof.tiers([(("default", "tier"), default.tier)], tiers)
    last_resort = ["fallback"] if shape.last_resort is None and "fallback" in tiers else shape.last_resort or []
    proof.tiers(((("last_resort", at), tier) for at, tier in enumerate(last_resort)), tiers)
    proof.providers((("weights", name), name) for name in shape.weights)
    proof.providers((("only", where, at), name) for where, names in shape.only.items() for at, name in enumerate(names))
    proof.providers(
        (("task_types", task, "prefer", at), name)
        for task, wish in shape.task_types.items()
        for at, name in enumerate(wish.prefer)
    )
    proof.problems += [*_without_means(shape), *_dead(shape, data), *_never_asked(shape, data, proof)]
    return Policy(
        tiers={name: proof.candidates(names, ("tiers", name)) for name, names in shape.tiers.items()},
        agents=agents,
        default=_agent(default, proof, ("default",)),
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
        budget=_budget(shape.budget, proof),
        ledger=shape.ledger,
    )


def _first_tier(shape: PolicyShape) -> AgentShape:
    """What answers whom nothing is said about: the worker tier, else the first one."""
    from providers.policy_file import AgentShape

    return AgentShape(tier="worker" if "worker" in shape.tiers else next(iter(shape.tiers), None))


def _agent(agent: AgentShape, proof: _Proof, path: tuple[str | int, ...]) -> AgentPolicy:
    chain = proof.candidates(agent.chain, (*path, "chain"))
    model = None if agent.model is None else proof.model(agent.model, (*path, "model"))
    return AgentPolicy(agent.tier, chain, agent.task_type, model)


def _without_means(shape: PolicyShape) -> Iterable[Problem]:
    """Yield which strategy has nothing to work with."""
    if shape.strategy == "weighted" and not any(shape.weights.values()):
        yield ("weights",), "strategy weighted needs a provider whose weight is over 0"
    chains = [agent.chain for agent in (*shape.agents.values(), shape.default) if agent]
    if shape.strategy == "chain" and not any(chains):
        yield ("strategy",), "strategy chain needs a chain: give one to default or to an agent"
    if shape.default and not (shape.default.tier or shape.default.chain or shape.default.model):
        yield ("default",), "needs a tier, a model or a chain"
    if shape.ledger is not None and (wrong := wrong_address(shape.ledger, in_file=True)):
        yield ("ledger",), wrong


def _dead(shape: PolicyShape, data: Mapping[str, Any]) -> Iterable[Problem]:
    """Yield which rules of the file never have an effect, whatever is asked. `data` is what the file itself says."""
    for path, said in ((("default",), shape.default), *((("agents", name), a) for name, a in shape.agents.items())):
        for key, first in (("tier", "chain"), ("tier", "model"), ("chain", "model")):
            if said is not None and getattr(said, key) and getattr(said, first):
                yield (*path, key), f"is never read: the {first} beside it goes first"
        types = shape.task_types
        if said is not None and said.task_type not in (None, *types) and (like := _nearest(str(said.task_type), types)):
            yield (*path, "task_type"), f"no task type {said.task_type!r} is defined{like}"
    for who in _keys(data.get("affinity")) & {name for name, a in shape.agents.items() if a.chain or a.tier or a.model}:
        yield ("affinity", who), f"is never read: agents.{who} goes first"
    for at, tier in enumerate(shape.last_resort or ()):
        if tier in (shape.last_resort or ())[:at]:
            yield ("last_resort", at), f"is never reached: {tier!r} stands before it"
    limits = shape.timeouts.given()
    for phase in ("connect", "first_token", "between_chunks"):
        if limits.get(phase, 0) > limits.get("total", inf):
            yield ("timeouts", phase), "is never reached: total is less"
    if shape.attempts.hedge_after is not None and shape.attempts.hedge_after >= limits.get("total", inf):
        yield ("attempts", "hedge_after"), "is never reached: the total of timeouts is not more"
    if shape.attempts.hedge_after is not None and shape.attempts.per_turn == 1:
        yield ("attempts", "hedge_after"), "is never read: per_turn allows no second attempt"
    if shape.stream.on_break != "error" and shape.attempts.per_turn == 1:
        yield ("stream", "on_break"), "is never read: attempts.per_turn allows no second attempt"
    never = {name for name, weight in shape.weights.items() if weight == 0}
    for tier, names in shape.tiers.items() if shape.strategy == "weighted" else ():
        if names and all(name.partition("/")[0] in never for name in names):
            yield ("tiers", tier), "nobody of it is ever asked: the weight of each of its providers is 0"


def _budget(shape: BudgetShape, proof: _Proof) -> Budget:
    proof.providers((("budget", "providers", name), name) for name in shape.providers)
    models = {}
    for name, amount in shape.models.items():
        spelled, problem = proof._candidate(name)
        if spelled.endswith("/*"):
            problem = "is no model: a provider's cap stands in providers"
        proof.problems += [] if problem is None else [(("budget", "models", name), problem)]
        models[of_all_accounts(spelled)] = _micro(amount)
    cap = None if shape.max_cost_per_day is None else _micro(shape.max_cost_per_day)
    proof.problems += _budget_problems(shape)
    return Budget(
        cap,
        tuple(sorted(set(shape.alert_at))),
        {name: _micro(amount) for name, amount in shape.providers.items()},
        models,
        shape.timezone,
        shape.unknown_price,
        shape.webhook_env,
    )


def _budget_problems(shape: BudgetShape) -> Iterable[Problem]:
    if not knows_timezone(shape.timezone):
        yield ("budget", "timezone"), f"knows no timezone {shape.timezone!r}: write one as Europe/Berlin"
    most = inf if shape.max_cost_per_day is None else shape.max_cost_per_day
    for name, cap in shape.providers.items():
        if cap > most:
            yield ("budget", "providers", name), "is never reached: max_cost_per_day is less"
    for name, cap in shape.models.items():
        if cap > min(most, shape.providers.get(name.partition("/")[0], inf)):
            yield ("budget", "models", name), "is never reached: the provider's cap, or that of the day, is less"
    if shape.webhook_env is not None and most == inf and not shape.providers and not shape.models:
        yield ("budget", "webhook_env"), "is never read: there is no cap to alert of"
    if 0 in shape.alert_at:
        yield ("budget", "alert_at", shape.alert_at.index(0)), "is no share to alert at: nothing is spent yet"


def _micro(usd: float) -> int:
    return round(usd * 1e6)


def _never_asked(shape: PolicyShape, data: Mapping[str, Any], proof: _Proof) -> Iterable[Problem]:
    """Yield which lists of providers, by environment, are never read, or leave nobody to be asked."""
    agents = [*shape.agents.values(), *([shape.default] if shape.default else [])]
    named = [name for names in (*shape.tiers.values(), *(agent.chain for agent in agents)) for name in names]
    named += [agent.model for agent in agents if agent.model is not None]
    for where, names in shape.only.items():
        if shape.environment not in (where, "auto"):
            yield ("only", where), f"is never read: the environment is {shape.environment}"
        elif not any(map(proof.provider, names)) and not {name.partition("/")[0] for name in named} & set(names):
            yield ("only", where), "leaves nobody to be asked: no tier, chain or model names any of them"
        for at, name in enumerate(names):
            if name in names[:at]:
                yield ("only", where, at), "stands there twice"
    allowed = shape.only.get(shape.environment) if shape.environment != "auto" else None
    for path, routed in _routes(shape, data) if allowed is not None else ():
        if routed and not {name.partition("/")[0] for name in routed} & set(allowed or ()):
            yield path, f"nobody of it is ever asked: in {shape.environment} only {', '.join(allowed or ())} may be"


def _routes(shape: PolicyShape, data: Mapping[str, Any]) -> Iterable[tuple[tuple[str | int, ...], list[str]]]:
    """Yield the tiers and chains that the file itself writes."""
    for tier in _keys(data.get("tiers")) & shape.tiers.keys():
        yield ("tiers", tier), shape.tiers[tier]
    said = [(("default",), shape.default), *((("agents", name), agent) for name, agent in shape.agents.items())]
    for path, agent in said:
        if agent is not None and agent.chain:
            yield (*path, "chain"), agent.chain
        if agent is not None and agent.model is not None:
            yield (*path, "model"), [agent.model]


def _keys(section: object) -> set[str]:
    return {str(key) for key in section} if isinstance(section, Mapping) else set()


def _nearest(word: str, known: Iterable[str]) -> str:
    from providers.rows import nearest

    return nearest(word, known)
