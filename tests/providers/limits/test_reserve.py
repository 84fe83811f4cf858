"""The limit model: what is counted, when room comes back, and that nothing ever gets past a limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from providers.limits.counter import LimitKey
from providers.windows import BUCKETS, Calendar, Fixed, Paced, Rolling, index, start
from tests.providers.limits.counts import check, observe, refund, reserve, settle, view

NOON = 1_795_176_000.0  # 2026-11-20T12:00:00Z
MINUTE = LimitKey("a/minute", 3, Rolling(60))
DAY = LimitKey("a/day", 5, Calendar("day"))
PACE = LimitKey("a/pace", 1, Paced(0.5))
WINDOWS = {"rolling": Rolling(60), "fixed": Fixed(60), "day": Calendar("day"), "month": Calendar("month")}


def spent(state, amounts, at, lease="x"):
    """Reserve and settle at once."""
    state, refused = reserve(state, amounts, lease, at, at + 100)
    assert refused is None
    return settle(state, amounts, lease, at)


class TestReserving:
    def test_all_limits_of_one_call_or_none(self):
        state = {}
        for n in range(3):
            state = spent(state, [(MINUTE, 1), (DAY, 1)], NOON, str(n))
        after, refused = reserve(state, [(DAY, 1), (MINUTE, 1)], "late", NOON, NOON + 9)
        assert refused is not None
        assert refused.meter is MINUTE
        assert after is state
        assert view(state, DAY, NOON).used == 3

    @pytest.mark.parametrize("name", WINDOWS)
    def test_the_instant_of_a_refusal_is_exact(self, name):
        meter = LimitKey("k", 10, WINDOWS[name])
        state = spent({}, [(meter, 4)], NOON, "a")
        state = spent(state, [(meter, 5)], NOON + 30, "b")
        refused = check(state, [(meter, 3)], NOON + 31)
        assert refused is not None
        assert check(state, [(meter, 3)], refused.until) is None
        assert check(state, [(meter, 3)], refused.until - 0.001) is not None

    def test_a_rolling_window_is_at_most_one_bucket_too_long(self):
        for offset in (0.0, 0.3, 0.999):
            state = spent({}, [(MINUTE, 3)], NOON + offset)
            until = check(state, [(MINUTE, 1)], NOON + 1).until
            assert 0 <= until - (NOON + offset + 60) <= 60 / BUCKETS

    def test_the_last_limit_to_have_room_is_named(self):
        state = spent({}, [(MINUTE, 3), (DAY, 5)], NOON)
        refused = check(state, [(DAY, 1), (MINUTE, 1)], NOON)
        assert refused.meter is DAY
        assert datetime.fromtimestamp(refused.until, ZoneInfo("UTC")).isoformat() == "2026-11-21T00:00:00+00:00"

    def test_more_than_the_limit_is_never_possible(self):
        assert check({}, [(MINUTE, 4)], NOON).until == inf

    def test_where_calls_that_are_out_fill_a_limit_any_instant_may_make_room(self):
        state, _ = reserve({}, [(MINUTE, 2)], "out", NOON, NOON + 50)
        assert check(state, [(MINUTE, 2)], NOON + 1).until == NOON + 1

    def test_a_refund_gives_everything_back_once(self):
        state, _ = reserve({}, [(MINUTE, 3)], "a", NOON, NOON + 50)
        state = refund(state, [MINUTE], "a", NOON + 1)
        assert view(state, MINUTE, NOON + 1).used == 0
        assert settle(state, [(MINUTE, 3)], "a", NOON + 2) is not None
        assert view(settle(state, [(MINUTE, 3)], "a", NOON + 2), MINUTE, NOON + 2).used == 0

    def test_what_a_call_came_to_replaces_what_it_held(self):
        state, _ = reserve({}, [(MINUTE, 3)], "a", NOON, NOON + 50)
        assert view(settle(state, [(MINUTE, 1)], "a", NOON + 1), MINUTE, NOON + 1).used == 1
        over = settle(state, [(MINUTE, 7)], "a", NOON + 1)
        assert view(over, MINUTE, NOON + 1).used == 7
        assert view(over, MINUTE, NOON + 1).left == 0

    def test_a_lease_that_expires_is_booked_whole_as_of_then(self):
        state, _ = reserve({}, [(MINUTE, 3)], "dead", NOON, NOON + 20)
        assert check(state, [(MINUTE, 1)], NOON + 79) is not None
        assert check(state, [(MINUTE, 1)], NOON + 81) is None
        assert settle(state, [(MINUTE, 0)], "dead", NOON + 30).get(MINUTE.key) == state[MINUTE.key]

    def test_memory_is_bounded(self):
        meter, state = LimitKey("k", 1e9, Rolling(60)), {}
        for n in range(2000):
            state = spent(state, [(meter, 1)], NOON + n * 0.37)
        assert len(state["k"].spent) <= 2 * BUCKETS + 2
        assert not state["k"].leases


class TestPacing:
    def test_calls_are_spaced(self):
        at, state, times = NOON, {}, []
        while len(times) < 4:
            state, refused = reserve(state, [(PACE, 1)], "x", at, at + 9)
            if refused is None:
                times.append(at)
            else:
                at = refused.until
        assert [t - NOON for t in times] == [0, 0.5, 1, 1.5]

    def test_a_burst_comes_at_once_then_evenly(self):
        meter, state, granted = LimitKey("k", 60, Paced(60, burst=3)), {}, 0
        for n in range(100):
            state, refused = reserve(state, [(meter, 1)], "x", NOON + n / 10, NOON + 99)
            granted += refused is None
        assert granted == 3 + 9

    def test_a_clock_that_stepped_back_an_hour_costs_one_spacing(self):
        state, _ = reserve({}, [(PACE, 1)], "x", NOON, NOON + 9)
        assert check(state, [(PACE, 1)], NOON - 3600).until == NOON - 3599.5

    def test_a_refund_does_not_let_two_calls_come_closer(self):
        state, _ = reserve({}, [(PACE, 1)], "x", NOON, NOON + 9)
        assert refund(state, [PACE], "x", NOON + 0.1) is not None
        assert check(refund(state, [PACE], "x", NOON + 0.1), [(PACE, 1)], NOON + 0.1).until == NOON + 0.5


class TestAClockThatStepsBack:
    @pytest.mark.parametrize("window", [Fixed(60), Rolling(60), Calendar("day")])
    def test_what_comes_back_counts_no_earlier_than_where_it_was_reserved(self, window):
        meter, began = LimitKey("k", 2, window), start(window, index(window, NOON))
        state, _ = reserve({}, [(meter, 2)], "x", began, began + 9)
        state = settle(state, [(meter, 2)], "x", began - 2)
        assert check(state, [(meter, 1)], began - 2) is not None
        assert check(state, [(meter, 1)], began) is not None


class TestCalendars:
    @pytest.mark.parametrize(
        ("timezone", "now", "midnight"),
        [
            ("UTC", "2026-11-20T23:59:59+00:00", "2026-11-21T00:00:00+00:00"),
            ("America/Los_Angeles", "2026-11-20T23:59:59-08:00", "2026-11-21T00:00:00-08:00"),
            ("America/Los_Angeles", "2026-11-01T00:30:00-07:00", "2026-11-02T00:00:00-08:00"),  # 25 hours
            ("America/Los_Angeles", "2026-03-08T00:30:00-08:00", "2026-03-09T00:00:00-07:00"),  # 23 hours
            ("Africa/Cairo", "2026-04-23T12:00:00+02:00", "2026-04-24T01:00:00+03:00"),  # midnight is skipped
            ("America/Havana", "2026-11-01T00:30:00-04:00", "2026-11-02T00:00:00-05:00"),  # and here comes twice
        ],
    )
    def test_a_day_ends_at_its_own_midnight(self, timezone, now, midnight):
        at, end = datetime.fromisoformat(now).timestamp(), datetime.fromisoformat(midnight).timestamp()
        meter = LimitKey("k", 1, Calendar("day", timezone))
        assert check(spent({}, [(meter, 1)], at), [(meter, 1)], at).until == end

    def test_a_month_ends_with_its_last_day(self):
        meter = LimitKey("k", 1, Calendar("month"))
        until = check(spent({}, [(meter, 1)], NOON), [(meter, 1)], NOON).until
        assert datetime.fromtimestamp(until, ZoneInfo("UTC")).isoformat() == "2026-12-01T00:00:00+00:00"

    @pytest.mark.parametrize("window", [*WINDOWS.values(), Calendar("day", "Africa/Cairo"), Rolling(0.7)])
    def test_a_bucket_starts_at_its_first_instant(self, window):
        for at in (NOON + n * 86_400.7 for n in range(200)):
            number = index(window, at)
            assert start(window, number) <= at < start(window, number + 1)
            assert index(window, start(window, number)) == number


class TestTheProvidersWord:
    def test_it_takes_room_away(self):
        state = observe({}, MINUTE, remaining=1, until=NOON + 30, now=NOON)
        assert view(state, MINUTE, NOON).used == 2
        assert check(state, [(MINUTE, 2)], NOON).until == NOON + 30

    def test_it_never_gives_room(self):
        state = spent({}, [(MINUTE, 3)], NOON)
        assert observe(state, MINUTE, remaining=3, until=NOON + 1, now=NOON) is state

    def test_our_own_calls_are_not_counted_twice(self):
        state = spent({}, [(MINUTE, 1)], NOON, "a")
        state, _ = reserve(state, [(MINUTE, 1)], "out", NOON, NOON + 9)
        assert observe(state, MINUTE, remaining=1, until=None, now=NOON) is state

    def test_no_word_reaches_further_than_a_window(self):
        state = observe({}, MINUTE, remaining=0, until=NOON + 1e9, now=NOON)
        assert check(state, [(MINUTE, 1)], NOON).until == NOON + 60

    def test_without_an_instant_it_holds_for_the_window(self):
        state = observe({}, DAY, remaining=0, until=None, now=NOON)
        assert check(state, [(DAY, 1)], NOON).until == start(DAY.window, index(DAY.window, NOON) + 1)

    def test_a_meter_of_nothing_is_a_hold(self):
        held = LimitKey("hold", 0, Fixed(30 * 86400))
        assert check({}, [(held, 0)], NOON) is None
        state = observe({}, held, remaining=-1, until=NOON + 5000, now=NOON)
        assert check(state, [(held, 0)], NOON).until == NOON + 5000
        assert check(state, [(held, 0)], NOON + 5000) is None


class Machine(RuleBasedStateMachine):
    """Calls in any interleaving on a clock that may step back; each may reach the provider whenever it is out."""

    def __init__(self) -> None:
        super().__init__()
        zone = "America/Los_Angeles"
        self.meters = {
            "rolling": LimitKey("r", 4, Rolling(60)),
            "fixed": LimitKey("f", 5, Fixed(60)),
            "day": LimitKey("d", 9, Calendar("day", zone)),
        }
        self.now = datetime(2026, 11, 1, 23, 58, tzinfo=ZoneInfo(zone)).timestamp()
        self.true = 0.0  # seconds that really passed
        self.state = {}
        self.out: dict[str, tuple[int, float, float]] = {}  # lease -> amount, stamp, true time
        self.calls: list[tuple[int, float, float]] = []  # amount, stamp, true time of arrival
        self.steps = 0.0

    @rule(seconds=st.sampled_from([0.0, 0.01, 1.0, 7.3, 59.0, 60.0, 61.0, 3600.0, 43_200.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.true += seconds

    @rule(seconds=st.floats(0, 59))
    def the_clock_steps_back(self, seconds):
        if self.steps + seconds < 60:  # as far as is promised: a window of the shortest limit
            self.now -= seconds
            self.steps += seconds

    @rule(amount=st.integers(1, 3))
    def a_call_goes_out(self, amount):
        lease = str(len(self.out) + len(self.calls) + self.true)
        amounts = [(meter, amount) for meter in self.meters.values()]
        self.state, refused = reserve(self.state, amounts, lease, self.now, self.now + 1e6)
        if refused is None:
            self.out[lease] = (amount, self.now, self.true)
        else:
            assert refused.until >= self.now
            assert check(self.state, amounts, self.now) == refused

    @precondition(lambda self: self.out)
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.5, 1.0]), early=st.booleans())
    def a_call_comes_back(self, data, share, early):
        lease = data.draw(st.sampled_from(sorted(self.out)))
        held, stamp, true = self.out.pop(lease)
        amount = round(held * share)
        self.state = settle(self.state, [(meter, amount) for meter in self.meters.values()], lease, self.now)
        self.calls.append((amount, stamp, true) if early else (amount, self.now, self.true))

    @invariant()
    def no_rolling_window_is_overfull(self):
        all_calls = [*self.calls, *self.out.values()]
        for _, _, end in all_calls:
            total = sum(amount for amount, _, true in all_calls if end - 60 < true <= end)
            assert total <= self.meters["rolling"].amount

    @invariant()
    def no_span_or_day_is_overfull(self):
        for name in ("fixed", "day"):
            meter, totals = self.meters[name], {}
            for amount, stamp, _ in [*self.calls, *self.out.values()]:
                number = index(meter.window, stamp)
                totals[number] = totals.get(number, 0) + amount
            assert max(totals.values(), default=0) <= meter.amount


Machine.TestCase.settings = settings(stateful_step_count=40)
TestNeverPastALimit = Machine.TestCase


def test_a_count_that_is_tidied_late_says_the_same():
    state = spent({}, [(MINUTE, 2)], NOON)
    stale = {MINUTE.key: replace(state[MINUTE.key])}
    assert view(stale, MINUTE, NOON + 500).used == 0
