"""Policy: which providers an agent asks, in which order. Facts about providers are in the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from providers.policy.factors import POINTS, Strategy

Deployment = Literal["production", "development", "auto"]


OnBreak = Literal["error", "restart", "resume"]
"""What follows where a streamed answer broke off after part of it was passed on."""


@dataclass(frozen=True, slots=True)
class AgentPolicy:
    """What one agent or persona maps to: one model alone, else a chain of candidates and then the last resort, else a
    tier. Empty: its persona's own tier."""

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
class DailyBudget:
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
    """Whether a model whose price is unknown may be asked under a cap: it would be reserved as costing nothing."""
    webhook_env: str | None = None
    """The variable that holds the URL to which alerts are posted."""
    webhook_secret_env: str | None = None
    """The variable that holds the secret by which they are signed; None: they are not."""


@dataclass(frozen=True, slots=True)
class Checks:
    """Which providers are asked, `every` so many seconds, whether they answer at all."""

    every: float
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Tiers hold candidate names in order of preference: `provider/model`, or `provider/*` for all of a provider's.

    A name stands for all accounts of its provider; `provider/model#2` is the second one alone.
    """

    tiers: Mapping[str, tuple[str, ...]]
    """By name, the candidates of each class of models, in order of preference."""
    agents: Mapping[str, AgentPolicy] = field(default_factory=dict)
    """What single agents and personas are answered by, by name."""
    default: AgentPolicy = AgentPolicy(tier="worker")
    """What all others are answered by."""
    strategy: Strategy = "tier"
    """How the candidates of a tier are ordered: `tier` (by score), `chain` (as written), `weighted` or `latency`."""
    environment: Deployment = "auto"
    """Production prefers hosted models, development local ones; `auto`: no preference."""
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By environment the providers that may be asked there; where it says nothing, all may."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """How turns are shared among providers under `weighted`, by name; 0: never."""
    factors: Mapping[str, float] = field(default_factory=lambda: POINTS)
    """The points of each factor of the score."""
    by_price: bool = False
    """Whether price may overrule the order within a tier. A file asks for it by its `factors`; without them the order
    stands as it was written, by an author who knew the prices."""
    task_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By type of task, the providers to ask first."""
    timeouts: Timeouts = Timeouts()
    """How long to wait for a connection, the first token, the next piece, the whole answer."""
    attempts_per_turn: int = 4
    """How many attempts a turn may make, over all providers."""
    retry_budget: float = 0.2
    """How many retries there may be among the turns of the last 10 s, as a share, where no provider answers."""
    hedge_after: float | None = None
    """Seconds of silence after which a second candidate is asked beside the first; None: never."""
    wait_for_preferred: float = 0.0
    """Seconds for which a turn waits for a member of its chain that a limit holds back, rather than go on to the next;
    0: it goes on at once."""
    on_decline: Literal["error", "elsewhere"] = "error"
    """What follows when a provider's content filter declines a request."""
    on_break: OnBreak = "error"
    """What follows where a streamed answer breaks off: `error`, `restart` or `resume`."""
    last_resort: tuple[str, ...] = ("fallback",)
    """Tiers tried after the asked one, in order."""
    affinity: Mapping[str, str] = field(default_factory=dict)
    """The tier of an agent or persona that brings none of its own. Unlike `agents`, it overrules no tier of theirs."""
    budget: DailyBudget = DailyBudget()
    """What may be spent in a day."""
    checks: Checks | None = None
    """None: whether a provider answers is learnt from turns alone."""
    ledger: str | None = None
    """The address of a ledger that machines share, or how they divide all limits; None: each counts on its own."""
    split: tuple[int | None, int] | None = None
    """The worker, from 0, and the number of workers, whose share of all limits and budgets this is; None: it is all."""
    lead: str | None = None
    """`provider/model` or `provider/*`: whose models come first in every tier, whatever the score. A tier's own ones of
    that provider go before this one; chains and pinned models stay as they are."""
