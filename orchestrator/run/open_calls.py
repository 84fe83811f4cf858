"""Calls whose beginning is on record and whose end is not: what they reserved counts, for they may have been billed.

Pure. A call is recorded with what it reserves before it leaves; a process that is killed records no end of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import RunEdited, RunForked, RunResumed
from orchestrator.units import StepPath, Unit
from providers.events import AttemptEnded, AttemptStarted


class OpenCall(NamedTuple):
    """An attempt that holds of its run's budgets: micro-USD and tokens. `reckoned` is its input in tokens."""

    unit: Unit | None
    step: StepPath
    model: str
    cost: int
    tokens: int
    reckoned: int


@dataclass(slots=True)
class OpenCalls:
    """The fold of a run's events to the calls that are open after them."""

    _open: dict[tuple[Unit | None, StepPath], dict[int, OpenCall]] = field(default_factory=dict)

    def at(self, unit: Unit | None, step: StepPath) -> tuple[OpenCall, ...]:
        """Return those at a place."""
        return tuple(self._open.get((unit, step), {}).values())

    def take(self, unit: Unit | None, step: StepPath, data: Any) -> tuple[OpenCall, ...]:
        """Take the next event; return the calls of which it shows that nobody will ever know what they came to.

        Their process was killed before it could record that, or they were given up after they had left.
        """
        place = (unit, step)
        match data:
            case AttemptStarted(number, _, model, reserved=int(cost)):
                here = self._open.setdefault(place, {})
                before = here.pop(number, None)
                here[number] = OpenCall(unit, step, model, cost, data.reserved_tokens, data.reckoned)
                return () if before is None else (before,)
            case AttemptEnded(number, outcome=outcome) if outcome != "ok":
                ended = self._open.get(place, {}).pop(number, None)
                return (ended,) if ended is not None and data.in_doubt else ()
            case TurnEnded():
                self._open.pop(place, None)
            case TurnStarted():
                return tuple(self._open.pop(place, {}).values())
            case RunResumed() | RunEdited():
                return self.cut_short()
            case RunForked():  # they are the other run's
                self._open.clear()
        return ()

    def cut_short(self) -> tuple[OpenCall, ...]:
        """Return all that are open: no process is at work on them any more."""
        left = tuple(call for here in self._open.values() for call in here.values())
        self._open.clear()
        return left
