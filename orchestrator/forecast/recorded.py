"""Recorded traffic as a scenario, so that any policy may be tried on it; what is only assumed is said. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import median

from orchestrator.forecast.observed import behaviour_of
from orchestrator.forecast.traffic import RecordedCall, RecordedTraffic, RecordedTurn
from providers.catalog.model import Catalog
from providers.messages import Needs, Usage
from providers.policy.model import Policy
from providers.simulation import Behaviour, Latency, Load, Scenario

STEPS = 10
"""Sizes of turns for each factor of e: turns that differ by less are alike, and each has the mean of their tokens."""
UNKNOWN = Usage(600, output=200)
"""What a turn is taken to come to of which nothing is known, nor of any other one."""
TOLD = 5
"""Names that are listed."""


@dataclass(frozen=True, slots=True)
class ObservedProviders:
    """What recorded calls tell of providers: how each behaved, and what nobody could see and is assumed."""

    providers: Mapping[str, Behaviour]
    assumptions: tuple[str, ...]


def observed_in(traffic: RecordedTraffic, catalog: Catalog, configured: Collection[str]) -> ObservedProviders:
    """Return how providers behaved: those that were asked, and of the `configured` ones those that nobody asked."""
    calls, starts = calls_of(traffic), starts_of(traffic)
    asked = {name: own for name, own in calls.items() if name in catalog.providers}
    found = {name: behaviour_of(own, starts) for name, own in asked.items()}
    unasked = [name for name in configured if name in catalog.providers and name not in found]
    found |= dict.fromkeys(unasked, Behaviour())
    gone = {call.name for own in calls.values() for call in own if catalog.find(call.name) is None}
    limited = [
        f"{name}/{limit.model} about {limit.amount:,.0f}" for name, each in found.items() for limit in each.hidden
    ]
    has_failures = any(turn.usage is None for turn in traffic.turns)
    return ObservedProviders(found, tuple(_assumptions(unasked, gone, limited, has_failures=has_failures)))


def scenario_of(
    traffic: RecordedTraffic, policy: Policy, catalog: Catalog, observed: ObservedProviders, seed: int = 1
) -> Scenario:
    """Return the traffic as the load of a scenario under this policy."""
    return Scenario(
        name="recorded",
        title="recorded traffic",
        about="",
        policy=policy,
        catalog=catalog,
        providers=observed.providers,
        load=tuple(_loads(traffic)),
        starts=starts_of(traffic),
        seed=seed,
    )


def starts_of(traffic: RecordedTraffic) -> float:
    """Return when the first turn arrived; epoch seconds."""
    return traffic.turns[0].at if traffic.turns else 0.0


def calls_of(traffic: RecordedTraffic) -> dict[str, list[RecordedCall]]:
    """Return the calls of each provider, oldest first."""
    found: dict[str, list[RecordedCall]] = {}
    for call in sorted((call for turn in traffic.turns for call in turn.calls), key=lambda call: call.began):
        found.setdefault(call.provider, []).append(call)
    return found


def _loads(traffic: RecordedTraffic) -> Iterable[Load]:
    """Yield a load for all turns that ask for the same and are about as large."""
    starts, usual = starts_of(traffic), _usual(traffic.turns)
    over = traffic.turns[-1].at - starts if traffic.turns else 0.0
    groups: dict[tuple[Needs, int, int], list[tuple[float, Usage]]] = {}
    for turn in traffic.turns:
        usage = turn.usage or usual.get(turn.agent) or usual.get("") or UNKNOWN
        key = (traffic.needs_of(turn), _step(_read(usage)), _step(usage.output + usage.reasoning))
        groups.setdefault(key, []).append((turn.at - starts, usage))
    for (needs, read, _), turns in groups.items():
        usage = _mean([usage for _, usage in turns])
        yield Load(
            count=len(turns),
            over=over,
            agent=needs.agent,
            persona=needs.persona,
            tier=needs.tier,
            model=needs.model,
            chain=needs.chain,
            capabilities=needs.capabilities,
            input_tokens=round(exp((read + 0.5) / STEPS)),
            output_tokens=max(1, usage.output + usage.reasoning),
            max_output_tokens=None,
            instants=tuple(at for at, _ in turns),
            usage=usage,
        )


def _usual(turns: Sequence[RecordedTurn]) -> dict[str, Usage]:
    """Return what a turn of each agent usually comes to, by "" one of any: a failed turn tells nothing of its size."""
    known: dict[str, list[Usage]] = {}
    for turn in turns:
        if turn.usage is not None:
            known.setdefault(turn.agent, []).append(turn.usage)
            known.setdefault("", []).append(turn.usage)
    return {
        agent: Usage(round(median(map(_read, own))), output=round(median(each.output + each.reasoning for each in own)))
        for agent, own in known.items()
    }


def _read(usage: Usage) -> int:
    return usage.input + usage.cache_read + usage.cache_write


def _step(tokens: int) -> int:
    return int(STEPS * log(max(tokens, 1)))


def _mean(usages: Sequence[Usage]) -> Usage:
    whole, count = sum(usages, Usage()), len(usages)
    fields = (whole.input, whole.cache_read, whole.cache_write, whole.output, whole.reasoning)
    return Usage(*(round(field / count) for field in fields))


def _assumptions(
    unasked: Sequence[str], gone: Collection[str], limited: Sequence[str], *, has_failures: bool
) -> Iterable[str]:
    yield (
        "turns arrive when they were recorded to: one that waits delays no later one, and one that failed and was made "
        "again comes again"
    )
    yield "what a model read from its cache is read from the cache of whichever model answers"
    if has_failures:
        yield "a turn that failed tells nothing of its size: it is as large as its agent's usual ones"
    if limited:
        yield f"requests that are answered within a minute, as refusals show: {_listed(limited)}"
    if unasked:
        usual = Latency()
        yield (
            f"never asked, and taken to answer in {usual.first_token:g} s and {usual.per_token * 1000:g} ms a token, "
            f"without errors: {_listed(unasked)}"
        )
    if gone:
        yield f"asked then, but no longer in the catalog, so it is not asked: {_listed(sorted(gone))}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more
