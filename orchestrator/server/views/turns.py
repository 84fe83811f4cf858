"""The turns of a run, each with the events that tell who was asked for it, and what came of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event
from orchestrator.server.views.part import PartOfRun
from orchestrator.units import StepPath, Unit, path_of
from providers.events import AttemptEnded, RouteChosen, WaitingForBudget, WaitingForProvider


@dataclass(slots=True)
class TurnView:
    """One turn at one place. `told` are its events in order."""

    unit: Unit | None
    step: StepPath
    number: int
    told: list[Event] = field(default_factory=list)

    @property
    def place(self) -> str:
        return path_of(self.unit, self.step)


class TurnsView(PartOfRun):
    """All turns in the order in which they began."""

    __slots__ = ("_at", "all")
    TAKES: ClassVar = {
        TurnStarted: "_begin",
        RouteChosen: "_take",
        AttemptEnded: "_take",
        WaitingForProvider: "_take",
        WaitingForBudget: "_take",
        TurnEnded: "_take",
    }

    def __init__(self) -> None:
        self.all: dict[tuple[Unit | None, StepPath, int], TurnView] = {}
        self._at: dict[tuple[Unit | None, StepPath], TurnView] = {}
        """The turn that goes on at each place."""

    def _begin(self, event: Event) -> None:
        self._turn(event, event.data.turn).told.append(event)

    def _take(self, event: Event) -> None:
        turn = self._at.get((event.unit, event.step)) or self._turn(event, 1)
        turn.told.append(event)

    def _turn(self, event: Event, number: int) -> TurnView:
        key = event.unit, event.step, number
        if (turn := self.all.get(key)) is None:
            turn = self.all[key] = TurnView(*key)
        self._at[event.unit, event.step] = turn
        return turn
