"""What was spent, by whatever one asks: provider, model, agent, run, task, day. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Literal

from agents.events import TextsEmbedded, TurnStarted
from orchestrator.events import Event
from orchestrator.run.budget import Bill, bill_of
from orchestrator.units import StepPath, Unit
from providers.events import AttemptEnded

By = Literal["provider", "model", "agent", "run", "task", "day"]


@dataclass(slots=True)
class Spending:
    """`turns` were answered; `lost` attempts were not, and were billed all the same. `embedded` requests brought
    vectors.

    `cost` is micro-USD of those whose cost is known; of `unknown` of them it is not known. `cached` tokens are part of
    the input, `reasoning` ones of the output.
    """

    turns: int = 0
    lost: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    cost: int = 0
    unknown: int = 0
    embedded: int = 0

    @property
    def is_known(self) -> bool:
        """Whether anybody knows what any of it came to."""
        return self.unknown < self.turns + self.lost + self.embedded

    def add(self, bill: Bill, of: Any) -> None:
        """Take the bill of what an event tells `of`."""
        usage = bill.usage
        self.lost += isinstance(of, AttemptEnded)
        self.embedded += isinstance(of, TextsEmbedded)
        self.turns += not isinstance(of, AttemptEnded | TextsEmbedded)
        self.input += usage.input + usage.cache_read + usage.cache_write
        self.output += usage.output + usage.reasoning
        self.cached += usage.cache_read
        self.reasoning += usage.reasoning
        self.cost += bill.cost or 0
        self.unknown += bill.cost is None


def spending(events: Iterable[Event], by: By, zone: tzinfo) -> tuple[dict[str, Spending], Spending]:
    """Return what was spent under each name, and in all. A day is one of `zone`.

    The most expensive come first; days are in order. An attempt whose answer was not used counts for the agent of the
    turn.
    """
    name_of, agents = _namer(by, zone), dict[tuple[str, Unit | None, StepPath], str]()
    found: dict[str, Spending] = {}
    total = Spending()
    for event in events:
        data, place = event.data, (event.run_id, event.unit, event.step)
        if isinstance(data, TurnStarted):
            agents[place] = data.agent
        if (bill := bill_of(data)) is None:
            continue
        for each in (found.setdefault(name_of(event, agents.get(place, "")), Spending()), total):
            each.add(bill, data)
    names = sorted(found) if by == "day" else sorted(found, key=lambda name: (-found[name].cost, name))
    return {name: found[name] for name in names}, total


def _namer(by: By, zone: tzinfo) -> Callable[[Event, str], str]:
    """Return what tells the name of an event under which it counts; its second argument is who had the last turn."""
    namers: Mapping[By, Callable[[Event, str], str]] = {
        "provider": lambda event, _: event.data.provider,
        "model": lambda event, _: _full_name(event.data.provider, event.data.model),
        "agent": lambda event, agent: getattr(event.data, "agent", agent),
        "run": lambda event, _: event.run_id,
        "task": lambda event, _: "" if event.unit is None else event.unit.task,
        "day": lambda event, _: datetime.fromtimestamp(event.at, zone).date().isoformat(),
    }
    return namers[by]


def _full_name(provider: str, model: str) -> str:
    return model if model.startswith(f"{provider}/") else f"{provider}/{model}"
