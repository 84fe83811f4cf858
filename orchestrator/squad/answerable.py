"""Which models answer the agents of a squad: those that they name, and why none could. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.squad.plan import AgentPlan
from orchestrator.squad.spec import SquadSpec
from providers.catalog.model import Candidate, Catalog, of_all_accounts
from providers.documents.nodes import Node
from providers.documents.problems import Problem
from providers.messages import Capability, Request
from providers.policy.model import Policy
from providers.routing.choice import Refuse, choose
from providers.routing.fleet import Fleet

TOLD = 3
"""How many models' reasons a message has room for."""


def pinned_by(agent: AgentPlan) -> tuple[str, ...]:
    """Return the models that an agent names."""
    return (*([agent.model] if agent.model else []), *agent.chain)


def prover(policy: Policy, catalog: Catalog) -> Callable[[AgentPlan], str]:
    """Return a function that says why, were there a key to every model, none could answer an agent; empty: one could.

    What the routing filters by is asked of it: what a model can do, and which providers the policy leaves out.
    """
    rows = catalog.providers.values()
    fleet = Fleet((Candidate(row, model) for row in rows for model in row.models.values()), policy)

    def why(agent: AgentPlan) -> str:
        tier = agent.tier or agent.persona.tier
        wanted = {Capability.TOOLS: bool(agent.tools), Capability.VISION: agent.sees}
        needs = agent.needs(frozenset(one for one, is_wanted in wanted.items() if is_wanted))
        decision = choose(fleet, Request((), needs=needs), 0.0)
        if not isinstance(decision, Refuse) or tier not in (None, *policy.tiers):
            return ""
        if any(name != of_all_accounts(name) for name in decision.reasons):
            return ""  # which accounts there are is known by the keys alone
        told = [f"{name} {reason}" for name, reason in decision.reasons.items()]
        return "; ".join(told[:TOLD]) + (f"; and {len(told) - TOLD} more" if len(told) > TOLD else "")

    return why


def not_sent(spec: SquadSpec, node: Node, catalog: Catalog) -> Iterator[Problem]:
    """Yield each temperature of an agent whose own models take none."""
    for name, agent in spec.agents.items():
        rows = [catalog.find(of_all_accounts(model)) for model in agent.models]
        if agent.temperature is None or not rows or any(row is None or row[0].quirks.sampling for row in rows):
            continue
        models = " and ".join(agent.models)
        message = f"{models} take{'s' if len(rows) == 1 else ''} no temperature, so none is sent"
        path, hint = ("agents", name, "temperature"), "leave it out, or name another model"
        yield node.problem(path, "not-sent", message, hint, severity="warning")
