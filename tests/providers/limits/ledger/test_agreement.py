"""All ledgers give the same answers: one state machine drives each of them beside the pure model."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from providers.limits.counter import LimitKey
from providers.limits.ledger.memory import MemoryLedger
from providers.limits.ledger.postgres.ledger import PostgresLedger
from providers.limits.ledger.redis import RedisLedger
from providers.limits.ledger.sqlite import SqliteLedger
from providers.windows import Calendar, Fixed, Paced, Rolling
from tests.patience import PATIENCE_S
from tests.providers.limits import counts

pytestmark = pytest.mark.property
ZONE = "America/Los_Angeles"
METERS = [
    LimitKey("rolling", 5, Rolling(64)),
    LimitKey("short", 3.5, Rolling(0.75)),
    LimitKey("fixed", 7, Fixed(60)),
    LimitKey("day", 11, Calendar("day", ZONE)),
    LimitKey("month", 300, Calendar("month")),
    LimitKey("pace", 1, Paced(0.5)),
    LimitKey("burst", 60, Paced(60, burst=4)),
    LimitKey("hold", 0, Fixed(86400)),
]
# Sums of quarters are exact: no ledger's rounding can hide behind another's.
quarters = st.integers(0, 12).map(lambda n: n / 4)
some_meters = st.lists(st.sampled_from(METERS), min_size=1, max_size=5, unique_by=lambda meter: meter.key)


class Machine(RuleBasedStateMachine):
    def __init__(self, portal, make) -> None:
        super().__init__()
        self.call, self.ledger = portal.call, make()
        self.state: counts.State = {}
        self.now = datetime(2026, 11, 1, 0, 58, tzinfo=ZoneInfo(ZONE)).timestamp()  # an hour before an hour comes twice
        self.names = map(str, itertools.count())
        self.out: dict[str, list[tuple[LimitKey, float]]] = {}

    def teardown(self):
        self.call(self.ledger.aclose)

    @initialize()
    def nothing_is_used(self):
        self.call(self.ledger.forget, METERS)

    @rule(seconds=st.sampled_from([0.25, 1.0, 7.5, 63.75, 65.0, 1800.0, 86_400.0]) | st.floats(0, 4))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(seconds=st.floats(0, 100))
    def the_clock_steps_back(self, seconds):
        self.now -= seconds

    @rule(meters=some_meters, amount=quarters, ttl=st.sampled_from([0.5, 30.0, 1e6]))
    def a_call_reserves(self, meters, amount, ttl):
        amounts = [(meter, amount if meter.amount else 0.0) for meter in meters]
        lease = next(self.names)
        answer = self.call(self.ledger.reserve, amounts, lease, self.now, ttl)
        self.state, refused = counts.reserve(self.state, amounts, lease, self.now, self.now + ttl)
        assert answer == refused
        if refused is None:
            self.out[lease] = amounts

    @rule(data=st.data(), meters=some_meters, ttl=st.sampled_from([0.5, 30.0, 1e6]))
    def a_call_reserves_again(self, data, meters, ttl):
        lease = data.draw(st.sampled_from([*self.out, "unheard"]))
        amounts = self.out.get(lease, [(meter, 0.25 if meter.amount else 0.0) for meter in meters])
        answer = self.call(self.ledger.reserve, amounts, lease, self.now, ttl)
        self.state, refused = counts.reserve(self.state, amounts, lease, self.now, self.now + ttl)
        assert answer == refused
        if refused is None:
            self.out[lease] = amounts

    @rule(data=st.data(), amount=quarters, again=st.booleans())
    def a_call_ends(self, data, amount, again):
        lease = data.draw(st.sampled_from([*self.out, "unknown"]))
        amounts = [(meter, amount) for meter, _ in self.out.get(lease, [(METERS[0], 1)])]
        self.call(self.ledger.settle, amounts, lease, self.now)
        self.state = counts.settle(self.state, amounts, lease, self.now)
        if not again:
            self.out.pop(lease, None)

    @rule(meters=some_meters, amount=quarters)
    def something_was_used_elsewhere(self, meters, amount):
        amounts = [(meter, amount) for meter in meters]
        self.call(self.ledger.spend, amounts, self.now)
        self.state = counts.spend(self.state, amounts, self.now)

    @rule(meter=st.sampled_from(METERS), left=quarters, ahead=st.sampled_from([0.0, 0.5, 30.0, 1e5]))
    def the_provider_says_what_is_left(self, meter, left, ahead):
        remaining = left if meter.amount else -1.0
        now = self.now = float(round(self.now * 4)) / 4  # what is relative to the server's clock stays exact
        self.call(self.ledger.observe, meter, remaining, now + ahead, now)
        self.state = counts.observe(self.state, meter, remaining, now + ahead, now)

    @rule(ahead=st.sampled_from([1.0, 60.0, 90.0, 1e5]))
    def the_provider_shuts_the_door(self, ahead):
        now = self.now = float(round(self.now * 4)) / 4
        self.call(self.ledger.observe, METERS[-1], -1.0, now + ahead, now)
        self.state = counts.observe(self.state, METERS[-1], -1.0, now + ahead, now)

    @rule()
    def all_say_the_same(self):
        expected = [counts.view(self.state, meter, self.now) for meter in METERS]
        assert self.call(self.ledger.usage, METERS, self.now) == expected

    @rule(meter=st.sampled_from(METERS))
    def one_is_reset(self, meter):
        self.call(self.ledger.forget, [meter])
        self.state = {key: count for key, count in self.state.items() if key != meter.key}


def drive(make) -> None:
    with start_blocking_portal("asyncio") as portal:
        run_state_machine_as_test(
            lambda: Machine(portal, make),
            settings=settings(
                max_examples=settings().max_examples // 4,
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
            ),
        )


def test_memory_agrees():
    drive(MemoryLedger)


def test_sqlite_agrees(tmp_path: Path):
    drive(lambda: SqliteLedger(tmp_path / "limits.sqlite3"))


def test_redis_agrees(shared_redis):
    drive(lambda: RedisLedger(shared_redis.url, own_clock=True, timeout_s=PATIENCE_S))


def test_postgres_agrees(postgres_url):
    drive(lambda: PostgresLedger(postgres_url, own_clock=True, timeout_s=PATIENCE_S))
