"""What was spent over all runs, by whatever one asks, as a journal tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from agents.events import TextsEmbedded, TurnStarted
from orchestrator.events import Event, RunForked
from orchestrator.events.bills import bill_of
from orchestrator.units import StepPath, Unit
from providers.events import AttemptEnded

SpentBy = Literal["provider", "model", "agent", "squad", "run", "task", "quarter"]
"""`quarter`: the number of the quarter of an hour since 1970 UTC. A day of any time zone begins with one."""
QUARTER_S = 900
TURN, LOST, EMBEDDED = range(3)
"""What was billed: an answered turn, an attempt that gave no answer, a request for vectors."""


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
        return self.unknown < self.bills

    @property
    def bills(self) -> int:
        return self.turns + self.lost + self.embedded

    def add(self, other: Spending) -> None:
        """Take what was spent elsewhere as well."""
        self.turns += other.turns
        self.lost += other.lost
        self.input += other.input
        self.output += other.output
        self.cached += other.cached
        self.reasoning += other.reasoning
        self.cost += other.cost
        self.unknown += other.unknown
        self.embedded += other.embedded


class SpentRow(NamedTuple):
    """What was spent under these names, one for each that was asked by."""

    names: tuple[str | int, ...]
    spending: Spending


class BilledEvent(NamedTuple):
    """An event that says what was billed: of which `kind`, by whose work, how much."""

    kind: int
    agent: str | None
    """None: who had the turn at its place."""
    provider: str
    model: str
    input: int
    output: int
    cached: int
    reasoning: int
    cost: int | None


def billed(payload: Any) -> BilledEvent | None:
    """Return what an event says was billed, None for one that says nothing of it."""
    if (bill := bill_of(payload)) is None:
        return None
    is_lost, usage = isinstance(payload, AttemptEnded), bill.usage
    return BilledEvent(
        LOST if is_lost else EMBEDDED if isinstance(payload, TextsEmbedded) else TURN,
        None if is_lost else payload.agent,
        payload.provider,
        payload.model,
        usage.input + usage.cache_read + usage.cache_write,
        usage.output + usage.reasoning,
        usage.cache_read,
        usage.reasoning,
        bill.cost,
    )


def full_name(provider: str, model: str) -> str:
    """Return the name of a model with its provider's."""
    return model if model.startswith(f"{provider}/") else f"{provider}/{model}"


def own_events(events: Sequence[Event]) -> Sequence[Event]:
    """Return what a run itself did: what a fork took over, the run that it came from paid for."""
    forks = [number for number, event in enumerate(events) if isinstance(event.data, RunForked)]
    return events[forks[-1] + 1 :] if forks else events


def spent_in(squad: str, events: Sequence[Event], by: Sequence[SpentBy], since: float) -> Iterator[SpentRow]:
    """Yield what each bill of a run says."""
    agents: dict[tuple[Unit | None, StepPath], str] = {}
    for event in own_events(events):
        place = (event.unit, event.step)
        if isinstance(event.data, TurnStarted):
            agents[place] = event.data.agent
        of = billed(event.data)
        if of is None or event.at < since:
            continue
        names: dict[SpentBy, str | int] = {
            "provider": of.provider,
            "model": full_name(of.provider, of.model),
            "agent": agents.get(place, "") if of.agent is None else of.agent,
            "squad": squad,
            "run": event.run_id,
            "task": "" if event.unit is None else event.unit.task,
            "quarter": int(event.at // QUARTER_S),
        }
        yield SpentRow(tuple(names[one] for one in by), _whole(of))


def _whole(of: BilledEvent) -> Spending:
    return Spending(
        turns=int(of.kind == TURN),
        lost=int(of.kind == LOST),
        input=of.input,
        output=of.output,
        cached=of.cached,
        reasoning=of.reasoning,
        cost=of.cost or 0,
        unknown=int(of.cost is None),
        embedded=int(of.kind == EMBEDDED),
    )


def added_up(rows: Iterable[SpentRow]) -> list[SpentRow]:
    """Return one row for each names."""
    found: dict[tuple[str | int, ...], Spending] = {}
    for names, spending in rows:
        found.setdefault(names, Spending()).add(spending)
    return [SpentRow(*each) for each in found.items()]
