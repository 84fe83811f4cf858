"""Measures what a scenario claims against what was counted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from providers.simulation.report import Claim, Report
from providers.simulation.scenario import Expectation


def measured(report: Report, claims: Sequence[Expectation]) -> Report:
    """Return the report with the claims in it."""
    figures = report.to_json()
    return replace(report, claims=tuple(_measure(figures, claim) for claim in claims))


def missed(report: Report, claims: Sequence[Expectation]) -> float:
    """Return by how much claims do not hold, each as a share of what it claims; 0: all of them do."""
    figures = report.to_json() if claims else {}
    return sum(_missed(_value(figures, claim), claim) for claim in claims)


def _missed(value: float, claim: Expectation) -> float:
    off = [abs(value - claim.exactly)] if claim.exactly is not None else []
    off += [claim.at_least - value] if claim.at_least is not None else []
    off += [value - claim.at_most] if claim.at_most is not None else []
    bounds = [abs(bound) for bound in (claim.exactly, claim.at_least, claim.at_most) if bound]
    return max([0.0, *off]) / max(bounds, default=1.0)


def _value(figures: Mapping[str, Any], claim: Expectation) -> float:
    value = _figure(figures, claim.of)
    if not claim.per:
        return value
    whole = _figure(figures, claim.per)
    return value / whole if whole else 0.0


def _measure(figures: Mapping[str, Any], claim: Expectation) -> Claim:
    value, found = _figure(figures, claim.of), ".".join(map(str, claim.of))
    unit = " micro-USD" if {"cost", "would_cost"} & set(claim.of) and not claim.per else ""
    said = f"{found} is {_number(value)}{unit}"
    if claim.per:
        whole = _figure(figures, claim.per)
        value = _value(figures, claim)
        said += f" of {_number(whole)} ({value * 100:.6g}%)"
    held = (
        (claim.exactly is None or value == claim.exactly)
        and (claim.at_least is None or value >= claim.at_least)
        and (claim.at_most is None or value <= claim.at_most)
    )
    return Claim(claim.text, held, said)


def _figure(figures: Mapping[str, Any], keys: Sequence[str | int]) -> float:
    """Return the number under `keys`; of a list or a mapping, how many it holds; 0 where the keys lead nowhere."""
    found: Any = figures
    for key in keys:
        if isinstance(found, Mapping):
            found = found.get(key)
        elif isinstance(found, list | tuple) and isinstance(key, int) and key < len(found):
            found = found[key]
        else:
            found = None
    if isinstance(found, int | float):
        return float(found)
    return float(len(found)) if isinstance(found, Mapping | list | tuple) else 0.0


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"
