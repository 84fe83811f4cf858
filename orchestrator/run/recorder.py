"""The events of a run as they are recorded: numbered, each told once, and what they cost added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.events import Event, RunForked
from orchestrator.events.bills import bill_of
from orchestrator.run.history import TOLD_AGAIN, RunHistory, telling
from orchestrator.run.open_calls import OpenCalls, in_doubt
from orchestrator.units import StepPath, Unit
from providers.emit import Emit
from providers.messages import Usage


class Recorder:
    """Numbers the run's events and hands them on: to the listener, and to the journal with the step that made them.

    After `past` it counts on from there, and what code that runs again says again is told once.
    """

    def __init__(
        self,
        run_id: str,
        listen: Callable[[Event], None] | None,
        clock: Callable[[], float],
        past: RunHistory | None = None,
    ) -> None:
        self.run_id = run_id
        self.usage = Usage()
        self.cost: int | None = 0
        self.cut_short = 0
        """Micro-USD that calls may have cost besides whose end nobody knows."""
        self._open_calls = OpenCalls()
        self._listen = listen
        self._clock = clock
        self._latest: dict[tuple[Unit | None, StepPath, int], int] = {}
        """By place and turn: the number of its latest event."""
        self._unwritten: list[Event] = []
        self._told = past.told if past is not None else None
        for event in past.events if past is not None else ():
            self._latest[event.unit, event.step, event.turn] = event.seq
            self._count(event.unit, event.step, event.data)

    def at(self, unit: Unit, step: StepPath = ()) -> Emit:
        """Return the emitter of what happens at a place in the run: synchronous, never blocking."""

        def emit(payload: Any) -> None:
            self.record(payload, unit, step)

        return emit

    def record(self, payload: Any, unit: Unit | None = None, step: StepPath = ()) -> None:
        """Record what happened, at `step` in the work of `unit`; without one, to the run itself."""
        if self._told and isinstance(payload, TOLD_AGAIN) and self._told[said := telling(unit, step, payload)]:
            self._told[said] -= 1
            return
        turn = getattr(payload, "turn", 0)
        place = (unit, step, turn)
        self._latest[place] = seq = self._latest.get(place, 0) + 1
        self._count(unit, step, payload)
        event = Event(self.run_id, unit, step, turn, seq, self._clock(), payload)
        self._unwritten.append(event)
        if self._listen is not None:
            self._listen(event)

    def hear(self, events: Iterable[Event]) -> None:
        """Count what other processes recorded of the run, each event once. They have told their own listeners."""
        for event in events:
            place = (event.unit, event.step, event.turn)
            if event.seq > self._latest.get(place, 0):
                self._latest[place] = event.seq
                self._count(event.unit, event.step, event.data)

    def last_of(self, unit: Unit) -> int:
        """Return the number of the last event of the unit itself, outside of its steps; 0: there is none."""
        return self._latest.get((unit, (), 0), 0)

    def count_on(self, unit: Unit, last: int) -> None:
        """Count on from the number of a unit's last event, which another process recorded."""
        self._latest[unit, (), 0] = max(last, self.last_of(unit))

    def _count(self, unit: Unit | None, step: StepPath, payload: Any) -> None:
        bill = bill_of(payload)
        self.cut_short += in_doubt(self._open_calls.take(unit, step, payload), bill)
        if isinstance(payload, RunForked):  # what came before was paid by another run
            self.usage, self.cost, self.cut_short = Usage(), 0, 0
        elif bill is not None:
            self.usage += bill.usage
            self.cost = None if bill.cost is None or self.cost is None else self.cost + bill.cost

    def now(self) -> float:
        """Return the time by which events are stamped: epoch seconds UTC."""
        return self._clock()

    def take(self) -> list[Event]:
        """Return the events that the journal does not have yet; they are its from now on."""
        events, self._unwritten = self._unwritten, []
        return events
