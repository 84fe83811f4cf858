"""How a routing file becomes a policy: laid over the built-in one, its names compared with the catalog."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from providers.budgets import micro_usd
from providers.catalog.file import lay_over
from providers.catalog.model import Catalog, of_all_accounts
from providers.catalog.trust import Source
from providers.documents.findings import Findings
from providers.documents.models import validated
from providers.documents.nodes import Node, tree_of
from providers.documents.problems import Path, Problem
from providers.documents.yaml import read_packaged
from providers.errors import CatalogError
from providers.policy.lint import report_dead_rules
from providers.policy.model import AgentPolicy, Checks, DailyBudget, Policy, Timeouts
from providers.policy.names import KnownNames
from providers.policy.shapes import AgentShape, BudgetShape, PolicyShape


def default_policy(catalog: Catalog) -> Policy:
    """Return the built-in policy. Raise `CatalogError` where `catalog` lacks what it names."""
    return parse_policy({}, catalog)[0]


def parse_policy(
    data: Mapping[str, Any] | Node, catalog: Catalog, read: Sequence[Problem] = (), source: Source | None = None
) -> tuple[Policy, Catalog]:
    """Return the policy that a routing file says, and the catalog with its `providers:` laid over it.

    `data` is the file's tree, or Python objects that hold the same. A file with `tiers` stands alone: no provider is
    asked that it does not name. One without takes the built-in tiers. Naming a provider that has no address (`stub`)
    switches it on; naming an unknown model of a server that takes any (`local/qwen3`) adds its row. Raise
    `CatalogError` with every mistake, those that were `read` among them. `source` is the file that it was read from:
    keys of another origin go to an address in it only where that is allowed. None: the calling program says it.
    """
    policy, catalog, found = read_policy(data if isinstance(data, Node) else tree_of(data), catalog, read, source)
    if found:
        raise CatalogError(found)
    return policy, catalog


def read_policy(
    root: Node, catalog: Catalog, read: Sequence[Problem] = (), source: Source | None = None
) -> tuple[Policy, Catalog, list[Problem]]:
    """Return what `parse_policy` returns, and every mistake: where there is one, the policy is not to be used."""
    written = {name: value for name, value in root.plain().items() if value is not None}
    shape, wrong = validated(PolicyShape, root, read, {**_builtin_below(written), **written})
    findings = Findings.after(root, wrong)
    catalog = lay_over(catalog, findings, source)
    broken = {str(p.path[1]) for p in findings.found if p.path[:1] == ("providers",) and len(p.path) > 1}
    reading = _Reading(shape, root, KnownNames(catalog, findings, broken), {*shape.tiers, *keys_of(root, "tiers")})
    policy = reading.policy(by_price="factors" in written)
    report_dead_rules(shape, reading.known, reading.own_tiers())
    return policy, reading.known.catalog, findings.found


def _builtin_below(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the built-in policy adds. To a file with tiers of its own it adds no provider."""
    builtin: dict[str, Any] = read_packaged(resources.files("providers") / "policy" / "agent_routing.yaml")
    if "tiers" in written:
        own = written["tiers"] if isinstance(written["tiers"], Mapping) else {}
        builtin["affinity"] = {name: tier for name, tier in builtin["affinity"].items() if tier in own}
        del builtin["tiers"], builtin["default"], builtin["last_resort"]
    return builtin


def keys_of(root: Node, section: str) -> Collection[str]:
    """Return the keys that a section of a file has; none where it is not a mapping."""
    node = root.child(section)
    return node.value.keys() if node is not None and isinstance(node.value, Mapping) else ()


