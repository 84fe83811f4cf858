"""A run's own limits, as its screens show them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.squad.plan import Budget, Plan


@dataclass(frozen=True, slots=True)
class Caps:
    """The run's own limits: USD, tokens, seconds. None: no limit of that kind."""

    cost: float | None = None
    tokens: int | None = None
    seconds: float | None = None


def caps_of(plan: Plan) -> Caps:
    """Return the limits of a run of this plan."""
    own = plan.budget or Budget()
    return Caps(None if own.max_cost is None else own.max_cost / 1e6, own.max_tokens, own.max_time)
