"""Searches for a better policy by simulating: one that holds its claims, fails less, costs less, answers sooner. Pure.

Every policy that is tried is a file, made by `policy_edit` out of the one that is tuned and read as any other, so what
was measured is what the file says. All are tried on the same seeds (common random numbers). One change at a time is
kept as long as it betters something, large steps before small ones; the end is compared on seeds that were not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean

from orchestrator.forecast.moves import Knob, MoveMaker, Moves
from orchestrator.forecast.policy_edit import CannotEdit, Changes, edited
from providers.catalog.model import Limit
from providers.documents.problems import Path, ProblemsFound
from providers.simulation import Report, Scenario, simulate
from providers.simulation.claims import missed
from providers.simulation.present import present

HELD_OUT = 1000
"""How far the seeds of the comparison are from those of the search."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a policy comes to, on average over seeds. `missed` is by how much claims do not hold, 0: all do. `late` is
    the share of turns without an answer in time, `cost` micro-USD, `p95` seconds."""

    missed: float
    late: float
    cost: float
    p95: float

    def is_better(self, other: Score) -> bool:
        """Return whether it is better in the first thing in which they really differ."""
        if abs(self.missed - other.missed) > 1e-9:
            return self.missed < other.missed
        if abs(self.late - other.late) > 0.0005:
            return self.late < other.late
        if abs(self.cost - other.cost) > 0.005 * max(self.cost, other.cost):
            return self.cost < other.cost
        return self.p95 < 0.97 * other.p95


def score_of(reports: Sequence[Report], expected: Callable[[Report], float]) -> Score:
    """Return the score of a policy's reports; `expected` says by how much the claims of one do not hold."""
    return Score(
        mean(expected(report) for report in reports),
        mean(1 - report.answered_in_time / report.turns if report.turns else 0.0 for report in reports),
        mean(report.cost for report in reports),
        mean(min(report.durations.p95, report.durations.longest) for report in reports),
    )


@dataclass(frozen=True, slots=True)
class Tuned:
    """`text` is the better file; None: nothing better was found. The reports are on seeds that the search did not see.

    `tried` policies were simulated, `runs` simulations in all. `overfit`: the best of the search was no better there.
    """

    text: str | None
    before: tuple[Report, ...]
    after: tuple[Report, ...]
    tried: int
    runs: int
    overfit: bool = False
    stopped: bool = False
    """Whether the search ended because its budget was used up, with more to try."""


@dataclass(slots=True)
class Search:
    """One search. `text` is the file, `root` where in it the policy stands; `build` makes a scenario of a text, and
    raises `ProblemsFound` or `ValueError` for one that is none. `budget` simulations are made at most."""

    text: str
    root: Path
    build: Callable[[str], Scenario]
    knob: Knob
    seed: int
    budget: int
    seeds: int = 2
    held_out: int = 3
    claims: Callable[[Report], float] | None = None
    may_go_on: Callable[[], bool] = lambda: True
    _runs: int = 0
    _stopped: bool = False
    _tried: dict[str, Score | None] = field(default_factory=dict)

    def run(self) -> Tuned:
        """Return what was found. Raise `NothingToTune`."""
        base = self.build(self.text)
        reports = self._reports(self.text, base, self._seen)
        assert reports is not None, "the file itself is sound"
        found, best = self.text, score_of(reports, self._missed(base))
        self._tried[found] = best
        moves = Moves(self.root, [tier for tier in reports[0].tiers if tier in base.policy.tiers])
        for step in moves.steps(self.knob, found, base):
            better: tuple[str, Score] | None = (found, best)
            while better is not None:
                found, best = better
                better = self._better(step, found, best, base)
        return self._compared(found, base)

    def _better(self, step: MoveMaker, found: str, best: Score, base: Scenario) -> tuple[str, Score] | None:
        """Return the first file that is better than the best one so far; None: none is, or the budget is used up."""
        for changes in step(found, self.build(found)):
            if not self._has_room():
                self._stopped = True
                return None
            text = self._changed(found, changes)
            if text is None or text in self._tried:
                continue
            reports = self._reports(text, base, self._seen)
            score = self._tried[text] = None if reports is None else score_of(reports, self._missed(base))
            if score is not None and score.is_better(best):
                return text, score
        return None

    @property
    def _seen(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def _has_room(self) -> bool:
        return self._runs + self.seeds + 2 * self.held_out <= self.budget and self.may_go_on()

    def _changed(self, found: str, changes: Changes) -> str | None:
        try:
            return edited(found, {(*self.root, *path): value for path, value in changes.items()})
        except CannotEdit:
            return None

    def _missed(self, base: Scenario) -> Callable[[Report], float]:
        return self.claims or (lambda report: missed(report, base.claims))

    def _reports(self, text: str, base: Scenario, seeds: range) -> tuple[Report, ...] | None:
        """Return what a file comes to; None: it is not sound, as one that a change made may be."""
        try:
            scenario = base if text == self.text else _under_true_limits(self.build(text), base)
        except (ProblemsFound, ValueError):
            return None
        self._runs += len(seeds)
        return tuple([simulate(scenario, seed=seed) for seed in seeds])

    def _compared(self, found: str, base: Scenario) -> Tuned:
        seeds = range(self.seed + HELD_OUT, self.seed + HELD_OUT + self.held_out)
        before = self._reports(self.text, base, seeds)
        after = before if found == self.text else self._reports(found, base, seeds)
        assert before is not None, "both were simulated before"
        assert after is not None, "both were simulated before"
        of = self._missed(base)
        better = found != self.text and score_of(after, of).is_better(score_of(before, of))
        overfit = found != self.text and not better
        return Tuned(found if better else None, before, after, len(self._tried) - 1, self._runs, overfit, self._stopped)


def _under_true_limits(scenario: Scenario, base: Scenario) -> Scenario:
    """Return the scenario with providers that keep to the limits of the file that is tuned: what another file states
    changes what is asked of them, not what they allow."""
    stated = {name: row.limits for name, row in base.catalog.providers.items()}
    changed = {
        name: replace(
            each, hidden=_tightest([*each.hidden, *(kept for kept in stated.get(name, ()) if kept not in own)])
        )
        for name, each in present(scenario, scenario.catalog).items()
        if (own := scenario.catalog.providers[name].limits) != stated.get(name, ())
    }
    return replace(scenario, providers={**scenario.providers, **changed}) if changed else scenario


def _tightest(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return of limits that count the same in the same window the one that allows least."""
    found: dict[object, Limit] = {}
    for limit in sorted(limits, key=lambda limit: limit.amount):
        found.setdefault((limit.metric, limit.window, limit.model, limit.pool), limit)
    return tuple(found.values())
