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
    """Seconds of an answer: (`first_token` + `per_token` x tokens of output), times a log-normal draw of median 1.

    `spread` is the sigma of that draw: 0.5 puts 95 % of the answers between 0.37 and 2.7 times the median. `factors`,
    each as likely as the others, take its place: those that were measured.
    """

    first_token: float = 0.5
    per_token: float = 0.005
    spread: float = 0.0
    factors: tuple[float, ...] = ()


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
    """Down for `share` of the time, at random instants, for `mean` seconds on average (exponential)."""

    share: float
    mean: float = 60.0
    how: Mode = "refuses"


@dataclass(frozen=True, slots=True)
class ModelBehaviour:
    """How one model behaves: `latency` and `errors` in place of its provider's; it is down in its own `outages`, too.

    `error_seconds`: how long a call takes that fails so, where that is known.
    """

    latency: Latency = Latency()
    errors: Mapping[ErrorKind, float] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    error_seconds: Mapping[ErrorKind | Mode, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one provider behaves. It enforces the limits that its catalog row keeps, and `hidden` ones that are not known
    of beforehand. `errors` are shares of all calls, by kind. `region`: it is down whenever its region is. `models` are
    those of its models, by their names there, that are known to behave in a way of their own."""

    latency: Latency = Latency()
    errors: Mapping[ErrorKind, float] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    flaky: Flaky | None = None
    region: str | None = None
    hidden: tuple[Limit, ...] = ()
    models: Mapping[str, ModelBehaviour] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """`count` turns of one kind that arrive from `begins` on within `over` seconds (0: all at once).

    `arrivals`: evenly spaced, or at random (each instant drawn by itself). Tokens are those of each turn; `spread` is
    the sigma of a log-normal draw around them. `output_tokens` is what an answer comes to; `max_output_tokens` what the
    request allows (None: it says nothing, and what the model may say is reserved). `deadline`: seconds for the turn.
    `phase` names the part of the scenario that the load belongs to.

    `instants`: the seconds at which the turns arrive, in order, where these are known; `over` still says how long the
    load is. `usage`: what an answer is billed as, in place of `input_tokens` and `output_tokens`.
    """

    count: int
    over: float = 0.0
    begins: float = 0.0
    agent: str | None = None
    persona: str | None = None
    tier: str | None = None
    model: str | None = None
    task_type: str | None = None
    capabilities: frozenset[Capability] = frozenset()
    input_tokens: int = 600
    output_tokens: int = 200
    max_output_tokens: int | None = 1024
    spread: float = 0.0
    deadline: float | None = None
    arrivals: Literal["even", "random"] = "even"
    phase: str = ""
    chain: tuple[str, ...] = ()
    instants: tuple[float, ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """A claim to be measured: the figure that the report holds under the keys `of` (divided by that under `per`) is
    `exactly`, `at_least` or `at_most` this much. A key that leads nowhere counts as 0: a provider that was never asked
    has no row.
    """

    text: str
    of: tuple[str | int, ...]
    per: tuple[str | int, ...] = ()
    exactly: float | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a simulation needs. `starts` is epoch seconds UTC.

    `providers` holds which providers there are and how each behaves; the key `*` stands for every provider of the
    catalog that is named nowhere else and is not switched off. Turns come to the `instances` routers one after the
    other; each has its own view of health. They share every limit on one ledger, which a message reaches after
    `message_delay` seconds and whose answer takes as long. `regions` holds the outages of whole regions. `control` is
    what operators have set over the policy.
    """

    name: str
    title: str
    about: str
    policy: Policy
    catalog: Catalog
    providers: Mapping[str, Behaviour]
    load: tuple[Load, ...]
    claims: tuple[Expectation, ...] = ()
    regions: Mapping[str, tuple[Outage, ...]] = field(default_factory=dict)
    starts: float = MIDNIGHT
    instances: int = 1
    message_delay: float = 0.0
    seed: int = 1
    control: RoutingControl = NOTHING_SET
    cluster: Cluster | None = None
    """Workers that take the turns as parts of runs, instead of `instances` to which each turn comes by itself."""
