"""The failover exam: a clock that is set by an hour while a turn waits, changes providers, or hears an answer."""

from __future__ import annotations

import time

import anyio
import pytest

from providers.catalog.model import Limit
from tests.loopback import ANSWER, Seen
from tests.providers.exam.lab import PATIENT, PLENTY, Lab, within

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("step", [3600.0, -3600.0], ids=["ahead", "back"])]


def stepping(lab: Lab, step: float, *modes: str):
    """Return a rule that sets the clock at the first call, then meets each call by its mode."""
    left = list(modes)

    def rule(seen: Seen) -> str:
        if len(left) == len(modes):
            lab.skip(step)
        return left.pop(0) if len(left) > 1 else left[0]

    return rule


async def test_30_set_before_a_hop(lab: Lab, step: float):
    providers = (lab.provider("bad", rule=stepping(lab, step, "500", "500")), lab.provider("good", "ok"))
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        assert (await lab.ask(manager)).provider == "good"
        assert manager.fleet.states["bad/m"].breaker.faults == 1


async def test_30_set_before_a_wait(lab: Lab, step: float):
    began = time.monotonic()
    only = lab.provider("only", rule=stepping(lab, step, "429=0.4", "ok"))
    async with lab.manager(only, timeouts=PATIENT) as manager:
        answer = await lab.ask(manager)
        assert (answer.text, len(answer.attempts)) == (ANSWER, 2)
    refused, answered = lab.to("only")
    assert answered.at - refused.at >= 0.4
    assert time.monotonic() - began < 20


async def test_30_set_while_an_answer_is_waited_for(lab: Lab, step: float):
    only = lab.provider("only", rule=stepping(lab, step, "slow=0.3", "ok"))
    async with lab.manager(only, timeouts=PATIENT) as manager:
        answer = await lab.ask(manager, within(20))
        assert (answer.text, len(answer.attempts)) == (ANSWER, 1)
        assert 0 < answer.latency_ms < 20_000


@pytest.mark.parametrize("limits", [(), PLENTY], ids=["free", "counted"])
async def test_30_set_during_a_hold(lab: Lab, step: float, limits: tuple[Limit, ...]):
    providers = (lab.provider("busy", "429=0.2", "ok", limits=limits), lab.provider("spare", "ok"))
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        assert (await lab.ask(manager)).provider == "spare"
        lab.skip(step)
        await anyio.sleep(0.2)  # the hold must really pass: its clock is no longer that of the manager
        assert (await lab.ask(manager)).provider == "busy", "the hold is over, by either clock"


@pytest.mark.long  # each waits for seconds
async def test_30_set_while_all_are_down(lab: Lab, step: float):
    """Breakers are open and a turn waits for a probe."""
    only = lab.provider("only", rule=stepping(lab, step, "500", "500", "500", "ok"))
    async with lab.manager(only, timeouts=PATIENT) as manager:
        answer = await lab.ask(manager)
        assert [a.error for a in answer.attempts] == ["ServerFault"] * 3 + [None]
        lab.skip(-step)
        assert (await lab.ask(manager)).text == ANSWER
