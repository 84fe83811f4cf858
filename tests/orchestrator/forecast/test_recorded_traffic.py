"""Recorded traffic is simulated under its own policy as it went, and under others by what providers did then."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from orchestrator.events import RunForked
from orchestrator.forecast.preview import PolicyTrial, RoutingInForce, preview
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import RunManifest
from orchestrator.recorded_traffic import recorded_traffic
from providers.messages import Usage
from providers.policy.parse import parse_policy
from providers.routing.control import NOTHING_SET, OperatorHold
from providers.windows import Rolling
from tests.orchestrator.forecast.recording import CATALOG, CEREBRAS, GROQ, START, USUAL, Record, a_day, traffic

pytestmark = pytest.mark.anyio
TIERS = {"worker": [GROQ, CEREBRAS]}


def routing(**fields: Any) -> RoutingInForce:
    return RoutingInForce(*parse_policy({"tiers": TIERS, "last_resort": [], **fields}, CATALOG))


def test_the_same_policy_comes_to_what_was_recorded():
    found = preview(traffic(a_day(count=200)), routing(), routing(), ["groq", "cerebras"])
    error = found.error
    assert (found.recorded.turns, found.recorded.failed, found.before.failed) == (200, 0, 0)
    assert error.cost == pytest.approx(0.0, abs=0.001)
    assert error.p50 == pytest.approx(0.0, abs=0.11)
    assert error.p95 == pytest.approx(0.0, abs=0.11)
    assert (error.failed, error.moved) == (0.0, 0.0)
    assert found.before == found.after
    assert found.recorded.tiers == {"worker": {"groq": 200}}


def test_a_recorded_outage_is_one_in_the_simulation():
    recorded = traffic(a_day(count=200, down=(3000.0, 6000.0)))
    own = PolicyTrial(recorded, routing(), ["groq", "cerebras"])
    (outage,) = own.observed.providers["groq"].outages
    assert (outage.begins, outage.lasts, outage.how) == (2999.0, 3000.0, "refuses")
    report = own.under(routing())
    assert report.failed == 0
    assert own.recorded.providers == {"groq": 150, "cerebras": 50}
    assert report.providers["cerebras"].answers == pytest.approx(50, abs=20)  # its breaker rests before it recovers
    alone = own.under(routing(tiers={"worker": [GROQ]}))
    assert alone.failed == pytest.approx(50, abs=2)  # a turn waits a little for the recovery


def test_another_policy_costs_what_its_models_cost():
    found = preview(traffic(a_day(count=60)), routing(), routing(tiers={"worker": [CEREBRAS, GROQ]}), ["cerebras"])
    assert found.after.providers == {"cerebras": 60}
    assert found.after.cost > found.before.cost > 0
    assert any("never asked" in text and "cerebras" in text for text in found.assumptions)
    drained = routing()._replace(control=NOTHING_SET.holding(["groq"], OperatorHold("drained")))
    gone = preview(traffic(a_day(count=60)), routing(), drained, ["cerebras"])
    assert gone.after.providers == {"cerebras": 60}


def test_a_failed_call_is_billed_as_much_as_the_recorded_ones():
    record = Record()
    for number in range(400):
        at = number * 60.0
        if number % 4:
            record.answered(at, 1.0)
            continue
        record.begin(at)
        record.call(at, 2.0, GROQ, "BadReply", lost=5000)
        record.call(at + 2.0, 1.0, CEREBRAS)
        record.end(at + 3.0, CEREBRAS, Usage(900, output=300))
    found = preview(traffic(record), routing(), routing(tiers={"worker": [CEREBRAS, GROQ]}), [])
    assert found.recorded.cost > 500_000
    assert abs(found.error.cost or 1.0) < 0.2
    assert found.after.cost < 500_000, "who asks the other provider loses nothing at this one"


def test_refusals_that_a_limit_explains_come_with_the_load():
    record, answered = Record(), list[float]()
    for number in range(300):
        at = number * 1.5  # 40 a minute, of which 15 are let in
        answered = [each for each in answered if each > at - 60.0]
        if len(answered) < 15:
            answered.append(at)
            record.answered(at, 1.0)
        else:
            record.begin(at)
            record.call(at, 0.05, GROQ, "RateLimited")
            record.call(at + 0.05, 1.0, CEREBRAS)
            record.end(at + 1.05, CEREBRAS, USUAL)
    trial = PolicyTrial(traffic(record), routing(), [])
    (limit,) = trial.observed.providers["groq"].hidden
    assert (limit.amount, limit.window, limit.model) == (15, Rolling(60.0), "openai/gpt-oss-20b")
    halved = trial.under(routing(strategy="weighted", weights={"groq": 0.3, "cerebras": 0.7}))
    assert halved.providers["groq"].errors == {}
    assert trial.under(routing()).providers["groq"].errors["RateLimited"] > 5


def test_faults_here_and_there_are_a_share_of_the_calls():
    record, dice = Record(), Random(3)  # dice, no secret
    for number in range(400):
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
    assert model.errors["server"] == pytest.approx(0.3, abs=0.06)
    assert model.error_seconds == {"server": 2.0}


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
