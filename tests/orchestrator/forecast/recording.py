"""Events of runs, as these would record them, for tests of recorded traffic."""

from __future__ import annotations

from random import Random

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event
from orchestrator.forecast.traffic import RecordedTraffic, turns_in
from orchestrator.units import Unit
from providers.catalog.file import load_catalog
from providers.events import AttemptEnded
from providers.messages import FinishReason, Usage

GROQ, CEREBRAS = "groq/openai/gpt-oss-20b", "cerebras/gpt-oss-120b"
CATALOG = load_catalog()
START = 1_795_132_800.0
USUAL = Usage(900, output=300)


class Record:
    """Events of one run, as a run would record them."""

    def __init__(self, run: str = "one", agent: str = "dev") -> None:
        self.run, self.agent, self.events, self.turn = run, agent, list[Event](), 0
        self._numbers = 0

    def say(self, at: float, data: object) -> None:
        self._numbers += 1
        turn = self.turn if isinstance(data, TurnStarted | TurnEnded) else 0
        self.events.append(Event(self.run, Unit("work", None), ("try-1",), turn, self._numbers, START + at, data))

    def begin(self, at: float) -> None:
        self.turn += 1
        self.say(at, TurnStarted(self.agent, self.turn))

    def call(self, began: float, took: float, name: str, error: str | None = None, lost: int | None = None) -> None:
        provider, _, model = name.partition("/")
        how = "ok" if error is None else "failed"
        self.say(began + took, AttemptEnded(1, provider, model, how, error, None, took * 1000, "ab", cost=lost))

    def end(self, at: float, name: str, usage: Usage) -> None:
        provider, _, model = name.partition("/")
        found = CATALOG.find(name)
        cost = None if found is None or found[1].price is None else found[1].price.cost(usage)
        self.say(at, TurnEnded(self.agent, self.turn, provider, model, usage, cost, FinishReason.STOP))

    def answered(self, at: float, took: float, name: str = GROQ, usage: Usage = USUAL) -> None:
        self.begin(at)
        self.call(at, took, name)
        self.end(at + took, name, usage)

    def turns(self, name: str, count: int) -> Record:
        for number in range(count):
            self.answered(number * 60.0, 1.0, name)
        return self


def traffic(*records: Record) -> RecordedTraffic:
    turns, left_out = turns_in(event for record in records for event in record.events)
    return RecordedTraffic(tuple(turns), {record.run: "squad" for record in records}, {}, left_out)


def a_day(seed: int = 1, count: int = 600, down: tuple[float, float] = (0.0, 0.0)) -> Record:
    """Return turns a minute apart: groq answers, and while it is down it refuses at once and cerebras answers."""
    record, dice = Record(), Random(seed)  # dice, no secret
    for number in range(count):
        at, output = number * 60.0, dice.randrange(100, 900)
        usage = Usage(dice.randrange(500, 4000), cache_read=400, output=output)
        took = (0.4 + 0.004 * output) * dice.lognormvariate(0.0, 0.2)
        if down[0] <= at < down[1]:
            record.begin(at)
            record.call(at, 0.02, GROQ, "Unreachable")
            record.call(at + 0.02, took, CEREBRAS)
            record.end(at + 0.02 + took, CEREBRAS, usage)
        else:
            record.answered(at, took, usage=usage)
    return record
