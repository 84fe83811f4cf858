"""Time at work: it stands still while nothing but a person is waited for, and limits of time stand still with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from agents.run_context import StepKey
from orchestrator.errors import TaskTimedOut
from orchestrator.units import outer_call

Left = Callable[[], float]
"""Returns the seconds that a limit leaves."""


class WorkClock:
    """Tells how long a person was waited for, while nothing else was at work. Seconds of the event loop's clock."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._since: float | None = None
        self._limits: dict[anyio.CancelScope, Left] = {}

    @property
    def stands(self) -> bool:
        """Whether a person alone is waited for now."""
        return self._since is not None

    def waited(self) -> float:
        """Return for how long a person was waited for so far."""
        return self._waited + (0.0 if self._since is None else anyio.current_time() - self._since)

    @contextmanager
    def limit(self, left: Left) -> Iterator[anyio.CancelScope]:
        """Cancel what it surrounds once `left` says 0, by the time at work."""
        seconds = math.inf if self.stands else left()
        with anyio.CancelScope(deadline=anyio.current_time() + seconds) as scope:
            self._limits[scope] = left
            try:
                yield scope
            finally:
                del self._limits[scope]

    def _stand(self, *, still: bool) -> None:
        if still is self.stands:
            return
        now = anyio.current_time()
        if self._since is None:
            self._since = now
        else:
            self._waited, self._since = self._waited + now - self._since, None
        for scope, left in self._limits.items():
            scope.deadline = math.inf if still else now + left()


class RunClock(WorkClock):
    """The clock of a run: it stands still while each unit at work waits for a person, and a question is open."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.on_change = on_change
        """Called when a unit begins to wait for a person alone."""
        self.waiting = 0
        """Units that wait for a person alone."""
        self._units = 0
        self._asked = 0

    @contextmanager
    def unit(self) -> Iterator[UnitClock]:
        """Count a unit as at work while the block lasts."""
        self._units += 1
        clock = UnitClock(self)
        try:
            yield clock
        finally:
            clock.end()
            self._units -= 1
            self.look()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count a question as open while the block lasts."""
        self._asked += 1
        self.look()
        try:
            yield
        finally:
            self._asked -= 1
            self.look()

    def look(self) -> None:
        """Stand still, or go on, as things are now."""
        self._stand(still=self._asked > 0 and self.waiting == self._units)


class UnitClock(WorkClock):
    """The clock of one unit: it stands still while each of its calls that are in flight waits for a person."""

    def __init__(self, run: RunClock | None = None) -> None:
        super().__init__()
        self._run = run or RunClock()
        self._in_flight = 0
        self._around: Counter[StepKey] = Counter()
        """Calls with others inside of them, which they wait for."""
        self._asked = 0

    @contextmanager
    def calling(self, key: StepKey | None = None) -> Iterator[None]:
        """Count a call as in flight while the block lasts; one with others inside of it waits for them."""
        around = None if key is None else outer_call(key)
        self._in_flight += 1
        self._inside(around, 1)
        try:
            yield
        finally:
            self._in_flight -= 1
            self._inside(around, -1)

    def _inside(self, around: StepKey | None, more: int) -> None:
        if around is not None:
            self._around[around] += more
            if not self._around[around]:
                del self._around[around]
        self._look()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Count a call as waiting for a person while the block lasts."""
        self._asked += 1
        with self._run.asking():
            self._look()
            try:
                yield
            finally:
                self._asked -= 1
                self._look()

    def end(self) -> None:
        """Wait for nobody any more: the unit is no longer at work."""
        self._asked = 0
        self._look()

    def _look(self) -> None:
        before = self.stands
        self._stand(still=self._asked > 0 and self._asked >= self._in_flight - len(self._around))
        if self.stands is not before:
            self._run.waiting += 1 if self.stands else -1
            self._run.look()
            if self.stands:
                self._run.on_change()


@contextmanager
def time_limit(
    seconds: float | None, budgets: Any, what: str, clock: UnitClock, most: float | None = None
) -> Iterator[None]:
    """Fail what it surrounds with `TaskTimedOut` after `seconds`, or with `BudgetSpent` when a budget's time is up.

    `most` is what the limit was before a part of it was used up elsewhere.

    The time in which a person alone was waited for does not count.
    """
    began, before = anyio.current_time(), clock.waited()

    def own() -> float:
        worked = anyio.current_time() - began - clock.waited() + before
        return math.inf if seconds is None else seconds - worked

    def others() -> float:
        return budgets.seconds_left() if budgets is not None else math.inf

    if min(own(), others()) == math.inf:
        yield
        return
    with clock.limit(lambda: min(own(), others())) as scope:
        yield
    if scope.cancelled_caught:
        if seconds is None or own() >= others():
            raise budgets.out_of_time()
        raise TaskTimedOut(f"{what} took longer than {most or seconds:g} s")
