"""What a policy makes of a request's needs: the candidates in its order, and why others are missing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from providers.catalog.model import Candidate, of_all_accounts
from providers.errors import Reason, ReasonCode
from providers.messages import Needs
from providers.policy.model import AgentPolicy, Policy
from providers.routing.candidate_state import CandidateState
from providers.routing.scores import Ordering

REMEMBERED = 1024
"""How many rankings are kept at hand."""
_NOT_CONFIGURED = Reason(ReasonCode.NOT_CONFIGURED, "not configured")


@dataclass(frozen=True, slots=True)
class Route:
    """Candidates in the order in which they are to be tried; `names` are theirs; `refused` says why others are not.

    `ordering` is what ordered the first tier in play; None: nothing told its candidates apart, so the
    policy's order decides.
    The tiers after it stand as the policy has them: they are compared when their turn comes.
    """

    candidates: tuple[Candidate, ...]
    names: tuple[str, ...]
    refused: Mapping[str, Reason]
    ordering: Ordering | None = None


def elsewhere(route: Route, asked: Collection[str], failed: Callable[[str], bool]) -> Route:
    """Return the route with one at its head whose provider has none of those `asked`; as it is where there is none.

    It is the first that has not `failed` whoever asked it last, else the first.
    """
    providers = {name.partition("/")[0] for name in asked}
    unasked = [at for at, name in enumerate(route.names) if name.partition("/")[0] not in providers]
    at = min(unasked, key=lambda at: failed(route.names[at]), default=0)
    if at == 0:
        return route
    candidates, names = list(route.candidates), list(route.names)
    candidates.insert(0, candidates.pop(at))
    names.insert(0, names.pop(at))
    return Route(tuple(candidates), tuple(names), route.refused)


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a policy makes of some needs: configured candidates in order of preference, and why others are missing.

    `pools` names, by candidate, its tier; only those of one pool are compared with each other.
    `task_type` is what the policy says of the agent that asks. `route` is what follows where every candidate may be
    asked, and nothing tells them apart.
    """

    states: tuple[CandidateState, ...]
    refused: Mapping[str, Reason]
    route: Route
    pools: Mapping[str, str] = field(default_factory=dict)
    task_type: str | None = None
    chained: frozenset[str] = frozenset()
    """The candidates that stand in an order that was written down: later ones answer where earlier ones do not."""
    tier: str = ""
    """The tier that is asked first; "": a chain or a pinned model is."""

    def rivals(self, states: list[CandidateState]) -> list[CandidateState]:
        """Return the first ones of `states` that are of one pool."""
        pools = self.pools
        pool = pools[states[0].name]
        if pools[states[-1].name] == pool:  # pools stand one after the other
            return states
        for at, state in enumerate(states):
            if pools[state.name] != pool:
                return states[:at]
        return states


