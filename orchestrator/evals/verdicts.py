"""From single runs to the verdict of a case, and whether a figure is worse than the baseline's. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any, Literal

from orchestrator.evals.checks import Check
from orchestrator.evals.facts import RunFacts

RunOutcome = Literal["passed", "failed", "stale", "error"]
"""Of one run. stale: the recording does not answer what the squad asks now. error: it says nothing of the squad, as no
provider answered or a cap was reached."""
Verdict = Literal["passed", "flaky", "broken", "stale", "error"]
"""Of a case. flaky: some of its runs failed, no more than its pass rate allows."""
FIGURES = ("cost", "tokens", "turns", "time")


@dataclass(frozen=True, slots=True)
class CaseRun:
    """One run of a case. `why` says what an error or a stale recording was."""

    outcome: RunOutcome
    checks: tuple[Check, ...] = ()
    facts: RunFacts | None = None
    why: str = ""
    is_limit: bool = False
    """Whether an error is a cap that was reached."""

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)


def verdict_of(attempts: Sequence[CaseRun], pass_rate: float) -> Verdict:
    """Return the verdict of a case. Runs that ended in an error say nothing of the squad, and do not count."""
    counted = [attempt for attempt in attempts if attempt.outcome != "error"]
    if any(attempt.outcome == "stale" for attempt in counted):
        return "stale"
    if not counted:
        return "error"
    passed = sum(attempt.outcome == "passed" for attempt in counted)
    if passed == len(counted):
        return "passed"
    return "flaky" if passed and passed / len(counted) >= pass_rate - 1e-9 else "broken"


def wilson(passed: int, runs: int, confidence: float) -> tuple[float, float]:
    """Return the interval in which the true pass rate lies, by Wilson's score.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if runs == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, spread = passed / runs, z * z / runs
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / runs + spread / (4 * runs)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a baseline keeps of a case: how many of its runs passed, and the figures of each run."""

    runs: int
    passed: int
    figures: Mapping[str, tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        return {"runs": self.runs, "passed": self.passed, **{name: list(each) for name, each in self.figures.items()}}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Sample:
        figures = {name: tuple(float(one) for one in written.get(name, ())) for name in FIGURES}
        return cls(int(written["runs"]), int(written["passed"]), figures)


def sample_of(attempts: Sequence[CaseRun]) -> Sample:
    """Return what a baseline would keep of these runs."""
    counted = [attempt for attempt in attempts if attempt.outcome in ("passed", "failed")]
    facts = [attempt.facts for attempt in counted if attempt.facts is not None]
    figures = {
        "cost": tuple(one.cost for one in facts if one.cost is not None),
        "tokens": tuple(float(one.tokens) for one in facts),
        "turns": tuple(float(one.turns) for one in facts),
        "time": tuple(one.seconds for one in facts),
    }
    return Sample(len(counted), sum(attempt.outcome == "passed" for attempt in counted), figures)


@dataclass(frozen=True, slots=True)
class Drift:
    """One figure beside its baseline. `fails`: it is worse by more than is allowed, and that is no chance."""

    figure: str
    before: float
    now: float
    fails: bool
    note: str


def drifts(before: Sample, now: Sample, allowed: Mapping[str, float | None], confidence: float) -> list[Drift]:
    """Return each figure for which a change is allowed, beside the baseline's.

    A figure fails only if it is worse by more than `allowed`, and the intervals of both sides do not touch: noise of
    either side trips nothing. Two runs of each side are the least that says anything of the noise.
    """
    found = []
    for name, change in allowed.items():
        if change is None:
            continue
        if name == "pass_rate":
            found.append(_rate(before, now, change, confidence))
        else:
            found.append(_figure(name, before.figures.get(name, ()), now.figures.get(name, ()), change, confidence))
    return found


def _rate(before: Sample, now: Sample, change: float, confidence: float) -> Drift:
    one, other = (side.passed / side.runs if side.runs else 0.0 for side in (before, now))
    low, high = wilson(before.passed, before.runs, confidence)[0], wilson(now.passed, now.runs, confidence)[1]
    is_worse = other < one + change - 1e-9
    is_sure = high < low
    note = "" if not is_worse else "certain" if is_sure else "within the noise of both sides"
    return Drift("pass_rate", one, other, is_worse and is_sure, note)


def _figure(name: str, before: Sequence[float], now: Sequence[float], change: float, confidence: float) -> Drift:
    if not before or not now:
        return Drift(name, 0.0, 0.0, False, "not known on both sides")
    one, other = fmean(before), fmean(now)
    is_worse = other > one * (1 + change) + 1e-12
    if len(before) < 2 or len(now) < 2:
        note = "one run is too few to tell it from noise" if is_worse else ""
        return Drift(name, one, other, False, note)
    # Runs that are equal by chance do not say that there is no noise: the other side's counts for both.
    spread = max(stdev(before), stdev(now))
    is_sure = other - _half(len(now), spread, confidence) > one + _half(len(before), spread, confidence)
    note = "" if not is_worse else "certain" if is_sure else "within the noise of both sides"
    return Drift(name, one, other, is_worse and is_sure, note)


def _half(runs: int, spread: float, confidence: float) -> float:
    """Return half the width of the interval in which the mean lies. Few runs make it wider, by Student's t."""
    return student(runs - 1, 0.5 + confidence / 2) * spread / math.sqrt(runs)


def student(freedom: int, share: float) -> float:
    """Return the quantile of Student's t: the value that a `share` above one half of its distribution lies below.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4, solved by bisection.
    """
    low, high = 0.0, 1.0
    while _within(high, freedom) < 2 * share - 1 and high < 1e9:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * share - 1 else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """Return the share of Student's distribution that lies between -t and t."""
    angle = math.atan2(t, math.sqrt(freedom))
    term, total = (math.cos(angle), 0.0) if freedom % 2 else (1.0, 0.0)
    for k in range(2 if freedom % 2 else 1, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * k / (k + 1)
    if freedom % 2:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
