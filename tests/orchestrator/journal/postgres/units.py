"""Units at work on a PostgreSQL journal, and what must be in the record afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from agents.run_context import StepKey
from orchestrator.events import Event, TaskStarted
from orchestrator.journal.opening import open_journal
from orchestrator.journal.postgres.journal import PostgresJournal
from orchestrator.journal.protocols import Go, StepRecord
from orchestrator.journal.timing import ClusterTiming
from orchestrator.units import Unit

WORKER = ClusterTiming(retry_s=None, heartbeat_s=0.2, lease_s=1.5, stalled_s=2.0)
"""A worker's: it retries for ever."""
A = Unit("a")


def key(name: str) -> StepKey:
    return StepKey((), 0, name)


def event(number: int, unit: Unit = A, run: str = "r") -> Event:
    return Event(run, unit, (), 0, number, float(number), TaskStarted(unit.task, 1, "mary"))


@asynccontextmanager
async def opened(url: str, timing: ClusterTiming = WORKER) -> AsyncIterator[PostgresJournal]:
    async with open_journal(url, timing=timing) as journal:
        assert isinstance(journal, PostgresJournal)
        yield journal


class Crowd:
    """Units that each take so many steps, one after the other, with an event before and after each."""

    def __init__(self, journal: PostgresJournal, name: str, units: int, steps: int, runs: int = 1) -> None:
        self.journal = journal
        self.steps = steps
        self.units = [(f"r{number % runs}", Unit(name, str(number))) for number in range(units)]
        self.attempts: list[int] = []
        self.finished = 0
        self._grown = anyio.Event()

    def start(self, tasks: TaskGroup) -> None:
        for run, unit in self.units:
            tasks.start_soon(self.work, run, unit)

    async def work(self, run: str, unit: Unit) -> None:
        fence = await self.journal.claim(run, unit, "me")
        assert fence == 1, "it was claimed once"
        for number in range(1, self.steps + 1):
            step, about = key(f"turn-{number}"), (run, unit)
            told = await self.journal.begin(*about, step, b"h", fence, [event(2 * number - 1, unit, run)])
            assert isinstance(told, Go), "it had not ended"
            self.attempts.append(told.attempt)
            await self.journal.finish(*about, step, fence, f"{unit.path} {number}", [event(2 * number, unit, run)])
            self.finished += 1
            self._grown.set()
        await self.journal.end(run, unit, fence)

    async def has_finished(self, steps: int) -> None:
        """Wait until so many steps have ended."""
        while self.finished < steps:
            self._grown = anyio.Event()
            await self._grown.wait()

    async def check(self, journal: PostgresJournal) -> None:
        """Everything was recorded once, in order."""
        assert set(self.attempts) == {1}
        for run in {run for run, _ in self.units}:
            events = await journal.events(run)
            assert await journal.last_seq(run) == len(events)
            steps: dict[Unit, list[StepRecord]] = {}
            for step in await journal.steps(run):
                steps.setdefault(step.unit, []).append(step)
            for _, unit in filter(lambda of: of[0] == run, self.units):
                assert [e.seq for e in events if e.unit == unit] == [*range(1, 2 * self.steps + 1)]
                assert {step.result for step in steps[unit]} == {f"{unit.path} {n + 1}" for n in range(self.steps)}
                assert await journal.claim(run, unit, "other") is None
