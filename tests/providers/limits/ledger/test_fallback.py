"""A process whose shared ledger is down: a bounded share, events, and what was used is booked afterwards."""

from __future__ import annotations

import pytest

from providers.events import LedgerLost, LedgerRegained
from providers.limits.counter import LimitKey
from providers.limits.ledger import LedgerDown
from providers.limits.ledger.fallback import RETRY_S, FallbackLedger
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.reserve import NoRoom
from providers.windows import Fixed, Paced, Rolling

pytestmark = pytest.mark.anyio
NOW = 1_795_176_000.0
METER = LimitKey("k", 40, Rolling(60))


class Flaky(MemoryLedger):
    """Shared memory that can be unplugged."""

    down = False
    asked = 0

    def __getattribute__(self, name):
        if name in ("reserve", "settle", "spend", "observe", "usage"):
            self.asked += 1
            if self.down:
                raise LedgerDown("unplugged")
        return super().__getattribute__(name)


@pytest.fixture
def shared() -> Flaky:
    return Flaky()


async def admitted(ledger: FallbackLedger, now: float, meter: LimitKey = METER, amount: float = 1) -> int:
    granted = 0
    while granted < 100:
        answer = await ledger.reserve([(meter, amount)], f"{now}-{granted}", now, 60)
        if isinstance(answer, NoRoom):
            break
        await ledger.settle([(meter, amount)], f"{now}-{granted}", now)
        granted += 1
    return granted


async def used(ledger: MemoryLedger, now: float, meter: LimitKey = METER) -> float:
    return (await ledger.usage([meter], now))[0].used


async def test_each_process_goes_on_with_its_share(shared):
    shared.down = True
    processes = [FallbackLedger(shared, share=0.25) for _ in range(4)]
    assert [await admitted(process, NOW) for process in processes] == [10, 10, 10, 10]


async def test_a_call_larger_than_the_share_may_go_alone(shared):
    shared.down = True
    assert await admitted(FallbackLedger(shared), NOW, amount=30) == 1


async def test_a_spacing_grows_by_the_share(shared):
    shared.down = True
    ledger, meter = FallbackLedger(shared, share=0.25), LimitKey("p", 1, Paced(0.5))
    assert await admitted(ledger, NOW, meter) == 1
    assert (await ledger.reserve([(meter, 1)], "x", NOW, 60)).until == NOW + 2


async def test_it_says_so_and_recovers_and_pays(shared):
    events = []
    ledger = FallbackLedger(shared, emit=events.append)
    assert await ledger.reserve([(METER, 1)], "before", NOW, 60) is None
    shared.down = True
    await ledger.settle([(METER, 1)], "before", NOW)  # its lease expires: booked whole
    assert await admitted(ledger, NOW) == 10
    shared.down = False
    assert await ledger.usage([METER], NOW + 1) != await shared.usage([METER], NOW + 1)  # not asked again yet
    assert await admitted(ledger, NOW + RETRY_S) == 29
    assert events == [LedgerLost("unplugged", 0.25), LedgerRegained()]
    assert await used(shared, NOW + RETRY_S) == 40


async def test_a_call_that_outlasts_the_outage_is_booked_where_it_belongs(shared):
    ledger = FallbackLedger(shared)
    shared.down = True
    await ledger.reserve([(METER, 7)], "long", NOW, 60)
    shared.down = False
    await ledger.observe(METER, 40, None, NOW + RETRY_S)
    assert await used(shared, NOW + RETRY_S) == 0
    await ledger.settle([(METER, 7)], "long", NOW + RETRY_S + 1)
    assert await used(shared, NOW + RETRY_S + 1) == 7


async def test_an_outage_costs_one_question_in_a_while(shared):
    ledger = FallbackLedger(shared)
    shared.down = True
    await admitted(ledger, NOW)
    assert shared.asked == 1


async def test_the_providers_word_counts_in_the_dark(shared):
    ledger, hold = FallbackLedger(shared), LimitKey("hold", 0, Fixed(86400))
    shared.down = True
    await ledger.observe(hold, -1.0, NOW + 50, NOW)
    assert (await ledger.reserve([(hold, 0.0)], "a", NOW, 60)).until == NOW + 50


async def test_what_is_reset_is_forgotten_in_both(shared):
    ledger = FallbackLedger(shared)
    await admitted(ledger, NOW)
    await ledger.forget([METER])
    assert await used(ledger, NOW) == 0
