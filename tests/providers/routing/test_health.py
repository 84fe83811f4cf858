"""The breaker and the holds, on times that the tests choose."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from providers.errors import (
    AuthFailed,
    BadReply,
    BadRequest,
    ContextTooLong,
    Declined,
    Overloaded,
    QuotaSpent,
    RateLimited,
    ServerFault,
    StreamBroken,
    TimedOut,
    Unreachable,
    Unsupported,
)
from providers.policy.model import Timeouts
from providers.routing.health import (
    CLOSED,
    FAULTS_TO_OPEN,
    FIRST_PROBE_S,
    FIRST_REST_S,
    FIRST_ROOM,
    IN_DOUBT_S,
    LONGEST_REST_S,
    PACE_LASTS_S,
    PROBE_EVERY_S,
    Breaker,
    HealthStats,
    hold_until,
    pace_of,
    trips_breaker,
)

PATIENCE = Timeouts()


def tripped(at: float, breaker: Breaker = CLOSED) -> Breaker:
    while breaker.state(at) != "open":
        breaker = breaker.failed(at)
    return breaker


def test_the_third_fault_in_a_row_opens_it():
    breaker = CLOSED.failed(0.0).failed(1.0)
    assert breaker.state(1.0) == "closed"
    assert breaker.failed(2.0).open_until == 2.0 + FIRST_REST_S


def test_a_success_between_faults_starts_the_count_anew():
    assert CLOSED.failed(0.0).failed(1.0).succeeded().failed(2.0).failed(3.0).state(3.0) == "closed"


def test_half_open_admits_one_probe():
    breaker = tripped(0.0)
    assert not breaker.admits(FIRST_REST_S - 0.001)
    assert breaker.admits(FIRST_REST_S)
    assert not breaker.started().admits(FIRST_REST_S)
    assert breaker.started().abandoned().admits(FIRST_REST_S)


def test_a_probe_that_fails_doubles_the_rest():
    assert tripped(0.0).started().failed(100.0).open_until == 100.0 + 2 * FIRST_REST_S


def test_a_probe_that_answers_lets_a_few_through_and_each_answer_twice_as_many():
    breaker, rooms = tripped(0.0).started().succeeded(), []
    while breaker is not CLOSED:
        assert breaker.state(100.0) == "recovering"
        assert breaker.admits(100.0, breaker.room - 1)
        assert not breaker.admits(100.0, breaker.room)
        rooms.append(breaker.room)
        breaker = breaker.succeeded()
    assert rooms == [2, 4, 8, 16, 32]


def test_a_clock_that_is_set_back_does_not_keep_it_open():
    breaker = tripped(100_000.0)
    assert breaker.state(100_001.0) == "open"
    assert breaker.state(13_600.0) == "half-open"


def test_a_fault_on_the_way_back_opens_it_for_twice_as_long():
    back = tripped(0.0).started().succeeded().succeeded()
    assert back.failed(100.0).open_until == 100.0 + 2 * FIRST_REST_S


def test_rests_double_up_to_ten_minutes():
    breaker, now, rests = CLOSED, 0.0, []
    for _ in range(100):
        breaker = tripped(now, breaker)
        rests.append(breaker.open_until - now)
        now = breaker.open_until
    assert rests[:6] == [30, 60, 120, 240, 480, 600]
    assert set(rests[5:]) == {LONGEST_REST_S}


def test_late_failures_of_one_outage_are_one_trip():
    breaker = tripped(5.0)
    assert breaker.failed(6.0, began=4.0).failed(7.0, began=1.0) == breaker


def test_where_nobody_else_answers_a_probe_goes_out_after_a_second_and_then_again_and_again():
    breaker = tripped(0.0)
    assert breaker.early_probe() == FIRST_PROBE_S == 1.0
    for ended in (1.5, 3.0, 29.0):
        breaker = breaker.started().failed(ended, began=ended - 0.1)
        assert breaker.early_probe() == ended + PROBE_EVERY_S
        assert not breaker.probing
    assert (breaker.trips, breaker.open_until) == (1, 29.0 + PROBE_EVERY_S), "they are of the same rest"
    assert breaker.started().succeeded(31.0).room == FIRST_ROOM


def test_an_early_probe_heeds_the_providers_own_word():
    breaker = CLOSED.failed(0.0).failed(0.0).failed(0.0, not_before=20.0)
    assert breaker.early_probe() == 20.0
    assert breaker.is_outage(0.0)


def test_an_outage_is_known_once_a_probe_has_failed_or_takes_too_long():
    breaker = tripped(0.0)
    assert not breaker.is_outage(IN_DOUBT_S)
    assert breaker.is_outage(IN_DOUBT_S + 0.1)
    assert breaker.started().failed(1.2).is_outage(1.2)
    assert not CLOSED.is_outage(0.0)


def test_a_probe_that_hung_through_the_recovery_says_nothing_of_it():
    back = tripped(0.0).started().succeeded(20.0)
    assert back.failed(25.0, began=15.0) == back
    assert back.failed(25.0, began=21.0).open_until is not None


def test_the_providers_later_deadline_is_taken():
    breaker = CLOSED.failed(0.0).failed(0.0)
    assert breaker.failed(0.0, not_before=500.0).open_until == 500.0
    assert breaker.failed(0.0, not_before=5.0).open_until == FIRST_REST_S


@pytest.mark.parametrize(
    ("error", "until"),
    [
        (RateLimited("slow down"), 1005.0),
        (RateLimited("slow down", retry_at=1002.5), 1002.5),
        (QuotaSpent("no more today"), 4600.0),
        (QuotaSpent("no more today", retry_at=90_000.0), 90_000.0),
        (Overloaded("busy", retry_at=1030.0), 1030.0),
        (ServerFault("oops"), None),
        (BadRequest("no", retry_at=2000.0), None),
    ],
)
def test_how_long_an_error_keeps_its_candidate_away(error, until):
    assert hold_until(error, 1000.0) == until


@pytest.mark.parametrize(
    "error", [ServerFault("x"), Overloaded("x"), Unreachable("x"), StreamBroken("x"), BadReply("x")]
)
def test_their_faults_count(error):
    assert trips_breaker(error, 0.1, PATIENCE)


@pytest.mark.parametrize(
    "error", [BadRequest("x"), ContextTooLong("x"), Unsupported("x"), Declined("x"), RateLimited("x"), AuthFailed("x")]
)
def test_callers_faults_limits_and_keys_do_not(error):
    assert not trips_breaker(error, 0.1, PATIENCE)


@pytest.mark.parametrize(
    ("phase", "elapsed", "counts"),
    [
        ("first_token", 10.0, True),
        ("first_token", 1.0, False),
        ("connect", 5.0, True),
        ("total", 1.0, False),
        ("total", 60.0, True),
        ("between_chunks", 31.0, True),
    ],
)
def test_a_time_out_counts_when_the_policys_patience_ran_out_and_not_when_the_callers_did(phase, elapsed, counts):
    assert trips_breaker(TimedOut("x", phase=phase), elapsed, PATIENCE) is counts


@pytest.mark.parametrize(
    ("usual", "waited", "counts"),
    [
        (None, 0.05, False),
        (None, 1.2, False),
        (None, 1.5, True),  # a fair time, of a caller that has three seconds and two candidates
        (0.02, 0.05, False),  # many times its usual time, and still the caller's haste
        (0.02, 1.0, True),
        (0.5, 1.2, False),
        (0.5, 1.5, True),
        (2.0, 2.5, False),
        (2.0, 6.0, True),
        (60.0, 9.0, True),  # the policy's own patience is enough for anybody
    ],
)
def test_a_time_out_counts_after_a_fair_time_by_what_is_usual(usual, waited, counts):
    assert trips_breaker(TimedOut("x", phase="first_token"), waited, PATIENCE, usual) is counts


@pytest.mark.parametrize(("silent", "counts"), [(0.1, False), (4.9, True)])
def test_of_a_stream_its_silence_counts_and_not_how_long_it_spoke(silent, counts):
    error = TimedOut("x", phase="total")
    error.silent_s = silent
    assert trips_breaker(error, 60.0, PATIENCE) is counts


def test_what_is_usual_is_known_apart_for_whole_answers_and_for_a_streams_first_word():
    track = HealthStats()
    assert track.usual(streamed=True) is track.usual(streamed=False) is None
    track.usually(4.0, streamed=False)
    track.usually(0.5, streamed=True)
    track.failed(100.0, 30.0)
    assert (track.usual(streamed=True), track.usual(streamed=False)) == (0.5, 4.0), "no time-out moves it"
    track.usually(1.5, streamed=True)
    assert track.usual(streamed=True) == pytest.approx(0.6)


@given(st.lists(st.booleans(), max_size=60))
def test_it_is_open_only_after_three_faults_in_a_row(answers):
    breaker, row = CLOSED, 0
    for answered in answers:
        breaker = breaker.succeeded() if answered else breaker.failed(0.0)
        row = 0 if answered else row + 1
        if row >= 3:
            assert breaker.state(0.0) == "open"
            return
        assert breaker.state(0.0) == "closed"


class ManyTurns(RuleBasedStateMachine):
    """Many turns use one breaker: begin, end in any order and way, while time goes by."""

    @initialize()
    def begin(self):
        self.now, self.breaker, self.probes, self.others = 0.0, CLOSED, 0, 0

    @rule(seconds=st.floats(0.1, 700.0))
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.breaker.admits(self.now))
    @rule()
    def an_attempt_goes_out(self):
        after = self.breaker.started()
        if after is self.breaker:
            self.others += 1
        else:
            self.probes += 1
        self.breaker = after

    @precondition(lambda self: self.probes)
    @rule(how=st.sampled_from(["answered", "failed", "cancelled"]))
    def the_probe_ends(self, how):
        self.probes -= 1
        if how == "answered":
            self.breaker = self.breaker.succeeded()
            assert self.breaker.admits(self.now)
        elif how == "failed":
            self.breaker = self.breaker.failed(self.now)
            assert not self.breaker.admits(self.now)
        self.breaker = self.breaker.abandoned()

    @precondition(lambda self: self.others and not self.probes)
    @rule()
    def an_ordinary_attempt_fails(self):
        self.others -= 1
        self.breaker = self.breaker.failed(self.now)

    @invariant()
    def one_probe_at_most_and_it_bars_the_others(self):
        assert self.probes <= 1
        if self.probes:
            assert not self.breaker.admits(self.now)

    @invariant()
    def it_never_rests_longer_than_the_longest(self):
        assert (self.breaker.open_until or 0.0) <= self.now + LONGEST_REST_S


TestManyTurns = ManyTurns.TestCase


def asked(dice: Random, breaker: Breaker, track: HealthStats, rates: Sequence[float]) -> int | None:
    """Return after how many attempts, 40 a second, each failing at its rate, the breaker opened; None: never."""
    for number, rate in enumerate(rates, 1):
        now = number / 40
        if dice.random() < rate:
            breaker = breaker.failed(now, enough=track.row_of_an_outage(breaker.faults))
            track.failed(now)
        else:
            breaker = breaker.succeeded()
            track.answered(now, 1.0)
        if breaker.state(now) == "open":
            return number
    return None


class TestTrack:
    def test_nobody_starts_with_a_blemish(self):
        track = HealthStats()
        assert (track.health(0.0), track.error_rate(0.0), track.pace(0.0)) == (1.0, 0.0, None)

    def test_a_fault_weighs_less_by_and_by_and_is_gone_within_a_minute(self):
        track = HealthStats()
        track.failed(100.0)
        seen = [track.health(100.0 + wait) for wait in range(0, 61, 5)]
        assert seen == sorted(seen)
        assert seen[0] < 0.9
        assert seen[-1] == 1.0

    def test_answers_dilute_faults(self):
        alone, busy = HealthStats(), HealthStats()
        for track, answers in ((alone, 0), (busy, 50)):
            for _ in range(answers):
                track.answered(100.0, 1.0)
            track.failed(100.0)
        assert alone.error_rate(100.0) > busy.error_rate(100.0) > 0.0

    @given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=60))
    def test_rates_and_values_stay_in_bounds(self, outcomes):
        track, now = HealthStats(), 0.0
        for good, wait in outcomes:
            now += wait
            track.answered(now, wait) if good else track.failed(now, wait)
            assert 0.0 <= track.error_rate(now) < 1.0
            assert -1.0 <= track.health(now) <= 1.0
            assert 0.0 <= track.latency <= 1.0

    def test_a_peak_shows_at_once_and_fades_slowly(self):
        track = HealthStats()
        track.answered(0.0, 0.5)
        track.answered(1.0, 8.0)
        assert track.pace(1.0) == 8.0
        track.answered(2.0, 0.5)
        assert 5.0 < track.pace(2.0) < 8.0
        for at in range(3, 40):
            track.answered(float(at), 0.5)
        assert track.pace(40.0) == pytest.approx(0.5, abs=0.3)

    def test_what_is_old_is_not_known(self):
        track = HealthStats()
        track.answered(0.0, 9.0)
        assert track.pace(PACE_LASTS_S) == 9.0
        assert track.pace(PACE_LASTS_S + 1) is None
        track.answered(PACE_LASTS_S + 2, 1.0)
        assert track.pace(PACE_LASTS_S + 2) == 1.0

    def test_who_often_fails_and_often_answers_is_no_outage(self):
        for seed in range(5):
            assert asked(Random(seed), Breaker(), HealthStats(), [0.2] * 10_000) is None

    def test_an_outage_of_who_never_or_often_failed_opens_the_breaker(self):
        dice = Random(1)
        assert asked(dice, Breaker(), HealthStats(), [0.0] * 1000 + [1.0] * 100) == 1000 + FAULTS_TO_OPEN
        opened = asked(dice, Breaker(), HealthStats(), [0.2] * 1000 + [1.0] * 100)
        assert opened is not None
        assert 1000 < opened < 1015

    def test_a_time_out_took_at_least_that_long(self):
        track = HealthStats()
        track.failed(0.0, 10.0)
        assert track.pace(0.0) == 10.0

    @pytest.mark.parametrize(
        ("elapsed", "tokens", "first", "pace"),
        [(3.0, 0, None, 3.0), (3.0, 256, None, 3.0), (20.0, 1536, None, 4.0), (21.0, 2560, 1.0, 3.0)],
    )
    def test_a_long_answer_is_no_slow_one(self, elapsed, tokens, first, pace):
        assert pace_of(elapsed, tokens, first) == pytest.approx(pace)
