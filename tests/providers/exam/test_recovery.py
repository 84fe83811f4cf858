"""The failover exam, 20 to 24: outages, recoveries, slowness, and callers who leave."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise

import anyio
import anyio.to_thread
import pytest

from providers.errors import AllAttemptsFailed, NoRoute
from providers.messages import Needs
from providers.policy.model import Policy
from providers.routing.choice import PROBE_GAP_S
from providers.routing.health import CLOSED, FAULTS_TO_OPEN, FIRST_REST_S, FIRST_ROOM, PROBE_EVERY_S
from providers.routing.retry_budget import FLOOR, WINDOW_S
from tests.loopback import ANSWER, WORDS, Seen
from tests.patience import PATIENCE_S
from tests.providers.exam.lab import ASK, PATIENT, Lab, within

pytestmark = pytest.mark.anyio

TRIES = 20
"""On a busy machine the server may see late what was done in time."""


@pytest.mark.long
async def test_20_with_everything_down_an_outage_does_not_multiply_traffic(lab: Lab):
    callers = 200
    providers = [lab.provider("full", "503"), lab.provider("sick", "torn=0"), lab.provider("late", "500")]
    began = time.monotonic()

    def most(turns: int) -> float:
        passed = time.monotonic() - began
        windows, probes = 1 + passed // WINDOW_S, 3 * passed  # one, and few, but on a busy machine
        return turns * (1 + Policy({}).retry_budget) + FLOOR * windows + probes

    soon = within(WINDOW_S * 0.4)  # neither a breaker nor the budget of retries lets anyone through by then
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        # All at once: no breaker has seen anything yet, the budget of retries alone holds them back.
        failures = await lab.ask_at_once(manager, callers, soon)
        calls = len(lab.calls)
        assert FLOOR < calls <= most(callers)
        assert {type(failure) for failure in failures} <= {AllAttemptsFailed, NoRoute}
        # Whoever comes later asks nobody but for a probe a second, and hears each reason and when to come back.
        failures = [failure for _ in range(100) for failure in await lab.ask_at_once(manager, 1, soon)]
        assert len(lab.calls) - calls <= 20 + most(0)
        refused = next(failure for failure in failures if isinstance(failure, NoRoute))
        assert set(refused.reasons) == {"full/m", "sick/m", "late/m"}
        states = manager.fleet.states.values()
        assert all(state.breaker.open_until > lab.clock() + 20 for state in states), "that is for others' turns"
        assert refused.earliest <= lab.clock() + PROBE_EVERY_S
        assert "ask again from 20" in str(refused)


async def test_20_the_error_lists_each_cause_and_when_to_come_back(lab: Lab):
    async with lab.manager(lab.provider("full", "429=60"), lab.provider("gone", "day-spent=2h")) as manager:
        with pytest.raises(AllAttemptsFailed) as failed:
            await lab.ask(manager)
        assert failed.value.earliest == pytest.approx(lab.clock() + 60, abs=2)
    assert lab.calls == ["full", "gone"]
    for cause in ("full/m: slow down (HTTP 429)", "gone/m: Limit of requests per day", "ask again from 20"):
        assert cause in str(failed.value)


async def open_breaker(lab: Lab, manager, name: str) -> None:
    for _ in range(FAULTS_TO_OPEN):
        with pytest.raises(AllAttemptsFailed):
            await lab.ask(manager, within(30))  # one attempt alone, however slow the machine is
    assert manager.fleet.states[name].breaker.state(lab.clock()) == "open"


@pytest.mark.parametrize(
    "mode", ["reset", pytest.param("torn=0", marks=pytest.mark.long), pytest.param("500", marks=pytest.mark.long)]
)
async def test_21_a_lone_provider_is_asked_again_after_waits_that_grow(lab: Lab, mode: str):
    async with lab.manager(lab.provider("only", mode, mode, "ok"), timeouts=PATIENT) as manager:
        answer = await lab.ask(manager)
        assert (answer.text, len(answer.attempts)) == (ANSWER, 3)
        assert manager.fleet.states["only/m"].breaker == CLOSED
    first, second, third = (seen.at for seen in lab.to("only"))
    assert second - first >= 0.25
    assert third - second >= 0.75


async def test_21_where_nobody_else_is_an_open_breaker_is_probed_after_a_second(lab: Lab):
    """A crowd meets a moment's trouble: it is answered behind one probe."""
    began: list[float] = []

    def rule(seen: Seen) -> str:
        began.append(seen.at)
        return "500" if seen.at < began[0] + 0.5 else "ok"

    async with lab.manager(lab.provider("only", rule=rule), timeouts=PATIENT) as manager:
        ends = await lab.ask_at_once(manager, 30)
    assert [end for end in ends if isinstance(end, Exception)] == []
    assert len(lab.calls) <= 2 * 30 + 10


