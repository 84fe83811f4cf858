"""From the records of a simulation to its report. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import exp

from providers.messages import Needs, Usage
from providers.routing.fleet import Fleet
from providers.simulation.claims import measured
from providers.simulation.modelled import ModelledProvider
from providers.simulation.records import AT_ONCE, STEPS, Calls, Records, Stretch, Tab
from providers.simulation.report import Bucket, Durations, GroupUse, LimitUse, ProviderUse, Report, Waits
from providers.simulation.scenario import Load
from providers.simulation.true_limit import TrueLimit

Limits = Mapping[str, tuple[str, TrueLimit, bool]]
"""By the key of the meter: whose limit it is, and whether the routers know of it."""


def summary(records: Records, modelled: Mapping[str, ModelledProvider], limits: Limits, fleet: Fleet) -> Report:
    """Return what all of it came to, with the claims measured. `fleet` knows which tier the policy meant a load for."""
    digest, tabs = records.digest(), records.tabs.values()
    answered, failed = sum(tab.answers for tab in tabs), records.failures.total()
    providers = {name: _provider(name, each, records, limits, answered) for name, each in modelled.items()}
    whole = _use(records.calls.values(), tabs, answered)
    bound = [max(limit.used for limit in use.limits) for use in providers.values() if use.limits]
    report = Report(
        scenario=records.scenario.name,
        title=records.scenario.title,
        seed=records.seed,
        turns=answered + failed,
        answered=answered,
        answered_in_time=sum(ends.in_time for ends in records.ends),
        failed=failed,
        calls=whole.calls,
        probes=whole.probes,
        violations=sum(use.violations for use in providers.values()),
        least_use=min(bound, default=0.0),
        cost=whole.cost,
        unpriced=whole.unpriced,
        input_tokens=whole.input_tokens,
        output_tokens=whole.output_tokens,
        waits=Waits(records.waited, records.waits, records.waited_s, records.longest),
        durations=durations_of(records.durations, records.slowest),
        providers=providers,
        models={
            name: _use([calls], [tab for tab in tabs if tab.candidate.name == name], answered)
            for name, calls in records.calls.items()
            if calls.calls
        },
        agents=_groups(records, [each.agent or each.persona or "" for each in records.load]),
        tiers=_groups(records, [tier_of(_needs(each), fleet) for each in records.load]),
        phases=_groups(records, [each.phase for each in records.load]),
        failures=dict(records.failures),
        would_cost=_would_cost(records.calls, Usage(whole.input_tokens, output=whole.output_tokens)),
        bucket_seconds=records.width,
        timeline=tuple(_bucket(at * records.width, each) for at, each in enumerate(records.stretches)),
        claims=(),
        decisions=records.written,
        digest=digest,
        virtual_seconds=records.ended_at - records.starts,
    )
    return measured(report, records.scenario.claims)


def _use(calls: Iterable[Calls], tabs: Collection[Tab], answered: int) -> ProviderUse:
    calls, answers = list(calls), sum(tab.answers for tab in tabs)
    errors: Counter[str] = Counter()
    for each in calls:
        errors.update(each.errors)
    return ProviderUse(
        calls=sum(each.calls for each in calls),
        answers=answers,
        share=answers / answered if answered else 0.0,
        errors=dict(errors),
        cost=sum(tab.answers * (tab.cost or 0) for tab in tabs),
        unpriced=sum(tab.answers for tab in tabs if tab.cost is None),
        input_tokens=sum(tab.answers * tab.input for tab in tabs),
        output_tokens=sum(tab.answers * tab.output for tab in tabs),
        first_turn=min((tab.first for tab in tabs), default=0),
        last_turn=max((tab.last for tab in tabs), default=0),
        probes=sum(each.probes for each in calls),
    )


def _provider(name: str, provider: ModelledProvider, records: Records, limits: Limits, answered: int) -> ProviderUse:
    begins = records.starts + min((each.begins for each in records.load), default=0.0)
    ends = max(records.starts + records.lasts, begins + 1.0)
    uses = [
        LimitUse(
            label=limit.meter.label,
            scope=limit.scope,
            amount=limit.meter.amount,
            window=limit.seconds,
            total=limit.total,
            peak=limit.peak,
            used=limit.total / limit.allowed(begins, ends),
            refused=records.refusals[key],
            violations=limit.violations,
        )
        for key, (owner, limit, known) in limits.items()
        if owner == name and known
    ]
    calls = [each for each in records.calls.values() if each.candidate.provider.name == name]
    tabs = [tab for tab in records.tabs.values() if tab.candidate.provider.name == name]
    return replace(
        _use(calls, tabs, answered),
        recovery_calls=provider.recovery_calls,
        violations=sum(use.violations for use in uses),
        limits=tuple(uses),
    )


def _groups(records: Records, names: Sequence[str]) -> dict[str, GroupUse]:
    """Return the turns of all loads by the name that each of them has; those without one are left out."""
    groups: dict[str, GroupUse] = {}
    for name in dict.fromkeys(filter(None, names)):
        tabs = [tab for tab in records.tabs.values() if names[tab.load] == name]
        ends = [each for each, own in zip(records.ends, names, strict=True) if own == name]
        models, providers = Counter[str](), Counter[str]()
        for tab in tabs:
            models[tab.candidate.name] += tab.answers
            providers[tab.candidate.provider.name] += tab.answers
        answered, failed = models.total(), sum(each.failed for each in ends)
        groups[name] = GroupUse(
            turns=answered + failed,
            answered=answered,
            in_time=sum(each.in_time for each in ends),
            failed=failed,
            cost=sum(tab.answers * (tab.cost or 0) for tab in tabs),
            providers=dict(providers),
            models=dict(models),
        )
    return groups


def _needs(load: Load) -> Needs:
    return Needs(load.agent, load.persona, load.tier, load.model, chain=load.chain)


def tier_of(needs: Needs, fleet: Fleet) -> str:
    """Return the tier that turns are for by policy; nothing where a chain or a pinned model serves them."""
    ranking = fleet.ranking(needs)
    pools = [(each.name, ranking.pools[each.name]) for each in ranking.states[:1]]
    return next((pool for name, pool in pools if pool != name), "")


def _would_cost(calls: Mapping[str, Calls], spent: Usage) -> dict[str, int]:
    prices = {name: each.candidate.model.price for name, each in calls.items()}
    return {name: price.cost(spent) for name, price in prices.items() if price is not None}


def _bucket(at: float, stretch: Stretch) -> Bucket:
    answers: Counter[str] = Counter()
    for tab, count in stretch.answers.items():
        answers[tab.candidate.provider.name] += count
    cost = sum(count * (tab.cost or 0) for tab, count in stretch.answers.items())
    return Bucket(at, dict(answers), dict(stretch.errors), stretch.failed, cost)


def durations_of(counted: Counter[int], slowest: float) -> Durations:
    """Return what durations come to that were counted by their `step_of`."""
    total, seen, found = counted.total(), 0, dict[float, float]()
    for step in sorted(counted):
        seen += counted[step]
        for share in (0.5, 0.95, 0.99):
            if share not in found and seen >= share * total:
                found[share] = 0.0 if step == AT_ONCE else exp((step + 0.5) / STEPS)
    return Durations(found.get(0.5, 0.0), found.get(0.95, 0.0), found.get(0.99, 0.0), slowest)
