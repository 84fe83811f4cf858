"""What is simulated: how providers behave, what load comes, under which policy, and what that must show. Plain values.

Seconds count from the scenario's start unless they are said to be epoch seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from providers.catalog.model import Catalog, Limit
from providers.messages import Capability, Usage
from providers.policy.model import Policy
from providers.routing.control import NOTHING_SET, RoutingControl
from providers.simulation.cluster.model import Cluster

EVERY = "*"
"""Stands for the providers that a scenario names nowhere else."""
MOST_TOKENS = 2_000_000
"""Of one turn's input: no model's context is larger."""
MIDNIGHT = 1_795_132_800.0
"""2026-11-20T00:00:00Z."""
Mode = Literal["refuses", "hangs", "errors", "retires", "blocks", "limits"]
"""How a provider is down: connections are refused, nothing is ever answered, every answer is a server's error, its
models are gone, a firewall in front of it refuses all calls, or every call is one too many for it."""
ErrorKind = Literal["server", "overloaded", "rate_limited", "malformed", "unreachable", "hangs", "declined", "refused"]
"""`refused`: a 400 for a reason that is not known."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of an answer: (`first_token` + `per_token` x tokens of output), times a log-normal draw of median 1."""

    first_token: float = 0.5
    """Seconds to the first token."""
    per_token: float = 0.005
    """Seconds for each token of output."""
    spread: float = 0.0
    """The sigma of the draw: 0.5 puts 95 % of the answers between 0.37 and 2.7 times the median."""
    factors: tuple[float, ...] = ()
    """Measured factors, each as likely as the others, in place of the draw."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which a provider or a model answers nothing."""

    begins: float
    """Seconds from the start."""
    lasts: float
    """Seconds."""
    how: Mode = "refuses"
    """What a call gets meanwhile."""


@dataclass(frozen=True, slots=True)
class Flaky:
    """Down for a share of the time, at random instants."""

    share: float
    """The share of the time that it is down, 0 to 1."""
    mean: float = 60.0
    """Seconds of an outage, on average (exponential)."""
    how: Mode = "refuses"
    """What a call gets meanwhile."""


@dataclass(frozen=True, slots=True)
class ModelBehaviour:
    """How one model behaves."""

    latency: Latency = Latency()
    """In place of its provider's."""
    errors: Mapping[ErrorKind, float] = field(default_factory=dict)
    """Shares of all calls, by kind, in place of its provider's."""
    outages: tuple[Outage, ...] = ()
    """When it is down, beside its provider's outages."""
    error_seconds: Mapping[ErrorKind | Mode, float] = field(default_factory=dict)
    """Seconds of a call that fails so, where that is known."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one provider behaves. It enforces the limits that its catalog row has."""

    latency: Latency = Latency()
    """How long its answers take."""
    errors: Mapping[ErrorKind, float] = field(default_factory=dict)
    """Shares of all calls, by kind."""
    outages: tuple[Outage, ...] = ()
    """When it is down."""
    flaky: Flaky | None = None
    """Outages at random instants; None: there are none."""
    region: str | None = None
    """It is down whenever this region is."""
    hidden: tuple[Limit, ...] = ()
    """Limits that it enforces and that are not known before."""
    models: Mapping[str, ModelBehaviour] = field(default_factory=dict)
    """Those of its models, by their names there, that are known to behave in another way."""


@dataclass(frozen=True, slots=True)
class Load:
    """Turns of one kind that arrive over some time."""

    count: int
    """How many turns."""
    over: float = 0.0
    """Seconds within which they arrive; 0: all at once."""
    begins: float = 0.0
    """Seconds after the start at which the first may arrive."""
    agent: str | None = None
    """Whose turns they are."""
    persona: str | None = None
    """The persona of that agent."""
    tier: str | None = None
    """The tier that is asked."""
    model: str | None = None
    """The one model that is asked."""
    task_type: str | None = None
    """The type of the tasks, as in the policy."""
    capabilities: frozenset[Capability] = frozenset()
    """What the model must be able to do."""
    input_tokens: int = 600
    """Tokens of a request."""
    output_tokens: int = 200
    """Tokens of an answer."""
    max_output_tokens: int | None = 1024
    """The most tokens that a request allows; None: it says nothing, and what the model may say is reserved."""
    spread: float = 0.0
    """The sigma of a log-normal draw around both numbers of tokens; 0: always the same."""
    deadline: float | None = None
    """Seconds within which a turn must be answered; None: the policy's `total`."""
    arrivals: Literal["even", "random"] = "even"
    """Evenly spaced, or each instant drawn at random."""
    phase: str = ""
    """The part of the scenario that they belong to."""
    chain: tuple[str, ...] = ()
    """Candidates to ask in this order, in place of a tier."""
    instants: tuple[float, ...] = ()
    """The seconds at which the turns arrive, in order, where these are known; `over` still says how long the load
    is."""
    usage: Usage | None = None
    """What an answer is billed as, in place of `input_tokens` and `output_tokens`."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A claim to be measured. A key that leads nowhere counts as 0: a provider that was never asked has no row."""

    text: str
    """What is claimed, in words."""
    of: tuple[str | int, ...]
    """The keys in the report under which the figure is."""
    per: tuple[str | int, ...] = ()
    """The keys of the figure that it is divided by; empty: it is not divided."""
    exactly: float | None = None
    """What the figure must be."""
    at_least: float | None = None
    """The least that it may be."""
    at_most: float | None = None
    """The most that it may be."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a simulation needs."""

    name: str
    """The name of the file, or of a shipped scenario."""
    title: str
    """A few words for people."""
    about: str
    """What it shows."""
    policy: Policy
    """The routing policy that is tried."""
    catalog: Catalog
    """The providers, models and limits."""
    providers: Mapping[str, Behaviour]
    """The providers that there are, and how each behaves; `*`: every provider of the catalog that is named nowhere else
    and is not switched off."""
    load: tuple[Load, ...]
    """The turns that arrive."""
    claims: tuple[Expectation, ...] = ()
    """What must hold of the report."""
    regions: Mapping[str, tuple[Outage, ...]] = field(default_factory=dict)
    """The outages of whole regions, by name."""
    starts: float = MIDNIGHT
    """Epoch seconds UTC."""
    instances: int = 1
    """Routers that turns come to, one after the other; each has its own view of health, and they share every limit on
    one ledger."""
    message_delay: float = 0.0
    """Seconds that a message to that ledger takes, and its answer again."""
    seed: int = 1
    """Of all that is drawn at random."""
    control: RoutingControl = NOTHING_SET
    """What operators have set over the policy."""
    cluster: Cluster | None = None
    """Workers that take the turns as parts of runs, instead of `instances` to which each turn comes by itself."""
