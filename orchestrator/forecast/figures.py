"""What traffic came to, in the figures that are compared: as it was recorded, and as a simulation has it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import mean
from types import MappingProxyType
from typing import Any

from orchestrator.forecast.observed import LIMITED
from orchestrator.forecast.traffic import RecordedCall, RecordedTraffic, RecordedTurn
from providers.simulation import Durations, Report
from providers.simulation.records import step_of
from providers.simulation.report import ProviderUse
from providers.simulation.summary import durations_of

NOTHING_LOST: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Figures:
    """`cost` is micro-USD, `unpriced` answers are not in it. `p50` and `p95` are seconds from a turn's arrival to its
    answer, within a twentieth. `waited` turns held back for room in a limit or for a recovery, `wait_seconds` in all.

    `providers` counts answers by provider, `tiers` and `agents` those of each tier and agent by provider.
    """

    turns: int = 0
    answered: int = 0
    failed: int = 0
    calls: int = 0
    cost: int = 0
    unpriced: int = 0
    p50: float = 0.0
    p95: float = 0.0
    waited: int = 0
    wait_seconds: float = 0.0
    providers: Mapping[str, int] = field(default_factory=dict)
    tiers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    agents: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def failed_share(self) -> float:
        return self.failed / self.turns if self.turns else 0.0

    def share(self, provider: str) -> float:
        """Return the share of all answers that came from a provider."""
        return self.providers.get(provider, 0) / self.answered if self.answered else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with money in USD as other documents have it."""
        plain = asdict(self)
        plain["cost_usd"] = plain.pop("cost") / 1e6
        return plain


def lost_in(calls: Iterable[RecordedCall]) -> dict[str, float]:
    """Return what a failed call of each provider was billed on average, micro-USD; refusals are never billed."""
    failed = [call for call in calls if call.error not in (None, LIMITED)]
    names = dict.fromkeys(call.provider for call in failed)
    return {name: mean(call.lost for call in failed if call.provider == name) for name in names}


def simulated(report: Report, lost: Mapping[str, float] = NOTHING_LOST) -> Figures:
    """Return the figures of a simulation, in which a failed call of a provider is billed as much as `lost` says."""
    return Figures(
        turns=report.turns,
        answered=report.answered,
        failed=report.failed,
        calls=report.calls,
        cost=report.cost + round(sum(_failed(use) * lost.get(name, 0.0) for name, use in report.providers.items())),
        unpriced=report.unpriced,
        **_times(report.durations),
        waited=report.waits.turns,
        wait_seconds=report.waits.total,
        providers={name: use.answers for name, use in report.providers.items() if use.answers},
        tiers={name: group.providers for name, group in report.tiers.items()},
        agents={name: group.providers for name, group in report.agents.items()},
    )


def _failed(use: ProviderUse) -> int:
    return sum(count for error, count in use.errors.items() if error != LIMITED)


def averaged(reports: Sequence[Report]) -> Figures:
    """Return the figures of simulations that differ in their seeds, on average."""
    each = [simulated(report) for report in reports]

    def usual(of: Callable[[Figures], float]) -> int:
        return round(mean(map(of, each)))

    names = dict.fromkeys(name for one in each for name in one.providers)
    return Figures(
        usual(lambda one: one.turns),
        usual(lambda one: one.answered),
        usual(lambda one: one.failed),
        usual(lambda one: one.calls),
        usual(lambda one: one.cost),
        usual(lambda one: one.unpriced),
        mean(one.p50 for one in each),
        mean(one.p95 for one in each),
        usual(lambda one: one.waited),
        mean(one.wait_seconds for one in each),
        {name: usual(lambda one, name=name: one.providers.get(name, 0)) for name in names},  # type: ignore[misc]
    )


def as_recorded(traffic: RecordedTraffic, tier_of: Callable[[RecordedTurn], str]) -> Figures:
    """Return the figures of what really happened. `tier_of` says which tier a turn was for; "" where it was for none.

    The cost is of all that was billed, attempts that brought no answer among them.
    """
    turns = traffic.turns
    durations, providers = Counter[int](), Counter[str]()
    tiers: dict[str, Counter[str]] = {}
    agents: dict[str, Counter[str]] = {}
    answered = unpriced = 0
    for turn in turns:
        call = turn.answered_by
        tier = tier_of(turn)
        groups = [tiers.setdefault(tier, Counter())] if tier else []
        groups += [agents.setdefault(turn.agent, Counter())] if turn.agent else []
        if turn.usage is None:
            continue
        answered += 1
        unpriced += turn.cost is None
        durations[step_of(turn.seconds)] += 1
        if call is not None:
            for group in (providers, *groups):
                group[call.provider] += 1
    slowest = max((turn.seconds for turn in turns if turn.usage is not None), default=0.0)
    return Figures(
        turns=len(turns),
        answered=answered,
        failed=len(turns) - answered,
        calls=sum(len(turn.calls) for turn in turns),
        cost=sum((turn.cost or 0) + turn.lost for turn in turns),
        unpriced=unpriced,
        **_times(durations_of(durations, slowest)),
        waited=sum(turn.waited > 0 for turn in turns),
        wait_seconds=sum(turn.waited for turn in turns),
        providers=dict(providers),
        tiers={name: dict(group) for name, group in tiers.items()},
        agents={name: dict(group) for name, group in agents.items()},
    )


def _times(took: Durations) -> dict[str, float]:
    return {"p50": min(took.p50, took.longest), "p95": min(took.p95, took.longest)}


@dataclass(frozen=True, slots=True)
class ModelError:
    """How far a simulation under the same policy is from what really happened: how honest the model is.

    Shares of the real figure (0.03: 3 % more), None where nothing is known to compare: no price, no answer, or a real
    figure of 0 and a simulated one that is not. `failed` and `moved` are shares of all turns: how many more fail, and
    how many are answered by another provider.
    """

    cost: float | None
    p50: float | None
    p95: float | None
    failed: float
    moved: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def model_error(real: Figures, same: Figures) -> ModelError:
    """Return how far `same`, simulated under the same policy, is from what was `real`."""
    names = {*real.providers, *same.providers}
    is_priced, is_answered = bool(real.cost or not real.unpriced), bool(real.answered and same.answered)
    return ModelError(
        _off(real.cost, same.cost) if is_priced else None,
        _off(real.p50, same.p50) if is_answered else None,
        _off(real.p95, same.p95) if is_answered else None,
        same.failed_share - real.failed_share,
        sum(abs(real.share(name) - same.share(name)) for name in names) / 2,
    )


def _off(real: float, simulated: float) -> float | None:
    if real == simulated:
        return 0.0
    return None if real == 0 else (simulated - real) / real
