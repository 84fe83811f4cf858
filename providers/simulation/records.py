"""Counts what happens in a simulation, writes its decision log, and makes the report of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from math import log as ln
from typing import TYPE_CHECKING, BinaryIO

from providers.catalog import Candidate
from providers.fleet import Fleet, Standing
from providers.messages import Needs, Usage
from providers.policy import Policy
from providers.quota import Refused
from providers.routing import Sleep
from providers.simulation.claims import measured
from providers.simulation.report import Bucket, Durations, GroupUse, LimitUse, ProviderUse, Report, Waits
from providers.simulation.scenario import Load, Scenario
from providers.simulation.vendors import TrueLimit, Vendor

if TYPE_CHECKING:
    from providers.simulation.engine import Turn

BUCKETS = 96
"""Of the timeline: a day's quarters of an hour."""
STEPS = 20
"""Buckets of durations for each factor of e: a twentieth apart."""
LINES = 4096
"""Of the log that are kept before they are written."""


class _Row:
    """What came to one candidate."""

    __slots__ = (
        "answers",
        "calls",
        "candidate",
        "cost",
        "errors",
        "first",
        "input",
        "last",
        "output",
        "probes",
        "unpriced",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.calls = self.answers = self.cost = self.unpriced = self.input = self.output = 0
        self.first = self.last = self.probes = 0
        self.errors: Counter[str] = Counter()


@dataclass(slots=True)
class _Turns:
    """What became of the turns of one load."""

    deadline: float
    count: int = 0
    answered: int = 0
    in_time: int = 0
    cost: int = 0
    by: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Stretch:
    answers: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    cost: int = 0


class Records:
    """Told of everything as it happens."""

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        candidates: Sequence[Candidate],
        load: Sequence[Load],
        seed: int,
        log: BinaryIO | None,
    ) -> None:
        self._scenario, self._load, self._seed, self._log = scenario, load, seed, log
        self._starts = scenario.starts
        self._rows = {candidate.name: _Row(candidate) for candidate in candidates}
        total = policy.timeouts.total
        self._turns = [_Turns(total if each.deadline is None else each.deadline) for each in load]
        self._ends = max((each.begins + each.over for each in load), default=0.0)
        self._width = max(self._ends / BUCKETS, 1.0)
        self._stretches: list[_Stretch] = []
        self._durations: Counter[int] = Counter()
        self._slowest = 0.0
        self._failures: Counter[str] = Counter()
        self._room: Counter[str] = Counter()
        self._waited, self._waits, self._waited_s, self._longest = 0, 0, 0.0, 0.0
        self._orders: dict[tuple[str, ...], int] = {}
        self._lines: list[str] = []
        self._written = 0
        self._hash = hashlib.sha256()
        self._last = scenario.starts

    def called(self, standing: Standing) -> None:
        """A call goes to its provider."""
        row = self._rows[standing.name]
        row.calls += 1
        if standing.breaker.probing:
            row.probes += 1

    def ended(self, turn: Turn, now: float) -> None:
        """A call has come back."""
        effect, error = turn.effect, turn.error
        names = effect.route.names
        order = self._orders.get(names) or self._ordered(names)
        if error is None:
            how = "ok"
        else:
            how = type(error).__name__
            self._rows[names[0]].errors[how] += 1
            self._stretch(now).errors[effect.candidate.provider.name] += 1
        at, took = turn.called - self._starts, now - turn.called
        self._write(f"{at:.6f} r{turn.router.number} t{turn.number} #{effect.number} o{order} {how} {took:.6f}\n")

    def refused(self, turn: Turn, refused: Refused, now: float) -> None:
        """The ledger has found no room for a call."""
        names = turn.effect.route.names
        order = self._orders.get(names) or self._ordered(names)
        self._room[refused.meter.key] += 1
        at, until = now - self._starts, refused.until - self._starts
        self._write(f"{at:.6f} r{turn.router.number} t{turn.number} o{order} refused {until:.6f}\n")

    def slept(self, turn: Turn, effect: Sleep, now: float) -> None:
        """A turn waits."""
        seconds = effect.until - now
        if not turn.slept:
            self._waited += 1
        self._waits += 1
        self._waited_s += seconds
        turn.slept += seconds
        self._longest = max(self._longest, turn.slept)
        at, until = now - self._starts, effect.until - self._starts
        self._write(f"{at:.6f} r{turn.router.number} t{turn.number} hold {until:.6f}\n")

    def answered(self, turn: Turn, now: float) -> None:
        """A turn has its answer: that of its last call."""
        row, turns = self._rows[turn.effect.route.names[0]], self._turns[turn.load]
        usage, price, took = turn.kind.usage, row.candidate.model.price, now - turn.began
        row.answers += 1
        row.input += usage.input
        row.output += usage.output
        if not row.first:
            row.first = turn.number
        row.last = max(row.last, turn.number)
        cost = 0
        if price is None:
            row.unpriced += 1
        elif cost := price.cost(usage):
            row.cost += cost
            turns.cost += cost
        turns.count += 1
        turns.answered += 1
        if took <= turns.deadline:
            turns.in_time += 1
        turns.by[turn.effect.route.names[0]] += 1
        self._durations[int(STEPS * ln(took)) if took > 0 else -1000] += 1
        self._slowest = max(self._slowest, took)
        stretch = self._stretch(now)
        stretch.answers[row.candidate.provider.name] += 1
        stretch.cost += cost
        self._last = now

    def failed(self, turn: Turn, error: Exception, now: float) -> None:
        """A turn has no answer, and will have none."""
        why = type(error).__name__
        self._failures[why] += 1
        self._turns[turn.load].count += 1
        self._stretch(now).failed += 1
        self._last = now
        self._write(f"{now - self._starts:.6f} r{turn.router.number} t{turn.number} {why}\n")

    def _stretch(self, now: float) -> _Stretch:
        at = int((now - self._starts) / self._width)
        while len(self._stretches) <= at:
            self._stretches.append(_Stretch())
        return self._stretches[at]

    def _ordered(self, names: tuple[str, ...]) -> int:
        """Return the number under which the log speaks of an order of candidates; it is told once what it means."""
        number = self._orders[names] = len(self._orders) + 1
        self._write(f"o{number} = {' '.join(names)}\n")
        return number

    def _write(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= LINES:
            self._flush()

    def _flush(self) -> None:
        text = "".join(self._lines).encode()
        self._written += len(self._lines)
        self._lines.clear()
        self._hash.update(text)
        if self._log is not None:
            self._log.write(text)

    def report(
        self, vendors: Mapping[str, Vendor], limits: Mapping[str, tuple[str, TrueLimit, bool]], fleet: Fleet
    ) -> Report:
        """Return what all of it came to, with the claims measured."""
        self._flush()
        answered = sum(turns.answered for turns in self._turns)
        models = {name: self._use([row], answered) for name, row in self._rows.items() if row.calls}
        providers = {name: self._provider(name, vendor, limits, answered) for name, vendor in vendors.items()}
        bound = [max(limit.used for limit in use.limits) for use in providers.values() if use.limits]
        spent = Usage(sum(r.input for r in self._rows.values()), output=sum(r.output for r in self._rows.values()))
        report = Report(
            scenario=self._scenario.name,
            title=self._scenario.title,
            seed=self._seed,
            turns=sum(turns.count for turns in self._turns),
            answered=answered,
            answered_in_time=sum(turns.in_time for turns in self._turns),
            failed=self._failures.total(),
            calls=sum(row.calls for row in self._rows.values()),
            probes=sum(row.probes for row in self._rows.values()),
            violations=sum(use.violations for use in providers.values()),
            least_use=min(bound, default=0.0),
            cost=sum(row.cost for row in self._rows.values()),
            unpriced=sum(row.unpriced for row in self._rows.values()),
            input_tokens=spent.input,
            output_tokens=spent.output,
            waits=Waits(self._waited, self._waits, self._waited_s, self._longest),
            durations=self._quantiles(),
            providers=providers,
            models=models,
            agents=self._groups([each.agent or each.persona or "" for each in self._load]),
            tiers=self._groups([_tier(each, fleet) for each in self._load]),
            phases=self._groups([each.phase for each in self._load]),
            failures=dict(self._failures),
            would_cost={
                name: row.candidate.model.price.cost(spent)
                for name, row in self._rows.items()
                if row.candidate.model.price is not None
            },
            bucket_seconds=self._width,
            timeline=tuple(
                Bucket(at * self._width, dict(each.answers), dict(each.errors), each.failed, each.cost)
                for at, each in enumerate(self._stretches)
            ),
            claims=(),
            decisions=self._written,
            digest=self._hash.hexdigest(),
            virtual_seconds=self._last - self._starts,
        )
        return measured(report, self._scenario.claims)

    def _use(self, rows: Sequence[_Row], answered: int) -> ProviderUse:
        answers = sum(row.answers for row in rows)
        errors: Counter[str] = Counter()
        for row in rows:
            errors.update(row.errors)
        return ProviderUse(
            calls=sum(row.calls for row in rows),
            answers=answers,
            share=answers / answered if answered else 0.0,
            errors=dict(errors),
            cost=sum(row.cost for row in rows),
            unpriced=sum(row.unpriced for row in rows),
            input_tokens=sum(row.input for row in rows),
            output_tokens=sum(row.output for row in rows),
            first_turn=min((row.first for row in rows if row.first), default=0),
            last_turn=max((row.last for row in rows), default=0),
            probes=sum(row.probes for row in rows),
        )

    def _provider(
        self, name: str, vendor: Vendor, limits: Mapping[str, tuple[str, TrueLimit, bool]], answered: int
    ) -> ProviderUse:
        begins = self._starts + min((each.begins for each in self._load), default=0.0)
        ends = max(self._starts + self._ends, begins + 1.0)
        uses = []
        for key, (owner, limit, known) in limits.items():
            if owner == name and known:
                meter = limit.meter
                used = limit.total / limit.allowed(begins, ends)
                uses.append(
                    LimitUse(
                        meter.label,
                        limit.scope,
                        meter.amount,
                        limit.seconds,
                        limit.total,
                        limit.peak,
                        used,
                        self._room[key],
                        limit.violations,
                    )
                )
        use = self._use([row for row in self._rows.values() if row.candidate.provider.name == name], answered)
        return replace(
            use,
            recovery_calls=vendor.recovery_calls,
            violations=sum(each.violations for each in uses),
            limits=tuple(uses),
        )

    def _groups(self, names: Sequence[str]) -> dict[str, GroupUse]:
        """Return the turns of all loads by the name that each of them has; those without one are left out."""
        groups: dict[str, GroupUse] = {}
        for name in dict.fromkeys(filter(None, names)):
            turns = [each for each, own in zip(self._turns, names, strict=True) if own == name]
            by: Counter[str] = Counter()
            providers: Counter[str] = Counter()
            for each in turns:
                by.update(each.by)
            for model, count in by.items():
                providers[self._rows[model].candidate.provider.name] += count
            count, answered = sum(each.count for each in turns), sum(each.answered for each in turns)
            groups[name] = GroupUse(
                turns=count,
                answered=answered,
                in_time=sum(each.in_time for each in turns),
                failed=count - answered,
                cost=sum(each.cost for each in turns),
                providers=dict(providers),
                models=dict(by),
            )
        return groups

    def _quantiles(self) -> Durations:
        total, seen, found = self._durations.total(), 0, dict[float, float]()
        for step in sorted(self._durations):
            seen += self._durations[step]
            for share in (0.5, 0.95, 0.99):
                if share not in found and seen >= share * total:
                    found[share] = 0.0 if step <= -1000 else exp((step + 0.5) / STEPS)
        return Durations(found.get(0.5, 0.0), found.get(0.95, 0.0), found.get(0.99, 0.0), self._slowest)


def _tier(load: Load, fleet: Fleet) -> str:
    """Return the tier that a load's turns are for by policy; nothing where a chain or a pinned model serves them."""
    ranking = fleet.ranking(Needs(agent=load.agent, persona=load.persona, tier=load.tier, model=load.model))
    pools = [(each.name, ranking.pools[each.name]) for each in ranking.standings[:1]]
    return next((pool for name, pool in pools if pool != name), "")
