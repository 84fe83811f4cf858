"""Reads from a journal what its runs asked of providers, and what these did."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from orchestrator.forecast.traffic import MOST_TURNS, RecordedTraffic, RecordedTurn, turns_in
from orchestrator.journal.protocols import Journal
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import AgentPlan
from orchestrator.squad.sources import routing_text
from providers.documents.problems import ProblemsFound
from providers.messages import Capability, Needs

MOST_SQUADS = 100
"""Squads whose agents are looked up: those that ran last."""


async def recorded_traffic(
    journal: Journal,
    since: float = 0.0,
    until: float = inf,
    most: int = MOST_TURNS,
    clients: Sequence[RecordedTurn] = (),
) -> RecordedTraffic:
    """Return the latest `most` turns that runs of the journal made in a time (epoch seconds UTC), and `clients` of the
    gateway.

    What their agents ask for is taken from the latest run of each squad. Code that a squad names does not run.
    """
    turns, left_out = turns_in(await journal.turns(since, until, most))
    if clients:
        turns = sorted([*turns, *clients], key=lambda turn: turn.at)[-most:]
    runs = {turn.run for turn in turns}
    lines = [line for line in await journal.runs(None) if line.run in runs]
    latest: dict[str, str] = {}
    for line in lines:  # the newest first
        latest.setdefault(line.squad, line.run)
    needs: dict[tuple[str, str], Needs] = {}
    routings: dict[str, str] = {}
    for squad, run in list(latest.items())[:MOST_SQUADS]:
        manifest = await journal.manifest(run)
        if manifest.sources:
            routings[squad] = routing_text(manifest.sources)
        try:
            plan = Squad.from_text(manifest.text, manifest.file, sources=manifest.sources).outline()
        except ProblemsFound:  # of another release, or made of a program's own tools
            continue
        needs |= {(squad, name): agent.needs(_capabilities(agent)) for name, agent in plan.agents.items()}
    return RecordedTraffic(tuple(turns), {line.run: line.squad for line in lines}, needs, left_out, routings)


def _capabilities(agent: AgentPlan) -> frozenset[Capability]:
    """Return what an agent's turns need at least of a model."""
    found = [(Capability.TOOLS, bool(agent.tools)), (Capability.VISION, agent.sees)]
    return frozenset(capability for capability, needed in found if needed)
