"""Counts what happens in a simulation, and writes its decision log. `summary.py` makes the report of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from math import log as ln
from typing import BinaryIO

from providers.catalog.model import Candidate
from providers.limits.reserve import NoRoom
from providers.policy.model import Policy
from providers.routing.candidate_state import CandidateState
from providers.routing.effects import Sleep
from providers.simulation.scenario import Load, Scenario
from providers.simulation.turns import ModelledAttempt, ModelledTurn

BUCKETS = 96
"""Of the timeline, at most: a day's quarters of an hour."""
WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
"""Seconds of a bucket that people count in; beyond them whole days."""
STEPS = 20
"""Buckets of durations for each factor of e: a twentieth apart."""
AT_ONCE = -1000
"""The bucket of answers that took no time."""
LINES = 4096
"""Of the log that are kept before they are written."""


class Tab:
    """Answers of one candidate to turns of one kind: each of them has the same tokens and the same price."""

    __slots__ = ("answers", "candidate", "cost", "first", "input", "last", "load", "output")

    def __init__(self, candidate: Candidate, turn: ModelledTurn) -> None:
        usage, price = turn.kind.usage, candidate.model.price
        self.candidate, self.load = candidate, turn.load
        self.input = usage.input + usage.cache_read + usage.cache_write
        self.output = usage.output + usage.reasoning
        self.cost = None if price is None else price.cost(usage)
        """Micro-USD of each; None: not known."""
        self.answers = 0
        self.first = self.last = turn.number


class Calls:
    """What went to one candidate."""

    __slots__ = ("calls", "candidate", "errors", "probes")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.calls = self.probes = 0
        self.errors: Counter[str] = Counter()


@dataclass(slots=True)
class Ends:
    """How the turns of one load ended; answers are on the tabs."""

    deadline: float
    in_time: int = 0
    failed: int = 0


@dataclass(slots=True)
class Stretch:
    """What ended in a part of the timeline."""

    answers: dict[Tab, int] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    failed: int = 0


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
        self.scenario, self.load, self.seed, self._log = scenario, load, seed, log
        self.starts = self.ended_at = scenario.starts
        self.calls = {candidate.name: Calls(candidate) for candidate in candidates}
        self.tabs: dict[tuple[str, int], Tab] = {}
        total = policy.timeouts.total
        self.ends = [Ends(total if each.deadline is None else each.deadline) for each in load]
        self.lasts = max((each.begins + each.over for each in load), default=0.0)
        """Seconds from the start to the end of the load."""
        self.width = _round(self.lasts / BUCKETS)
        self.stretches: list[Stretch] = []
        self.durations: Counter[int] = Counter()
        self.slowest = 0.0
        self.failures: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        """By the key of the meter that left no room."""
        self.waited, self.waits, self.waited_s, self.longest = 0, 0, 0.0, 0.0
        self.written = 0
        self._orders: dict[tuple[str, ...], int] = {}
        self._lines: list[str] = []
        self._hash = hashlib.sha256()

    def called(self, state: CandidateState) -> None:
        """A call goes to its provider."""
        calls = self.calls[state.name]
        calls.calls += 1
        if state.breaker.probing:
            calls.probes += 1

    def ended(self, attempt: ModelledAttempt, now: float) -> None:
        """A call has come back."""
        effect, error = attempt.effect, attempt.error
        names = effect.route.names
        order = self._orders.get(names) or self._ordered(names)
        if error is None:
            how = "ok"
        else:
            how = type(error).__name__
            self.calls[names[0]].errors[how] += 1
            self._stretch(now).errors[effect.candidate.provider.name] += 1
        self._tell(attempt, order, how, now)

    def dropped(self, attempt: ModelledAttempt, now: float) -> None:
        """A call is given up, for another one has answered."""
        names = attempt.effect.route.names
        self._tell(attempt, self._orders.get(names) or self._ordered(names), "dropped", now)

    def _tell(self, attempt: ModelledAttempt, order: int, how: str, now: float) -> None:
        turn, called = attempt.turn, attempt.called or now
        at, took = called - self.starts, now - called
        self._write(f"{at:.6f} r{turn.router.number} t{turn.number} #{attempt.number} o{order} {how} {took:.6f}\n")

    def refused(self, attempt: ModelledAttempt, refused: NoRoom, now: float) -> None:
        """The ledger has found no room for a call."""
        turn, names = attempt.turn, attempt.effect.route.names
        order = self._orders.get(names) or self._ordered(names)
        self.refusals[refused.meter.key] += 1
        at, until = now - self.starts, refused.until - self.starts
        self._write(f"{at:.6f} r{turn.router.number} t{turn.number} o{order} refused {until:.6f}\n")

    def slept(self, turn: ModelledTurn, effect: Sleep, now: float) -> None:
        """A turn waits."""
        seconds = effect.until - now
        if not turn.slept:
            self.waited += 1
        self.waits += 1
        self.waited_s += seconds
        turn.slept += seconds
        self.longest = max(self.longest, turn.slept)
        at, until = now - self.starts, effect.until - self.starts
        self._write(f"{at:.6f} r{turn.router.number} t{turn.number} hold {until:.6f}\n")

    def answered(self, attempt: ModelledAttempt, now: float) -> None:
        """A turn has its answer, by this attempt."""
        turn = attempt.turn
        took, key = now - turn.began, (attempt.name, turn.kind.number)
        tab = self.tabs.get(key)
        if tab is None:
            tab = self.tabs[key] = Tab(attempt.effect.candidate, turn)
        tab.answers += 1
        if turn.number > tab.last:
            tab.last = turn.number
        elif turn.number < tab.first:
            tab.first = turn.number
        ends = self.ends[turn.load]
        if took <= ends.deadline:
            ends.in_time += 1
        if took > self.slowest:
            self.slowest = took
        self.durations[step_of(took)] += 1
        answers = self._stretch(now).answers
        answers[tab] = answers.get(tab, 0) + 1
        self.ended_at = now

    def failed(self, turn: ModelledTurn, error: Exception, now: float) -> None:
        """A turn has no answer, and will have none."""
        why = type(error).__name__
        self.failures[why] += 1
        self.ends[turn.load].failed += 1
        self._stretch(now).failed += 1
        self.ended_at = now
        self._write(f"{now - self.starts:.6f} r{turn.router.number} t{turn.number} {why}\n")

    def digest(self) -> str:
        """Write what is left of the log; return the SHA-256 of all of it."""
        self._flush()
        return self._hash.hexdigest()

    def _stretch(self, now: float) -> Stretch:
        at = int((now - self.starts) / self.width)
        while len(self.stretches) <= at:
            self.stretches.append(Stretch())
        return self.stretches[at]

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
        self.written += len(self._lines)
        self._lines.clear()
        self._hash.update(text)
        if self._log is not None:
            self._log.write(text)


def step_of(seconds: float) -> int:
    """Return the bucket that a duration is counted in."""
    return int(STEPS * ln(seconds)) if seconds > 0 else AT_ONCE


def _round(seconds: float) -> float:
    """Return the least usual width of a bucket that is at least so many seconds."""
    return next((float(width) for width in WIDTHS if seconds <= width), ceil(seconds / 86400) * 86400.0)
