"""What a simulation came to: plain frozen values, all of them counted while it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit of a provider, as the provider itself saw it."""

    label: str
    """The limit in words."""
    scope: str
    """The model or the pool of models that it is for; `*`: all of the provider."""
    amount: float
    """How much it allows in a window."""
    window: float
    """Seconds of a window."""
    total: float
    """All that came to it of the limit's metric."""
    peak: float
    """The most within one window, by the provider's own exact count."""
    used: float
    """`total` as a share of what the limit would have allowed until the load ended or the last call came."""
    refused: int
    """How often the routers' ledger found no room in it."""
    violations: int
    """How many calls came past it."""


@dataclass(frozen=True, slots=True)
class ProviderUse:
    """What came to a provider, or to one of its models."""

    calls: int = 0
    """Calls that came to it."""
    answers: int = 0
    """Calls that it answered."""
    share: float = 0.0
    """Its share of all answers, 0 to 1."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed calls, by the class of the error."""
    cost: int = 0
    """micro-USD."""
    unpriced: int = 0
    """Answers without a known price."""
    input_tokens: int = 0
    """Tokens of requests that were answered."""
    output_tokens: int = 0
    """Tokens of answers."""
    first_turn: int = 0
    """The number, in order of arrival, of the first turn that it answered; 0: none."""
    last_turn: int = 0
    """The number of the last one; 0: none."""
    probes: int = 0
    """Calls that its breaker let out to try it."""
    recovery_calls: int = 0
    """The most calls that came to it after the end of an outage before it first answered."""
    violations: int = 0
    """Calls that came past one of its limits."""
    limits: tuple[LimitUse, ...] = ()
    """How each of its limits was used."""


@dataclass(frozen=True, slots=True)
class GroupUse:
    """Turns of one agent, tier or phase."""

    turns: int = 0
    """How many."""
    answered: int = 0
    """Turns that were answered."""
    in_time: int = 0
    """Turns that were answered within their deadline."""
    failed: int = 0
    """Turns that were not answered."""
    cost: int = 0
    """micro-USD."""
    providers: Mapping[str, int] = field(default_factory=dict)
    """Answers by provider."""
    models: Mapping[str, int] = field(default_factory=dict)
    """Answers by model."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of turns for room or for a probe."""

    turns: int = 0
    """Turns that had to wait."""
    count: int = 0
    """How often they waited."""
    total: float = 0.0
    """Seconds in all."""
    longest: float = 0.0
    """Seconds of the longest wait."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds from a turn's arrival to its answer, within a twentieth; 0 where nothing was answered."""

    p50: float = 0.0
    """Half of the turns took no longer."""
    p95: float = 0.0
    """95 % of the turns took no longer."""
    p99: float = 0.0
    """99 % of the turns took no longer."""
    longest: float = 0.0
    """The longest of all."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of the timeline: what ended in it."""

    at: float
    """Seconds after the start at which it begins."""
    answers: Mapping[str, int]
    """By provider."""
    errors: Mapping[str, int]
    """Failed calls, by provider."""
    failed: int
    """Turns that were not answered."""
    cost: int
    """micro-USD."""


@dataclass(frozen=True, slots=True)
class ResourceUse:
    """What a cluster has of one thing: the share that is `used`, and how long what needed it `waited` for it.

    `planned` is the share by the formulas of `cluster/capacity.py`: above 1 the load is more than there is. `carries`
    are the turns an hour that would use all of it, by the same formulas; None: no load does.
    """

    used: float
    planned: float
    carries: float | None
    waited: Durations = Durations()


@dataclass(frozen=True, slots=True)
class ClusterUse:
    """What a cluster came to while the load came, but for the first fifth of that time.

    `offered` and `reached` are turns an hour: those that came, and those that were recorded. `connected` of the
    `workers` found room for their connections. `first` names the resource that is used most, and so is saturated first;
    `jobs` is how long runs and tasks waited for a worker. `exceeded` are calls that came to a provider past its limit.
    `lost` is how often a worker lost the shared ledger and went on alone. `cut` are calls in flight at a worker's
    death: they are paid for, and made again. `unfinished` are turns that no worker was left for.
    """

    workers: int
    connected: int
    offered: float
    reached: float
    first: str
    resources: Mapping[str, ResourceUse]
    jobs: Mapping[str, Durations]
    exceeded: int
    lost: int
    cut: int
    unfinished: int
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a scenario says that it shows, and whether it did."""

    text: str
    """What is claimed."""
    held: bool
    """Whether it is so."""
    measured: str
    """The figure, in words."""


@dataclass(frozen=True, slots=True)
class Report:
    """One simulation. Mappings are in the order of the catalog, or of first appearance."""

    scenario: str
    """The scenario's name."""
    title: str
    """The scenario's title."""
    seed: int
    """Of all that was drawn at random."""
    turns: int
    """Turns that arrived."""
    answered: int
    """Turns that were answered."""
    answered_in_time: int
    """Turns that were answered within their deadline (the policy's `total` where they name none)."""
    failed: int
    """Turns that were not answered."""
    calls: int
    """Calls of providers."""
    probes: int
    """Calls that breakers let out to try a provider."""
    violations: int
    """Calls that came past a limit."""
    least_use: float
    """The least share, over all providers with limits, of the limit that bound each of them most."""
    cost: int
    """micro-USD."""
    unpriced: int
    """Answers without a known price."""
    input_tokens: int
    """Tokens of requests that were answered."""
    output_tokens: int
    """Tokens of answers."""
    waits: Waits
    """How turns waited."""
    durations: Durations
    """How long turns took."""
    providers: Mapping[str, ProviderUse]
    """By name."""
    models: Mapping[str, ProviderUse]
    """By `provider/model`."""
    agents: Mapping[str, GroupUse]
    """By name."""
    tiers: Mapping[str, GroupUse]
    """By name."""
    phases: Mapping[str, GroupUse]
    """By name."""
    failures: Mapping[str, int]
    """Why turns failed, by the class of the error."""
    would_cost: Mapping[str, int]
    """micro-USD that all answers together would have cost at each candidate alone, at its list price; candidates
    without a known price are left out."""
    bucket_seconds: float
    """Seconds of a stretch of the timeline."""
    timeline: tuple[Bucket, ...]
    """What happened when."""
    claims: tuple[Claim, ...]
    """What the scenario claims, and whether it holds."""
    decisions: int
    """Lines of the decision log."""
    digest: str
    """The SHA-256 of the decision log."""
    virtual_seconds: float
    """From the start to the end of the last turn."""
    cluster: ClusterUse | None = None
    """How the workers were used, where the scenario has a cluster."""

    @property
    def held(self) -> bool:
        """Whether every claim held."""
        return all(claim.held for claim in self.claims)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes."""
        data = asdict(self)
        if self.cluster is None:
            del data["cluster"]
        return data
