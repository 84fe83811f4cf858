"""`run --dry-run`: what would be done, in which order, by which agents. Nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.ui.caps import Caps
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import print_json
from orchestrator.cli.ui.figures import duration, usd
from orchestrator.cli.ui.notices import STUB_NOTICE
from orchestrator.run_opening import stub_would_answer
from orchestrator.squad.drawn import DrawnTask, nodes_of
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import AgentPlan, Plan
from providers.documents.unicode import printable
from providers.errors import in_short
from providers.messages import Capability
from providers.policy.environment import with_environment
from providers.routing.fleet import Fleet


def print_dry_run(
    squad: Squad, plan: Plan, caps: Caps, environ: Mapping[str, str], *, offline: bool, as_json: bool
) -> Exit:
    """Write the plan to stdout: the tasks in order, the agents with who would likely answer them, the limits."""
    nodes = nodes_of(plan)
    stub = stub_would_answer(squad, plan, environ, offline or None)
    agents = {
        name: "the offline stub" if stub else likely(squad, agent, environ) for name, agent in plan.agents.items()
    }
    if as_json:
        print_json(_document(squad, plan, nodes, agents, caps, stub), indent=2)
        return Exit.DONE
    tasks = [(str(i), n.id, n.who, ", ".join(n.needs), ", ".join(n.notes)) for i, n in enumerate(nodes, 1)]
    click.echo(printable(columns([("", "TASK", "WHO", "NEEDS", ""), *tasks])))
    rows = [
        (name, persona_of(squad, agent) or "-", tier_of(agent), agents[name]) for name, agent in plan.agents.items()
    ]
    click.echo("\n" + printable(columns([("AGENT", "PERSONA", "TIER", "LIKELY ANSWERED BY"), *rows])))
    click.echo(f"\nlimits: {limit_words(caps)}")
    if stub:
        click.echo(STUB_NOTICE)
    return Exit.DONE


def likely(squad: Squad, agent: AgentPlan, environ: Mapping[str, str]) -> str:
    """Return the candidate that would be asked first by policy alone, or why there is none."""

    policy, catalog = with_environment(squad.policy, squad.catalog, environ)
    fleet = Fleet(catalog.candidates(environ), policy, catalog.unconfigured(environ))
    ranking = fleet.ranking(agent.needs())
    blind = [
        one.name for one in ranking.states if agent.sees and Capability.VISION not in one.candidate.model.capabilities
    ]
    able = [one.name for one in ranking.states if one.name not in blind]
    if blind and not able:
        return f"none: {', '.join(blind[:3])} cannot see images"
    if able:
        return able[0]
    return f"none: {in_short(ranking.refused)}"


def persona_of(squad: Squad, agent: AgentPlan) -> str | None:
    """Return the persona of an agent, None of one that says itself who it is."""
    spec = squad.spec.agents.get(agent.id)
    return None if spec is not None and spec.persona is None else agent.persona.name


def tier_of(agent: AgentPlan) -> str:
    return agent.model or ", ".join(agent.chain) or agent.tier or agent.persona.tier or "default"


def limit_words(caps: Caps) -> str:
    """Return the run's limits in words."""
    words = (
        usd(caps.cost) if caps.cost is not None else "",
        f"{caps.tokens:,} tokens" if caps.tokens is not None else "",
        duration(caps.seconds),
    )
    return ", ".join(filter(None, words)) or "none"


def _document(
    squad: Squad, plan: Plan, nodes: list[DrawnTask], agents: dict[str, str], caps: Caps, stub: bool
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "squad": plan.name,
        "stub": stub,
        "tasks": [{"id": n.id, "who": n.who, "needs": list(n.needs), "notes": list(n.notes)} for n in nodes],
        "agents": [
            {"id": name, "persona": persona_of(squad, agent), "tier": tier_of(agent), "likely": agents[name]}
            for name, agent in plan.agents.items()
        ],
        "limits": {"cost_usd": caps.cost, "tokens": caps.tokens, "seconds": caps.seconds},
    }
