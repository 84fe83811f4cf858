"""What a simulation came to: plain frozen values, all of them counted while it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit of a provider, as the provider itself saw it.

    `total` is all that came to it of the limit's metric, `peak` the most within one window of the provider's own exact
    reckoning. `used` is `total` as a share of what the limit would have allowed until the load ended or the last
    call came; `refused` how often the routers' ledger found no room in it; `violations` how many calls came past it.
    """

    label: str
    scope: str
    amount: float
    window: float
    total: float
    peak: float
    used: float
    refused: int
    violations: int


@dataclass(frozen=True, slots=True)
class ProviderUse:
    """What came to a provider, or to one of its models. `cost` is micro-USD; `unpriced` are answers without a price.

    `share` is of all answers. `errors` are counted by the class of the error. `first_turn` and `last_turn` are numbers
    (from 1, in order of arrival) of turns that it answered, 0: none. `probes` are calls that its breaker let out to try
    it; `recovery_calls` the most that came to it after the end of one of its outages before it first answered.
    """

    calls: int = 0
    answers: int = 0
    share: float = 0.0
    errors: Mapping[str, int] = field(default_factory=dict)
    cost: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    first_turn: int = 0
    last_turn: int = 0
    probes: int = 0
    recovery_calls: int = 0
    violations: int = 0
    limits: tuple[LimitUse, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupUse:
    """Turns of one agent, tier or phase: how many, how they ended, and who answered (answers by provider, by model)."""

    turns: int = 0
    answered: int = 0
    in_time: int = 0
    failed: int = 0
    cost: int = 0
    providers: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waits:
    """Turns that had to wait for room or for a probe: how many, how often, and seconds in all and at most."""

    turns: int = 0
    count: int = 0
    total: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds from a turn's arrival to its answer, within a twentieth; 0 where nothing was answered."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of the timeline that begins `at` seconds: what ended in it. `answers` and `errors` are by provider."""

    at: float
    answers: Mapping[str, int]
    errors: Mapping[str, int]
    failed: int
    cost: int


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
    """What a scenario says that it shows, whether it did, and the figure behind it."""

    text: str
    held: bool
    measured: str


@dataclass(frozen=True, slots=True)
class Report:
    """One simulation. Mappings are in the order of the catalog, or of first appearance.

    `answered_in_time` are turns that were answered within their deadline (the policy's `total` where they name none).
    `cost` is micro-USD. `would_cost` is what all answers together would have cost at each candidate alone, at its list
    price; candidates without a known price are left out. `decisions` are the lines of the decision log, whose SHA-256
    is `digest`. `virtual_seconds` runs from the start to the end of the last turn. `least_use` is the least share, over
    all providers with limits, of the limit that bound each of them most.
    """

    scenario: str
    title: str
    seed: int
    turns: int
    answered: int
    answered_in_time: int
    failed: int
    calls: int
    probes: int
    violations: int
    least_use: float
    cost: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    waits: Waits
    durations: Durations
    providers: Mapping[str, ProviderUse]
    models: Mapping[str, ProviderUse]
    agents: Mapping[str, GroupUse]
    tiers: Mapping[str, GroupUse]
    phases: Mapping[str, GroupUse]
    failures: Mapping[str, int]
    """Why turns failed, by the class of the error."""
    would_cost: Mapping[str, int]
    bucket_seconds: float
    timeline: tuple[Bucket, ...]
    claims: tuple[Claim, ...]
    decisions: int
    digest: str
    virtual_seconds: float
    cluster: ClusterUse | None = None

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