class Ranker:
    """Ranks the candidates of one policy, each combination of needs once.

    `unconfigured` says why a candidate, or a whole provider, that the policy names cannot be asked. `sole` names the
    one candidate that answers everything: a dry run's.
    """

    __slots__ = ("_accounts", "_policy", "_rankings", "_sole", "_states", "_unconfigured")

    def __init__(
        self,
        policy: Policy,
        states: Mapping[str, CandidateState],
        unconfigured: Mapping[str, Reason],
        sole: str | None = None,
    ) -> None:
        self._policy, self._states, self._unconfigured, self._sole = policy, states, unconfigured, sole
        self._rankings: dict[tuple[object, ...], Ranking] = {}
        self._accounts: dict[str, list[str]] = {}
        for name in states:
            self._accounts.setdefault(of_all_accounts(name), []).append(name)

    def ranking(self, needs: Needs) -> Ranking:
        """Return the candidates for `needs` by policy: one model, else a chain, else a tier; then the last resort."""
        key = (needs.agent, needs.persona, needs.tier, needs.model, needs.chain)
        found = self._rankings.get(key)
        if found is None:
            if len(self._rankings) >= REMEMBERED:  # callers make up names: an open-ended set must not pile up
                self._rankings.clear()
            found = self._rankings[key] = self._rank(needs)
        return found

    def _rank(self, needs: Needs) -> Ranking:
        if self._sole is not None:
            return self._expand([("", (self._sole,))], tier=needs.tier or "")
        if needs.model is not None:
            return self._pinned(needs.model)
        policy, wish = self._policy, _wish(self._policy, needs)
        if wish.model is not None:
            return self._pinned(wish.model)
        pools, refused = [("", wish.chain)], dict[str, Reason]()
        if not wish.chain and wish.tier is not None:
            tier = policy.tiers.get(wish.tier, ())
            pools = [*self._lead(tier), (wish.tier, tier)]
            if wish.tier not in policy.tiers:
                refused[wish.tier] = Reason(ReasonCode.UNKNOWN, "the policy has no such tier")
        pools += [(tier, policy.tiers.get(tier, ())) for tier in policy.last_resort]
        asked = "" if wish.chain else wish.tier or ""
        return self._expand(pools, refused, _task_type(policy, needs), asked)

    def _lead(self, tier: Iterable[str]) -> list[tuple[str, tuple[str, ...]]]:
        """Return the pool of the provider that the environment puts first: its models of the tier, else all it has."""
        lead = self._policy.lead
        if lead is None:
            return []
        provider = lead.partition("/")[0]
        own = tuple(name for name in tier if name.partition("/")[0] == provider)
        return [(f"{provider} first", own or (lead,))]

    def _pinned(self, model: str) -> Ranking:
        whole = of_all_accounts(model)
        known = [whole] if whole in self._accounts else [name for name in self._accounts if name.endswith(f"/{whole}")]
        if len(known) > 1:
            refused = {model: Reason(ReasonCode.UNKNOWN, f"names several: {', '.join(known)}")}
            return Ranking((), refused, Route((), (), refused))
        return self._expand([("", [f"{name}{model[len(whole) :]}" for name in known] or (model,))])

    def _expand(
        self,
        pools: Iterable[tuple[str, Sequence[str]]],
        refused: dict[str, Reason] | None = None,
        task_type: str | None = None,
        tier: str = "",
    ) -> Ranking:
        """Return the ranking of pools of patterns. One without a name, and every one by `chain`, keeps its order.

        A model stands for all accounts that serve it, which are one pool whatever the strategy.
        """
        chosen: dict[str, CandidateState] = {}
        refused, pool_of, chained = refused or {}, dict[str, str](), set[str]()
        for pool, pattern in ((pool, pattern) for pool, patterns in pools for pattern in patterns):
            prefix = pattern[:-1] if pattern.endswith("/*") else None
            models = [pattern] if prefix is None else [name for name in self._accounts if name.startswith(prefix)]
            for model in models:
                for name in self._accounts.get(model, [model.removesuffix("#1")]):
                    if name in self._states:
                        chosen.setdefault(name, self._states[name])
                        in_order = self._policy.strategy == "chain" or not pool
                        if pool_of.setdefault(name, model if in_order else pool) == model:
                            chained.add(name)
                    else:
                        refused[name] = self._why_missing(name)
            if not models:
                refused[pattern] = self._why_missing(pattern)
        states = tuple(chosen.values())
        route = Route(tuple(state.candidate for state in states), tuple(chosen), refused)
        return Ranking(states, refused, route, pool_of, task_type, frozenset(chained), tier)

    def _why_missing(self, name: str) -> Reason:
        provider = name.partition("/")[0]
        if of_all_accounts(name) in self._accounts:
            return Reason(ReasonCode.UNKNOWN, f"{provider} has no such account here")
        served = any(state.account[0] == provider for state in self._states.values())
        unknown = Reason(ReasonCode.UNKNOWN, f"{provider} serves no such model here") if served else _NOT_CONFIGURED
        return self._unconfigured.get(name) or self._unconfigured.get(provider, unknown)


def _task_type(policy: Policy, needs: Needs) -> str | None:
    """Return the type of task that the policy knows of the agent, else of its persona."""
    said = (policy.agents.get(name) for name in (needs.agent, needs.persona) if name is not None)
    return next((agent.task_type for agent in said if agent is not None and agent.task_type is not None), None)


def _wish(policy: Policy, needs: Needs) -> AgentPolicy:
    """Return what the policy says of the agent, else of its persona, else the persona's own tier, else an affinity."""
    if needs.chain:
        return AgentPolicy(chain=needs.chain)
    names = [name for name in (needs.agent, needs.persona) if name is not None]
    for said in (policy.agents[name] for name in names if name in policy.agents):
        if said.chain or said.tier is not None or said.model is not None:
            return said
    near = (policy.affinity[name] for name in names if name in policy.affinity)
    tier = needs.tier if needs.tier is not None else next(near, None)
    return policy.default if tier is None else AgentPolicy(tier=tier)
