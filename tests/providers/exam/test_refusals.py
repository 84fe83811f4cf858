"""The failover exam, 1 to 4 and 25: what providers say of limits, and what is made of it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import pytest

from providers.catalog.model import Limit
from providers.errors import AllAttemptsFailed, NoRoute, QuotaSpent
from providers.limits.ledger.sqlite import SqliteLedger
from providers.routing.health import RATE_LIMIT_HOLD_S
from providers.windows import Fixed
from tests.loopback import ANSWER
from tests.providers.exam.lab import PATIENT, Lab, health, within

pytestmark = pytest.mark.anyio


async def test_01_rate_limit_with_retry_after_is_honoured_and_never_hit_early(lab: Lab):
    async with lab.manager(lab.provider("only", "429=0.4", "ok"), timeouts=PATIENT) as manager:
        first = await lab.ask(manager)
        assert [a.error for a in first.attempts] == ["RateLimited", None]
        refused, answered = lab.to("only")
        assert answered.at - refused.at >= 0.4
        assert await lab.booked(manager, "only") == (2, 19)
    async with lab.manager(lab.provider("busy", "429=0.4", "ok"), lab.provider("spare", "ok")) as manager:
        assert (await lab.ask(manager)).provider == "spare"
        many = await lab.ask_at_once(manager, 20)
        assert [answer.provider for answer in many] == ["spare"] * 20
        assert len(lab.to("busy")) == 1
        lab.skip(0.4)
        assert (await lab.ask(manager)).provider == "busy"


async def test_01_of_two_answers_the_later_one_says_when(lab: Lab):
    async with lab.manager(lab.provider("only", "429=0.2", "429=0.3", "ok"), timeouts=PATIENT) as manager:
        answer = await lab.ask(manager)
        assert [a.error for a in answer.attempts] == ["RateLimited", "RateLimited", None]
    one, two, three = lab.to("only")
    assert two.at - one.at >= 0.2
    assert three.at - two.at >= 0.3


async def test_02_rate_limit_without_retry_after_is_left_alone_for_a_while(lab: Lab):
    async with lab.manager(lab.provider("busy", "429-bare", "ok"), lab.provider("spare", "ok")) as manager:
        answers = [(await lab.ask(manager)).provider for _ in range(5)]
        assert answers == ["spare"] * 5
        assert manager.fleet.states["busy/m"].breaker.faults == 0
        lab.skip(RATE_LIMIT_HOLD_S)
        assert (await lab.ask(manager)).provider == "busy"
    assert lab.calls == ["busy", *["spare"] * 5, "busy"]


async def test_03_a_spent_day_costs_one_call_until_its_reset(lab: Lab, tmp_path):
    lab.ledger.open.clear()
    providers = (lab.provider("daily", "day-spent=2h", "ok"), lab.provider("spare", "ok"))
    async with lab.manager(*providers) as first, lab.manager(*providers) as second, AsyncExitStack() as ledgers:
        for manager in (first, second):  # two processes of one machine
            manager.reservations.ledger = ledger = SqliteLedger(tmp_path / "limits")
            ledgers.push_async_callback(ledger.aclose)
            assert [(await lab.ask(manager)).provider for _ in range(10)] == ["spare"] * 10
        assert lab.calls.count("daily") == 1
        lab.skip(2 * 3600 - 60)
        assert (await lab.ask(second)).provider == "spare"
        lab.skip(61)
        assert (await lab.ask(second)).provider == "daily"
    assert lab.calls.count("daily") == 2


async def test_04_a_bill_that_is_not_paid_is_not_retried_and_shuts_the_account(lab: Lab):
    async with lab.manager(lab.provider("unpaid", "unpaid", "ok")) as manager:
        with pytest.raises(AllAttemptsFailed) as failed:
            await lab.ask(manager)
        assert [type(error) for error in failed.value.exceptions] == [QuotaSpent]
        lab.skip(30 * 86400.0)
        with pytest.raises(NoRoute) as refused:
            await lab.ask(manager)
        assert refused.value.earliest is None
        assert "account is shut" in refused.value.reasons["unpaid/m"].text
        assert lab.calls == ["unpaid"]
        manager.fleet.reopen("unpaid")
        assert (await lab.ask(manager)).text == ANSWER


async def test_25_with_quota_gone_everywhere_a_turn_waits_where_the_reset_is_in_time(lab: Lab):
    window = 0.6
    limits = (Limit("requests", 1, Fixed(window)),)
    providers = [lab.provider(name, "ok", limits=limits) for name in "ab"]
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        lab.skip(window - lab.clock() % window)  # to the beginning of a window
        began = lab.clock()
        assert [(await lab.ask(manager)).provider for _ in range(2)] == ["a", "b"]
        with pytest.raises(NoRoute) as refused:
            await lab.ask(manager, within(0.05))
        assert refused.value.earliest == pytest.approx(began + window, abs=0.01)
        assert set(refused.value.reasons) == {"a/m", "b/m"}
        assert len(lab.calls) == 2, "who cannot be in time is told at once, and nobody is asked"
        waited = time.monotonic()
        assert (await lab.ask(manager, within(30))).text == ANSWER
        assert lab.clock() >= began + window
        assert time.monotonic() - waited < 10
    assert len(lab.calls) == 3


async def test_25_the_providers_own_word_of_a_reset_is_waited_for_too(lab: Lab):
    providers = [lab.provider("a", "429=20", "ok"), lab.provider("b", "429=0.3", "ok")]
    async with lab.manager(*providers, timeouts=PATIENT) as manager:
        assert (await lab.ask(manager)).provider == "b"
        before = health(manager, "b")
    a, b, again = lab.loopback.requests
    assert [lab.calls[0], lab.calls[1], lab.calls[2]] == ["a", "b", "b"]
    assert again.at - b.at >= 0.3
    assert a.at <= b.at
    assert before[0].faults == 0
