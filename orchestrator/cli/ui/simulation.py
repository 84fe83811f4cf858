"""What a simulation came to, as text: one of them, or two side by side. Plain ASCII beside the names of others."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from orchestrator.cli.ui.cluster import render_cluster
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.console import count
from orchestrator.cli.ui.figures import duration, usd
from orchestrator.forecast.scenario import Forecast
from providers.documents.unicode import printable
from providers.simulation import GroupUse, Report, Scenario

WIDTH = 100
Cells = tuple[str, ...]


class Case(NamedTuple):
    """One simulation: a scenario under one policy, and the squad's forecast that it was made of, if any."""

    policy: str
    scenario: Scenario
    forecast: Forecast | None = None


def render(case: Case, report: Report) -> str:
    """Return the whole report of one simulation."""
    part = "PHASE" if case.forecast is None else "TASK"
    asked = _table(("PROVIDER", "CALLS", "ANSWERS", "SHARE", "TOKENS IN", "OUT", "COST", "ERRORS"), _providers(report))
    parts = [
        _head(case),
        _table(("CLAIM", "HELD", "MEASURED"), _claims(report)),
        "\n".join(filter(None, (asked, _idle(report)))),
        _table(("LIMIT", "ALLOWED", "PEAK", "USED", "HELD BACK", "BROKEN"), _limits(report)),
        _table(("AGENT", "TURNS", "FAILED", "COST", "WHO ANSWERED"), _groups(report.agents)),
        _table((part, "TURNS", "FAILED", "COST", "WHO ANSWERED"), _groups(report.phases)),
        _alone(case, report),
        "" if report.cluster is None else render_cluster(report.cluster),
        columns(list(_totals(report, case.forecast))),
    ]
    return printable("\n\n".join(filter(None, parts)))


def render_compared(cases: Sequence[Case], reports: Sequence[Report]) -> str:
    """Return two simulations side by side, and what moved from the first to the second."""
    first, second = reports
    rows = [*_claims_compared(first, second), *_figures_compared(first, second)]
    head = ("", *(case.policy for case in cases), "MOVED")
    seals = [(f"decision log, seed {first.seed}", first.digest[:16], second.digest[:16], "")]
    return printable(f"{_head(cases[0])}\n\n{columns([head, *rows, *seals])}")


def _head(case: Case) -> str:
    scenario, forecast = case.scenario, case.forecast
    lines = [f"{scenario.name}: {scenario.title}" if scenario.title != scenario.name else scenario.name]
    lines += textwrap.wrap(" ".join(scenario.about.split()), WIDTH)
    if forecast is not None:
        turns = len(forecast.outlook.turns)
        lines.append(f"\n{count(forecast.runs, 'run')} of {count(turns, 'turn')}, {forecast.per_hour:g} an hour.")
        lines.append("Assumed; --assume NAME=N changes what has a name:")
        for text in forecast.assumptions:
            lines += textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines)


def _table(head: Cells, rows: Sequence[Cells]) -> str:
    return columns([head, *rows]) if rows else ""


def _claims(report: Report) -> list[Cells]:
    return [(claim.text, "yes" if claim.held else "NO", claim.measured) for claim in report.claims]


def _providers(report: Report) -> list[Cells]:
    return [
        (
            name,
            f"{use.calls:,}",
            f"{use.answers:,}",
            f"{use.share:.1%}",
            f"{use.input_tokens:,}",
            f"{use.output_tokens:,}",
            as_money(use.cost) if not use.unpriced else f"{as_money(use.cost)} + unknown" if use.cost else "unknown",
            _counts(use.errors) or "-",
        )
        for name, use in report.providers.items()
        if use.calls
    ]


def _idle(report: Report) -> str:
    names = [name for name, use in report.providers.items() if not use.calls]
    return f"not asked: {', '.join(names)}" if names else ""


def _limits(report: Report) -> list[Cells]:
    return [
        (
            f"{name if limit.scope == '*' else f'{name}/{limit.scope}'}: {limit.label}",
            _amount(limit.amount),
            _amount(limit.peak),
            f"{limit.used:.1%}",
            f"{limit.refused:,}",
            f"{limit.violations:,}",
        )
        for name, use in report.providers.items()
        for limit in use.limits
        if limit.total or limit.refused
    ]


def _groups(groups: Mapping[str, GroupUse]) -> list[Cells]:
    return [
        (name, f"{group.turns:,}", f"{group.failed:,}", as_money(group.cost), _counts(group.providers) or "none")
        for name, group in groups.items()
        if name
    ]


