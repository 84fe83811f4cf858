"""What a run has cost: by task, by agent, by model. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.events import TextsEmbedded, TurnEnded, TurnStarted
from orchestrator.events import Event, RunForked
from orchestrator.events.bills import Bill, bill_of
from orchestrator.server.views.part import PartOfRun
from orchestrator.units import StepPath, Unit
from providers.events import AttemptEnded


@dataclass(slots=True)
class SpentSoFar:
    """Tokens, micro-USD of calls whose price is known, and how many there are of the others."""

    tokens: int = 0
    cost: int = 0
    unknown: int = 0
    calls: int = 0

    def add(self, bill: Bill) -> None:
        self.tokens += bill.usage.total
        self.cost += bill.cost or 0
        self.unknown += bill.cost is None
        self.calls += 1


class MoneyView(PartOfRun):
    """What was billed. `by_task`, `by_agent` and `by_model` are by name; a model's is `provider/model`."""

    __slots__ = ("_agents", "by_agent", "by_model", "by_task", "forked_from", "total")
    TAKES: ClassVar = {
        TurnStarted: "_turn",
        TurnEnded: "_bill",
        TextsEmbedded: "_bill",
        AttemptEnded: "_bill",
        RunForked: "_fork",
    }

    def __init__(self) -> None:
        self.total = SpentSoFar()
        self.by_task: dict[str, SpentSoFar] = {}
        self.by_agent: dict[str, SpentSoFar] = {}
        self.by_model: dict[str, SpentSoFar] = {}
        self.forked_from = ""
        """The run that this one is a fork of, and which paid for all before that."""
        self._agents: dict[tuple[Unit | None, StepPath], str] = {}

    def _turn(self, event: Event) -> None:
        self._agents[event.unit, event.step] = event.data.agent

    def _fork(self, event: Event) -> None:
        self.forked_from = event.data.source
        self.total = SpentSoFar()
        for one in (self.by_task, self.by_agent, self.by_model):
            one.clear()

    def _bill(self, event: Event) -> None:
        if (bill := bill_of(event.data)) is None:
            return
        self.total.add(bill)
        agent = getattr(event.data, "agent", None) or self._agents.get((event.unit, event.step), "")
        task = event.unit.task if event.unit is not None else ""
        model = f"{event.data.provider}/{event.data.model}"
        for where, name in ((self.by_task, task), (self.by_agent, agent), (self.by_model, model)):
            where.setdefault(name, SpentSoFar()).add(bill)
