"""Recorded traffic is simulated under its own policy as it went, and under others by what providers did then."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from agents.events import TurnEnded, TurnStarted
from orchestrator.events import Event, RunForked
from orchestrator.forecast.preview import PolicyTrial, RoutingInForce, preview
from orchestrator.forecast.traffic import RecordedTraffic, turns_in
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import RunManifest
from orchestrator.recorded_traffic import recorded_traffic
from orchestrator.units import Unit
from providers.catalog.file import load_catalog
from providers.events import AttemptEnded
from providers.messages import FinishReason, Usage
from providers.policy.parse import parse_policy
from providers.routing.control import NOTHING_SET, OperatorHold

GROQ, CEREBRAS = "groq/openai/gpt-oss-20b", "cerebras/gpt-oss-120b"
CATALOG = load_catalog()
START = 1_795_132_800.0
USUAL = Usage(900, output=300)
TIERS = {"worker": [GROQ, CEREBRAS]}


def routing(**fields: Any) -> RoutingInForce:
    return RoutingInForce(*parse_policy({"tiers": TIERS, "last_resort": [], **fields}, CATALOG))


class Record:
    """Events of one run, as a run would record them."""

    def __init__(self, run: str = "one", agent: str = "dev") -> None:
        self.run, self.agent, self.events, self.turn = run, agent, list[Event](), 0
        self._numbers = 0

    def say(self, at: float, data: object) -> None:
        self._numbers += 1
        self.events.append(Event(self.run, Unit("work", None), (), self.turn, self._numbers, START + at, data))

    def begin(self, at: float) -> None:
        self.turn += 1
        self.say(at, TurnStarted(self.agent, self.turn))

    def call(self, began: float, took: float, name: str, error: str | None = None) -> None:
        provider, _, model = name.partition("/")
        how = "ok" if error is None else "failed"
        self.say(began + took, AttemptEnded(1, provider, model, how, error, None, took * 1000, "ab"))

    def end(self, at: float, name: str, usage: Usage) -> None:
        provider, _, model = name.partition("/")
        found = CATALOG.find(name)
        cost = None if found is None or found[1].price is None else found[1].price.cost(usage)
        self.say(at, TurnEnded(self.agent, self.turn, provider, model, usage, cost, FinishReason.STOP))

    def answered(self, at: float, took: float, name: str = GROQ, usage: Usage = USUAL) -> None:
        self.begin(at)
        self.call(at, took, name)
        self.end(at + took, name, usage)


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


def test_the_same_policy_comes_to_what_was_recorded():
    found = preview(traffic(a_day()), routing(), routing(), ["groq", "cerebras"])
    error = found.error
    assert (found.recorded.turns, found.recorded.failed, found.before.failed) == (600, 0, 0)
    assert error.cost == pytest.approx(0.0, abs=0.001)
    assert error.p50 == pytest.approx(0.0, abs=0.11)
    assert error.p95 == pytest.approx(0.0, abs=0.11)
    assert (error.failed, error.moved) == (0.0, 0.0)
    assert found.before == found.after
    assert found.recorded.tiers == {"worker": {"groq": 600}}


def test_a_recorded_outage_is_one_in_the_simulation():
    recorded = traffic(a_day(down=(6000.0, 12000.0)))
    own = PolicyTrial(recorded, routing(), ["groq", "cerebras"])
    (outage,) = own.observed.providers["groq"].outages
    assert (outage.begins, outage.lasts, outage.how) == (6000.0, 6000.0, "refuses")
    report = own.under(routing())
    assert report.failed == 0
    assert own.recorded.providers == {"groq": 500, "cerebras": 100}
    assert report.providers["cerebras"].answers == pytest.approx(100, abs=20)  # its breaker rests before it recovers
    alone = own.under(routing(tiers={"worker": [GROQ]}))
    assert alone.failed == pytest.approx(100, abs=2)  # a turn waits a little for the recovery


def test_another_policy_costs_what_its_models_cost():
    found = preview(traffic(a_day(count=60)), routing(), routing(tiers={"worker": [CEREBRAS, GROQ]}), ["cerebras"])
    assert found.after.providers == {"cerebras": 60}
    assert found.after.cost > found.before.cost > 0
    assert any("never asked" in text and "cerebras" in text for text in found.assumptions)
    drained = routing()._replace(control=NOTHING_SET.holding(["groq"], OperatorHold("drained")))
    gone = preview(traffic(a_day(count=60)), routing(), drained, ["cerebras"])
    assert gone.after.providers == {"cerebras": 60}


def test_faults_here_and_there_are_a_share_of_the_calls():
    record, dice = Record(), Random(3)  # dice, no secret
    for number in range(1000):
        at = number * 60.0
        if dice.random() < 0.3:
            record.begin(at)
            record.call(at, 2.0, GROQ, "ServerFault")
            record.call(at + 2.0, 1.0, CEREBRAS)
            record.end(at + 3.0, CEREBRAS, Usage(900, output=300))
        else:
            record.answered(at, 1.0)
    groq = PolicyTrial(traffic(record), routing(), []).observed.providers["groq"]
    model = groq.models["openai/gpt-oss-20b"]
    assert (groq.outages, model.outages) == ((), ())
    assert model.errors["server"] == pytest.approx(0.3, abs=0.04)
    assert model.error_seconds == {"server": 2.0}


pytestmark = pytest.mark.anyio


async def test_turns_that_tell_nothing_of_providers_are_left_out():
    record = Record()
    record.answered(0.0, 1.0)
    record.answered(1.0, 1.0, "stub/stub")
    record.begin(2.0)  # its run was killed in it
    record.begin(3.0)
    record.call(3.0, 1.0, GROQ, "ServerFault")
    record.call(4.0, 1.0, CEREBRAS, "Overloaded")
    record.turn -= 1
    record.begin(9.0)  # the same turn again, in a run that was resumed
    record.call(9.0, 1.0, CEREBRAS)
    record.end(10.0, CEREBRAS, Usage(900, output=300))
    fork = Record("two")
    fork.answered(0.0, 1.0)
    fork.say(20.0, RunForked("one", (), (), (), Usage(), 0))
    fork.answered(21.0, 1.0)
    journal = MemoryJournal()
    for each in (record, fork):
        await journal.create(each.run, RunManifest("squad"), each.events)
    found = await recorded_traffic(journal, START)
    assert [(turn.run, turn.at - START, turn.usage is None) for turn in found.turns] == [
        ("one", 0.0, False),
        ("one", 3.0, True),
        ("one", 9.0, False),
        ("two", 21.0, False),
    ]
    assert dict(found.left_out) == {"answered by the offline stub": 1, "asked no provider": 1}
    assert [turn.at - START for turn in (await recorded_traffic(journal, most=1)).turns] == [21.0]
    assert not (await recorded_traffic(journal, START + 30)).turns