@pytest.mark.long
async def test_21_after_a_recovery_one_probe_goes_out_for_a_thousand_waiters(lab: Lab):
    waiters, slow = 1000, 0.4
    modes = [*["503"] * FAULTS_TO_OPEN, f"slow={slow}"]
    async with lab.manager(lab.provider("only", *modes), attempts_per_turn=1, timeouts=PATIENT) as manager:
        await open_breaker(lab, manager, "only/m")
        lab.skip(FIRST_REST_S - 0.5)
        began = time.monotonic()
        ends = await lab.ask_at_once(manager, waiters, within(60))
    assert [end for end in ends if isinstance(end, Exception)] == []
    arrivals = [seen.at for seen in lab.to("only")[FAULTS_TO_OPEN:]]
    assert len(arrivals) == waiters
    probe, *others = arrivals
    # A probe that does not end within a second is followed by another: on a busy machine it may take so long to send.
    early = [at for at in others if at < probe + slow]
    assert len(early) <= (probe + slow - began) // PROBE_GAP_S, "before the first success nobody else goes out"
    answered = min(at for at in others if at >= probe + slow)
    soon = sum(answered <= at < answered + 0.05 for at in others)
    assert soon <= FIRST_ROOM * 2 ** len(early), "then few, and more with each answer"


@pytest.mark.long
async def test_22_a_flapping_provider_is_asked_ever_more_rarely(lab: Lab):
    """It is down, well for one call, down again: each time it is left alone twice as long, and nobody notices."""
    seconds, asked_at = 300, []

    def rule(seen: Seen) -> str:
        asked_at.append(lab.clock())
        well = len(asked_at) > FAULTS_TO_OPEN and (len(asked_at) - FAULTS_TO_OPEN) % 2 == 1
        return "ok" if well else "503"

    async with lab.manager(lab.provider("flaps", rule=rule), lab.provider("spare", "ok")) as manager:
        for _ in range(seconds):
            assert (await lab.ask(manager)).text == ANSWER
            lab.skip(1.0)
    rests = [later - earlier for earlier, later in pairwise(asked_at) if later - earlier > 2]
    assert [round(rest / FIRST_REST_S) for rest in rests] == [1, 2, 4]
    assert lab.calls.count("flaps") == FAULTS_TO_OPEN + 2 * 3
    assert lab.calls.count("spare") == seconds - 3


@pytest.mark.parametrize("strategy", ["tier", pytest.param("latency", marks=pytest.mark.long)])
async def test_23_traffic_moves_off_a_slow_provider_within_a_second(lab: Lab, strategy: str):
    became_slow = math.inf

    def rule(seen: Seen) -> str:
        return "slow=0.8" if seen.at >= became_slow else "ok"

    providers = (lab.provider("first", rule=rule), lab.provider("other", "ok"))
    async with lab.manager(*providers, strategy=strategy, timeouts=PATIENT) as manager:
        for name in ("first/m", "other/m"):  # both are known
            await lab.ask(manager, replace(ASK, needs=Needs(model=name)))
        async with anyio.create_task_group() as load:
            for number in range(80):
                if number == 10:
                    became_slow = time.monotonic()
                load.start_soon(lab.ask, manager)
                await anyio.sleep(0.02)
            load.cancel_scope.cancel()
    late = [name for name, seen in zip(lab.calls, lab.loopback.requests, strict=True) if seen.at > became_slow + 1.0]
    assert len(late) > 5
    assert late.count("first") <= 0.1 * len(late)
    if strategy == "tier":
        assert lab.calls[2:12] == ["first"] * 10, "before that the policy's order held"


async def test_24_a_caller_that_leaves_closes_the_socket_in_100_ms_and_releases_what_it_reserved(lab: Lab):
    took: list[float] = []
    async with lab.manager(lab.provider("only", "stall"), timeouts=PATIENT) as manager:
        for leaves in range(TRIES):
            if lab.how == "stream":
                async with manager.stream(ASK) as deltas:
                    assert (await anext(deltas)).text == WORDS[0]
                    left = time.monotonic()
            else:
                with anyio.move_on_after(0.3) as scope:
                    await lab.ask(manager)
                left = time.monotonic()
                assert scope.cancelled_caught
            assert not lab.ledger.open
            seen = lab.to("only")[leaves]
            assert await anyio.to_thread.run_sync(seen.left.wait, PATIENCE_S)
            took.append(seen.left_at - left)
            if leaves >= 2 and min(took) <= 0.1:
                break
        assert manager.fleet.states["only/m"].in_flight == 0
        assert manager.fleet.states["only/m"].breaker == CLOSED
        requests, tokens = await lab.booked(manager, "only")
        assert requests == len(took)
        assert 0 < tokens <= len(took) * (ASK.input_tokens + ASK.max_output_tokens)
    assert min(took) <= 0.1  # each of them, on a machine that does nothing else