def _alone(case: Case, report: Report) -> str:
    """Return what one model alone would have cost, where the scenario is about that."""
    if not any(claim.of[0] == "would_cost" for claim in case.scenario.claims):
        return ""
    ranked = sorted(report.would_cost.items(), key=lambda item: item[1])
    return _table(("ALL ANSWERS BY ONE MODEL ALONE", "COST"), [(name, as_money(cost)) for name, cost in ranked])


def _totals(report: Report, forecast: Forecast | None) -> Iterator[Cells]:
    late, took, waits = report.answered - report.answered_in_time, report.durations, report.waits
    ended = f"{report.answered_in_time:,} answered in time, {late:,} late, {report.failed:,} failed"
    yield "turns", f"{report.turns:,}: {ended}" + (f" ({_counts(report.failures)})" if report.failures else "")
    if waits.turns:
        yield "waits", f"{waits.turns:,} turns waited {duration(waits.longest)} at most, {duration(waits.total)} in all"
    shares = (("half", took.p50), ("95%", took.p95), ("99%", took.p99))
    within = ", ".join(f"{share} within {duration(min(value, took.longest))}" for share, value in shares)
    yield "time", f"{within}, the longest {duration(took.longest)}"
    each = f", {as_money(report.cost / forecast.runs)} a run" if forecast is not None else ""
    tokens = f"{report.input_tokens:,} tokens in, {report.output_tokens:,} out"
    unknown = f" and {count(report.unpriced, 'answer')} of unknown price" if report.unpriced else ""
    yield "cost", f"{as_money(report.cost)}{each}{unknown}; {tokens}"
    yield "calls", f"{report.calls:,}, of them {report.probes:,} probes; {report.violations:,} past a limit"
    yield "clock", f"{duration(report.virtual_seconds)} simulated"
    yield "again", f"seed {report.seed}; decision log of {report.decisions:,} lines, SHA-256 {report.digest}"


def _claims_compared(first: Report, second: Report) -> Iterator[Cells]:
    for one, other in zip(first.claims, second.claims, strict=True):
        moved = "" if one.held == other.held else "holds now" if other.held else "no longer holds"
        yield one.text, *(f"{'yes' if claim.held else 'NO'} ({claim.measured})" for claim in (one, other)), moved


class Measure(NamedTuple):
    """A figure that is compared: its value, how it is written, and how a change of it is."""

    value: float
    written: Callable[[float], str]
    change: Callable[[float], str] | None = None

    def moved_to(self, other: float) -> str:
        """Return by how much it moves from here to `other`; nothing where both are written alike."""
        if self.written(self.value) == self.written(other):
            return ""
        return ("+" if other > self.value else "-") + (self.change or self.written)(abs(other - self.value))


def _figures_compared(first: Report, second: Report) -> Iterator[Cells]:
    ones, others = dict(_figures(first)), dict(_figures(second))
    for name in dict.fromkeys([*ones, *others]):
        one, other = (figures.get(name, Measure(0.0, as_whole)) for figures in (ones, others))
        known = ones.get(name, other)
        yield (
            name,
            known.written(one.value),
            known.written(other.value),
            known._replace(value=one.value).moved_to(other.value),
        )


def _figures(report: Report) -> Iterator[tuple[str, Measure]]:
    took = report.durations
    yield "turns answered in time", Measure(report.answered_in_time, as_whole)
    yield "late", Measure(report.answered - report.answered_in_time, as_whole)
    yield "failed", Measure(report.failed, as_whole)
    yield "waited", Measure(report.waits.turns, as_whole)
    yield "95% within", Measure(min(took.p95, took.longest), duration)
    yield "longest", Measure(took.longest, duration)
    yield "calls", Measure(report.calls, as_whole)
    yield "cost", Measure(report.cost, as_money)
    if report.cluster is not None:
        yield "turns an hour on the cluster", Measure(report.cluster.reached, as_whole)
    for name, use in report.providers.items():
        if use.calls:
            yield (
                f"{name}: share of answers",
                Measure(use.share, as_share, lambda points: f"{points * 100:.1f} points"),
            )
            yield f"{name}: cost", Measure(use.cost, as_money)


def _amount(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:,.4g}"


def as_share(share: float) -> str:
    return f"{share:.1%}"


def as_whole(number: float) -> str:
    return f"{number:,.0f}"


def as_money(micro_usd: float) -> str:
    return usd(micro_usd / 1e6)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items() if number)