@dataclass(frozen=True, slots=True)
class _Reading:
    """Makes the policy; what is wrong with it goes to the findings of `known`."""

    shape: PolicyShape
    root: Node
    known: KnownNames
    tiers: Collection[str]
    """Those that the file means to define, right or wrong, and the built-in ones where it defines none."""

    def policy(self, *, by_price: bool) -> Policy:
        shape = self.shape
        default = shape.default or self._first_tier()
        last_resort = self._last_resort()
        self._check_names(default, last_resort)
        return Policy(
            tiers={
                name: self.known.candidates(enumerate(names), ("tiers", name)) for name, names in shape.tiers.items()
            },
            agents={name: self._agent(agent, ("agents", name)) for name, agent in shape.agents.items()},
            default=self._agent(default, ("default",)),
            strategy=shape.strategy,
            environment=shape.environment,
            only={where: tuple(names) for where, names in shape.only.items()},
            weights=shape.weights,
            factors=shape.factors.model_dump(),
            by_price=by_price,
            task_types={task: tuple(wish.prefer) for task, wish in shape.task_types.items()},
            timeouts=Timeouts(**shape.timeouts.given()),
            attempts_per_turn=shape.attempts.per_turn,
            retry_budget=shape.attempts.retry_budget,
            hedge_after=shape.attempts.hedge_after,
            wait_for_preferred=shape.attempts.wait_for_preferred,
            on_decline=shape.attempts.on_decline,
            on_break=shape.stream.on_break,
            last_resort=tuple(last_resort),
            affinity=shape.affinity,
            budget=self._budget(shape.budget),
            checks=None if shape.checks is None else Checks(shape.checks.every, tuple(shape.checks.providers)),
            ledger=shape.ledger,
        )

    def own_tiers(self) -> Collection[str]:
        """Return the sound tiers that the file itself writes."""
        return [name for name in keys_of(self.root, "tiers") if name in self.shape.tiers]

    def _first_tier(self) -> AgentShape:
        """Return where agents go of which nothing is said: to the worker tier, else to the first one."""
        tiers = self.shape.tiers
        return AgentShape(tier="worker" if "worker" in tiers else next(iter(tiers), None))

    def _last_resort(self) -> list[str]:
        if self.shape.last_resort is None and "fallback" in self.tiers:
            return ["fallback"]
        return self.shape.last_resort or []

    def _check_names(self, default: AgentShape, last_resort: list[str]) -> None:
        """Report the names of tiers and providers that lead nowhere."""
        shape, known = self.shape, self.known
        for name, agent in shape.agents.items():
            known.tier(agent.tier, ("agents", name, "tier"), self.tiers)
        for name, tier in shape.affinity.items():
            known.tier(tier, ("affinity", name), self.tiers)
        known.tier(default.tier, ("default", "tier"), self.tiers)
        for at, tier in enumerate(last_resort):
            known.tier(tier, ("last_resort", at), self.tiers)
        known.provider_keys(shape.weights, ("weights",))
        for where, names in shape.only.items():
            known.providers(names, ("only", where))
        known.providers(shape.checks.providers if shape.checks else (), ("checks", "providers"))
        for task, wish in shape.task_types.items():
            known.providers(wish.prefer, ("task_types", task, "prefer"))
        known.provider_keys(shape.budget.providers, ("budget", "providers"))

    def _agent(self, agent: AgentShape, path: Path) -> AgentPolicy:
        chain = self.known.candidates(agent.members(), (*path, "chain"))
        several = "a chain may name all models of a provider"
        model = None if agent.model is None else self.known.model(agent.model, (*path, "model"), several)
        return AgentPolicy(agent.tier, chain, agent.task_type, model)

    def _budget(self, shape: BudgetShape) -> DailyBudget:
        several = "a provider's cap belongs in providers"
        models = {
            of_all_accounts(self.known.model(name, ("budget", "models", name), several, key=True)): micro_usd(amount)
            for name, amount in shape.models.items()
        }
        cap = None if shape.max_cost_per_day is None else micro_usd(shape.max_cost_per_day)
        return DailyBudget(
            cap,
            tuple(sorted(set(shape.alert_at))),
            {name: micro_usd(amount) for name, amount in shape.providers.items()},
            models,
            shape.timezone,
            shape.unknown_price,
            shape.webhook_env,
            shape.webhook_secret_env,
        )
