"""Policy: who answers whom. The user's `agent_routing.yaml`, or the built-in default; facts are in `catalog.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


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
class Policy:
    """Tiers hold candidate names in order of preference: `provider/model`, or `provider/*` for all of a provider's."""

    tiers: Mapping[str, tuple[str, ...]]
    agents: Mapping[str, AgentPolicy] = field(default_factory=dict)
    default: AgentPolicy = AgentPolicy(tier="worker")
    strategy: Literal["tier", "chain", "weighted", "latency"] = "tier"
    environment: Literal["production", "development", "auto"] = "auto"
    weights: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    task_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    attempts_per_turn: int = 4
    retry_budget: float = 0.2
    on_break: Literal["error", "restart", "resume"] = "error"
    last_resort: tuple[str, ...] = ("fallback",)
    """Tiers tried after the asked one, in order."""
