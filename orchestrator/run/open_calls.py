"""Calls whose beginning is on record and whose end is not: what they reserved counts, for they may have been billed.

Pure. A call is recorded with what it reserves before it leaves; a process that is killed records no end of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agents.events import TextsEmbedded, TurnEnded, TurnStarted
from orchestrator.events import CallsCutShort, Event, RunEdited, RunForked, RunResumed
from orchestrator.events.bills import Bill, bill_of
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
    number: int
    answered: bool = False
    """Whether its answer came: what it cost is known with the end of its turn."""


@dataclass(slots=True)
class OpenCalls:
    """The fold of a run's events to the calls that are open after them."""

    _open: dict[tuple[Unit | None, StepPath], list[OpenCall]] = field(default_factory=dict)

    def answered(self, unit: Unit | None, step: StepPath) -> tuple[OpenCall, ...]:
        """Return those at a place that were answered: of a turn whose answer was continued there are several."""
        return tuple(call for call in self._open.get((unit, step), ()) if call.answered)

    @property
    def all(self) -> tuple[OpenCall, ...]:
        return tuple(call for here in self._open.values() for call in here)

    def take(self, unit: Unit | None, step: StepPath, data: Any) -> tuple[OpenCall, ...]:
        """Take the next event; return the calls of which it shows that nobody will ever know what they came to.

        Their process was killed before it could record that, or they were given up after they had left.
        """
        place = (unit, step)
        match data:
            case AttemptStarted(number, _, model, reserved=int(cost)):
                call = OpenCall(unit, step, model, cost, data.reserved_tokens, data.reckoned, number)
                self._open.setdefault(place, []).append(call)
            case AttemptEnded(number, outcome=outcome):
                here = self._open.get(place, [])
                at = next((i for i, call in enumerate(here) if call.number == number and not call.answered), None)
                if at is None:
                    return ()
                if outcome == "ok":
                    here[at] = here[at]._replace(answered=True)
                    return ()
                ended = here.pop(at)
                return (ended,) if data.in_doubt else ()
            case TurnEnded() | TextsEmbedded():
                self._open.pop(place, None)
            case TurnStarted():
                return tuple(self._open.pop(place, ()))
            case CallsCutShort():
                return tuple(call for one in [at for at in self._open if at[0] == unit] for call in self._open.pop(one))
            case RunResumed(by_workers=True):
                return ()  # each unit tells by itself where its process is gone
            case RunResumed() | RunEdited():
                return self.cut_short()
            case RunForked():  # they are the other run's
                self._open.clear()
        return ()

    def cut_short(self) -> tuple[OpenCall, ...]:
        """Return all that are open: no process is at work on them any more."""
        left = self.all
        self._open.clear()
        return left


def in_doubt(calls: Iterable[OpenCall], bill: Bill | None) -> int:
    """Return micro-USD that calls may have cost beside what the event that shows it, with its `bill`, says."""
    known = 0 if bill is None else bill.cost or 0
    return sum(max(call.cost - known, 0) for call in calls)


def cut_short_cost(events: Iterable[Event], *, is_driven: bool) -> int:
    """Return micro-USD that calls of a run may have cost besides whose end is not known: `RunFinished.cut_short`.

    Where no process drives the run any more (not `is_driven`), calls that are still open count as well.
    """
    calls, cost = OpenCalls(), 0
    for event in events:
        cost += in_doubt(calls.take(event.unit, event.step, event.data), bill_of(event.data))
        if isinstance(event.data, RunForked):  # what came before was paid by another run
            cost = 0
    return cost if is_driven else cost + in_doubt(calls.cut_short(), None)
