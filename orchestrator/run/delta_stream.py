"""Reading what a run's agents say: as it comes, and what was missed from what is kept or from the journal."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import anyio

from agents.events import TurnEnded
from agents.run_context import StepKey
from orchestrator.events import Event
from orchestrator.journal.protocols import Journal
from orchestrator.run.deltas import AnswerEnded, DeltaLog, Position, RunDelta, deltas_of, from_the_beginning
from providers.messages import Response, TextDelta

LOOKS_S = 0.05
"""How often the journal is looked at for answers that have ended and are about to be recorded."""


@dataclass(slots=True)
class DeltaStream:
    """The deltas of a run, from a position on: `async for delta in stream`. It ends with the run.

    A slow reader delays nothing and loses nothing: pieces of one text come as one then, and where too much has
    come since, the answers that have ended come from the journal, whole. Any number may read, each at its own pace.
    """

    log: DeltaLog
    journal: Journal
    seen: Position
    _ready: deque[RunDelta]
    _is_reading: bool = False

    @classmethod
    def after(cls, log: DeltaLog, journal: Journal, position: str | None) -> DeltaStream:
        """Return the stream after a position; None: from where this process took the run up. Raise `ValueError`."""
        if position is None:
            return cls(log, journal, Position(log.began, 0, log.mark), deque())
        seen = Position.of(position)
        if seen.process != log.mark:
            # What another process told besides is not on record, and was done again.
            seen = Position(min(seen.ended, log.began), -1, log.mark)
        elif seen.number == 0:
            seen = seen._replace(number=-1)
        return cls(log, journal, seen, deque())

    def __aiter__(self) -> DeltaStream:
        return self

    async def __anext__(self) -> RunDelta:
        while not self._ready:
            if not await self.more():
                raise StopAsyncIteration
        return self._ready.popleft()

    async def more(self) -> bool:
        """Wait until `ready` returns something, unless another task was there before. False: the run is over."""
        if self._is_behind:
            await self._catch_up()
        elif not self._ready and not self._take():
            if self.log.is_over:
                return False
            changed = anyio.Event()
            self.log.wake(changed)
            await changed.wait()
        return True

    def ready(self) -> list[RunDelta]:
        """Return what can be had without waiting."""
        if not self._is_behind and not self._is_reading:
            self._take()
        found = list(self._ready)
        self._ready.clear()
        return found

    @property
    def _is_behind(self) -> bool:
        return self.seen.number < 0 or not self.log.keeps(self.seen.number)

    def _take(self) -> bool:
        new = self.log.after(self.seen.number)
        if new:
            self.seen = Position.of(new[-1].position)
        self._ready.extend(new)
        return bool(new)

    async def _catch_up(self) -> None:
        """Take the answers that have ended since, from the journal, and what has come of those at work."""
        log, self._is_reading = self.log, True
        try:
            until, at_work = Position(log.ended, log.last, log.mark), log.so_far()
            found = await _recorded(self.journal, log, self.seen.ended, until.ended)
            self._ready.extend(delta for answer in found for delta in answer.deltas(log.mark))
            self._ready.extend(at_work)
            self.seen = until
        finally:
            self._is_reading = False


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """An answer on record: the how-manieth of its run, and what it was; None where it was taken out since."""

    number: int
    event: Event
    response: Response | None

    def deltas(self, mark: str = "") -> list[RunDelta]:
        """Return it as deltas, the first of which says that they are all of it."""
        event, response = self.event, self.response
        if event.unit is None or response is None:
            return []
        before, after = str(Position(self.number - 1, 0, mark)), str(Position(self.number, 0, mark))
        blank = RunDelta(event.run_id, before, event.unit, event.step, event.turn, event.data.agent, TextDelta(""))
        blank = replace(blank, recorded=True)
        ended = AnswerEnded(True, response.finish, response.provider, response.model)
        told = [replace(blank, delta=delta) for delta in deltas_of(response)]
        return from_the_beginning([*told, replace(blank, position=after, delta=ended)])


async def answers_after(journal: Journal, run: str, ended: int) -> list[RecordedAnswer]:
    """Return the answers of a run that are on record, after the first `ended` ones, in the order of the record."""
    numbered = enumerate((e for e in await journal.events(run) if isinstance(e.data, TurnEnded)), 1)
    new = [(number, event) for number, event in numbered if number > ended]
    if not new:
        return []
    steps = {(step.unit, step.key): step.result for step in await journal.steps(run) if step.done}
    found = []
    for number, event in new:
        result = steps.get((event.unit, StepKey(event.step, event.turn, "model")))  # type: ignore[arg-type]
        found.append(RecordedAnswer(number, event, result if isinstance(result, Response) else None))
    return found


async def _recorded(journal: Journal, log: DeltaLog, ended: int, until: int) -> list[RecordedAnswer]:
    """Return the answers up to the number `until`; those that ended and are about to be recorded are waited for."""
    while True:
        is_over = log.is_over
        found = [answer for answer in await answers_after(journal, log.run_id, ended) if answer.number <= until]
        # Where the run is over, its journal failed: what was not recorded is not told as if it were.
        if is_over or ended + len(found) >= until:
            return found
        await anyio.sleep(LOOKS_S)
