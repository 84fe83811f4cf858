"""How load is spread, as the API and the pages show it: by tier, by agent, and where it went when something failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel

from orchestrator.server.provider_view import ERRORS, HOUR
from orchestrator.server.state import ServerState
from providers.routing.control_effects import stands_for
from providers.routing.fleet import Fleet
from providers.routing.traffic import Served, TrafficView


class ShareShown(BaseModel):
    """What a provider answered of a group's turns. `share` is 0 to 1.

    `by_weight`: the share that its weight comes to among those of the tier; None: weights do not decide here.
    """

    provider: str
    answered: int
    share: float
    by_weight: float | None = None


class TierLoad(BaseModel):
    """The turns of one tier ("": a pinned model or a chain was asked) and who answered them."""

    tier: str
    answered: int
    p50_s: float | None
    p95_s: float | None
    providers: list[ShareShown]


class AgentLoad(BaseModel):
    """The turns of one agent ("": a client asked for a tier or a model), and who answered them."""

    agent: str
    answered: int
    providers: list[ShareShown]


class FailoverShown(BaseModel):
    """How often `origin` failed so, and `target` was asked next."""

    origin: str
    target: str
    error: str
    words: str
    count: int


class LoadShown(BaseModel):
    """What this process answered within the last `seconds`. `at` is epoch seconds."""

    at: float
    since: float
    seconds: float
    strategy: str
    answered: int
    tiers: list[TierLoad]
    agents: list[AgentLoad]
    failovers: list[FailoverShown]


def load_shown(state: ServerState, seconds: float = HOUR) -> LoadShown:
    """Return how the load of the last `seconds` was spread. Tiers of the policy are there without traffic, too."""
    manager, now = state.manager, state.manager.clock()
    manager.look()
    view, fleet = manager.traffic.over(seconds, now), manager.fleet
    tiers = dict.fromkeys([*fleet.policy.tiers, *(served.tier for served in view.served)])
    agents = Counter[str]()
    for served, count in view.served.items():
        agents[served.agent] += count
    failovers = [
        FailoverShown(
            origin=one.origin, target=one.target, error=one.error, words=ERRORS.get(one.error, "it failed"), count=count
        )
        for one, count in view.failovers.most_common()
    ]
    return LoadShown(
        at=now,
        since=max(manager.traffic.began, now - seconds),
        seconds=seconds,
        strategy=fleet.policy.strategy,
        answered=view.served.total(),
        tiers=[_tier(tier, view, fleet) for tier in tiers],
        agents=[
            AgentLoad(
                agent=agent,
                answered=count,
                providers=_shares((one, n) for one, n in view.served.items() if one.agent == agent),
            )
            for agent, count in agents.most_common()
        ],
        failovers=failovers,
    )


def _tier(tier: str, view: TrafficView, fleet: Fleet) -> TierLoad:
    took = view.tiers.get(tier)
    shares = _shares((one, n) for one, n in view.served.items() if one.tier == tier)
    planned = planned_shares(fleet, tier)
    for one in shares:
        one.by_weight = planned.get(one.provider)
    known = {one.provider for one in shares}
    shares += [
        ShareShown(provider=name, answered=0, share=0.0, by_weight=share)
        for name, share in planned.items()
        if name not in known
    ]
    return TierLoad(
        tier=tier,
        answered=sum(one.answered for one in shares),
        p50_s=None if took is None else took.percentile(0.5),
        p95_s=None if took is None else took.percentile(0.95),
        providers=shares,
    )


def planned_shares(fleet: Fleet, tier: str) -> dict[str, float]:
    """Return the share of a tier that each provider's weight comes to; nothing where weights do not decide."""
    if fleet.policy.strategy != "weighted" or tier not in fleet.policy.tiers:
        return {}
    patterns = fleet.policy.tiers[tier]
    members = [name for name in fleet.states if any(stands_for(pattern, name) for pattern in patterns)]
    weights = {
        provider: fleet.weight(provider)
        for provider in dict.fromkeys(fleet.states[name].account[0] for name in members if name not in fleet.barred)
    }
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total else {}


def _shares(served: Iterable[tuple[Served, int]]) -> list[ShareShown]:
    counts = Counter[str]()
    for one, count in served:
        counts[one.candidate.partition("/")[0]] += count
    total = counts.total()
    return [ShareShown(provider=name, answered=count, share=count / total) for name, count in counts.most_common()]
