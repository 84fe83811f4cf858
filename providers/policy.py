"""Policy: who answers whom. The user's `agent_routing.yaml`, or the built-in default; facts are in `catalog.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from providers.catalog import Catalog, Problem
from providers.errors import CatalogError
from providers.quantities import parse_duration as parse_duration
from providers.scoring import POINTS, Strategy

if TYPE_CHECKING:
    from providers.policy_file import AgentShape, PolicyShape

Environment = Literal["production", "development"]


@dataclass(frozen=True, slots=True)
class AgentPolicy:
    """What one agent or persona maps to: a chain of candidates, else a tier. Empty: its persona's own tier."""

    tier: str | None = None
    chain: tuple[str, ...] = ()
    task_type: str | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds."""

    connect: float = 5.0
    first_token: float = 10.0
    between_chunks: float = 30.0
    total: float = 120.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Our own cap on a day's spending, in micro-USD (None: no cap), and at which shares of it to raise an alert."""

    max_cost_per_day: int | None = None
    alert_at: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """Tiers hold candidate names in order of preference: `provider/model`, or `provider/*` for all of a provider's."""

    tiers: Mapping[str, tuple[str, ...]]
    agents: Mapping[str, AgentPolicy] = field(default_factory=dict)
    default: AgentPolicy = AgentPolicy(tier="worker")
    strategy: Strategy = "tier"
    environment: Literal["production", "development", "auto"] = "auto"
    weights: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=lambda: POINTS)
    by_price: bool = False
    """Whether price may overrule the order within a tier. A file asks for it by its `factors`; without them the order
    speaks for itself, for whoever wrote it knew the prices."""
    task_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    attempts_per_turn: int = 4
    retry_budget: float = 0.2
    on_break: Literal["error", "restart", "resume"] = "error"
    last_resort: tuple[str, ...] = ("fallback",)
    """Tiers tried after the asked one, in order."""
    affinity: Mapping[str, str] = field(default_factory=dict)
    """The tier of an agent or persona that brings none of its own. Unlike `agents`, it overrules nobody's wish."""
    budget: Budget = Budget()
    lead: str | None = None
    """The provider that comes first in every tier, whatever the score."""


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
        raise CatalogError(proof.problems)
    return policy, proof.catalog


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
            covered = next((seen for seen in kept if name in (seen, f"{seen[:-1]}{name.partition('/')[2]}")), None)
            if problem is None and covered is not None:
                problem = f"is never reached: {covered!r} stands before it"
            if problem is not None:
                self.problems.append(((*path, at), problem))
            kept[name] = None
        return tuple(kept)

    def _candidate(self, name: str) -> tuple[str, str | None]:
        provider, _, model = name.partition("/")
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
        if found := self.catalog.find(name):
            return row.full_name(found[1].name), None
        if row.any_model:
            self.catalog = self.catalog.serving(provider, model)
            return row.full_name(model), None
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
    proof.providers(
        (("task_types", task, "prefer", at), name)
        for task, wish in shape.task_types.items()
        for at, name in enumerate(wish.prefer)
    )
    proof.problems += _without_means(shape)
    return Policy(
        tiers={name: proof.candidates(names, ("tiers", name)) for name, names in shape.tiers.items()},
        agents=agents,
        default=_agent(default, proof, ("default",)),
        strategy=shape.strategy,
        environment=shape.environment,
        weights=shape.weights,
        factors=shape.factors.model_dump(),
        by_price=data.get("factors") is not None,
        task_types={task: tuple(wish.prefer) for task, wish in shape.task_types.items()},
        timeouts=Timeouts(**shape.timeouts.given()),
        attempts_per_turn=shape.attempts.per_turn,
        retry_budget=shape.attempts.retry_budget,
        on_break=shape.stream.on_break,
        last_resort=tuple(last_resort),
        affinity=shape.affinity,
        budget=_budget(shape),
    )


def _first_tier(shape: PolicyShape) -> AgentShape:
    """What answers whom nothing is said about: the worker tier, else the first one."""
    from providers.policy_file import AgentShape

    return AgentShape(tier="worker" if "worker" in shape.tiers else next(iter(shape.tiers), None))


def _agent(agent: AgentShape, proof: _Proof, path: tuple[str | int, ...]) -> AgentPolicy:
    return AgentPolicy(agent.tier, proof.candidates(agent.chain, (*path, "chain")), agent.task_type)


def _without_means(shape: PolicyShape) -> Iterable[Problem]:
    """Yield which strategy has nothing to work with."""
    if shape.strategy == "weighted" and not any(shape.weights.values()):
        yield ("weights",), "strategy weighted needs a provider whose weight is over 0"
    chains = [agent.chain for agent in (*shape.agents.values(), shape.default) if agent]
    if shape.strategy == "chain" and not any(chains):
        yield ("strategy",), "strategy chain needs a chain: give one to default or to an agent"
    if shape.default and not shape.default.tier and not shape.default.chain:
        yield ("default",), "needs a tier or a chain"


def _budget(shape: PolicyShape) -> Budget:
    cap = shape.budget.max_cost_per_day
    return Budget(None if cap is None else round(cap * 1e6), tuple(sorted(shape.budget.alert_at)))


def _keys(section: object) -> set[str]:
    return {str(key) for key in section} if isinstance(section, Mapping) else set()


def _nearest(word: str, known: Iterable[str]) -> str:
    from providers.rows import nearest

    return nearest(word, known)
