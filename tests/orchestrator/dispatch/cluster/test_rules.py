"""The decisions: whom a reaper may bury, when a loop is stuck, which migrations are due, and how jobs are named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dispatch.cluster.connections import JobQueueUnusable, conninfo_of
from orchestrator.dispatch.cluster.job import (
    Job,
    arguments_of,
    delay_s,
    job_of,
    lock_of,
    queueing_lock_of,
)
from orchestrator.dispatch.cluster.reaping import GapRule
from orchestrator.dispatch.cluster.schema import check_schema_name, pending
from orchestrator.dispatch.cluster.settings import WorkerTimes
from orchestrator.dispatch.cluster.watchdog import StuckRule
from orchestrator.units import Unit

TEXTS = st.text(st.characters(codec=None), max_size=20)
UNITS = st.builds(Unit, TEXTS, st.none() | TEXTS, st.integers(1, 9))
JOBS = st.builds(Job, TEXTS, st.none() | UNITS, st.integers(1, 9))


@given(JOBS)
def test_a_job_survives_its_way_through_the_database(job: Job) -> None:
    stored = json.dumps(arguments_of(job))
    assert job_of(json.loads(stored)) == job
    for text in (stored.replace("\\\\", ""), lock_of(job), queueing_lock_of(job)):
        assert "\0" not in text
        text.encode("ascii")
    assert "\\u0000" not in stored.replace("\\\\u0000", ""), "jsonb refuses it"


@given(JOBS, JOBS)
def test_two_jobs_share_a_lock_only_where_they_are_of_one_unit(one: Job, other: Job) -> None:
    assert (lock_of(one) == lock_of(other)) == (one[:2] == other[:2])
    assert (queueing_lock_of(one) == queueing_lock_of(other)) == (one == other)


def test_long_names_make_short_locks_that_differ() -> None:
    long = [Job("r", Unit("t", "x" * 5000 + end)) for end in "ab"]
    assert len({lock_of(job) for job in long}) == 2
    assert max(len(lock_of(job)) for job in long) <= 400


def test_what_fails_is_tried_again_later_and_later() -> None:
    delays = [delay_s(attempts) for attempts in (0, 1, 2, 5, 6, 1000)]
    assert delays == [1, 2, 4, 32, 60, 60]


def looks(rule: GapRule, *times: float) -> list[bool]:
    return [rule.may_reap(now) for now in times]


def test_a_reaper_that_has_just_begun_waits_for_the_timeout() -> None:
    assert looks(GapRule(20, 1), *range(100, 122)) == [False] * 20 + [True] * 2


def test_after_a_gap_a_reaper_waits_for_the_timeout_and_as_long_as_the_gap_was() -> None:
    rule = GapRule(20, 1)
    assert looks(rule, *range(100, 125))[-1]
    assert looks(rule, 133, *range(134, 163)) == [False] * 29 + [True]


def test_a_gap_counts_for_no_more_than_the_timeout() -> None:
    """The database was away for a day: what died in it need not wait for another."""
    rule = GapRule(20, 1)
    looks(rule, *range(100, 125))
    assert looks(rule, 86_400, *range(86_401, 86_441)) == [False] * 40 + [True]


def test_a_database_whose_clock_goes_back_is_another_one() -> None:
    rule = GapRule(20, 1)
    looks(rule, *range(100, 125))
    assert looks(rule, *range(50, 72)) == [False] * 20 + [True] * 2


def test_a_second_gap_within_the_wait_begins_it_anew() -> None:
    rule = GapRule(20, 1)
    looks(rule, *range(100, 125))
    assert not any(looks(rule, 135, *range(136, 150), 160, *range(161, 190)))


def test_a_loop_is_stuck_when_it_does_not_run_while_others_could() -> None:
    rule = StuckRule(timeout_s=4, look_s=0.5)
    times = [number / 2 for number in range(40)]
    assert not any(rule.is_stuck(now, loop_ran=now) for now in times)
    stuck = [now for now in (20 + number / 2 for number in range(12)) if rule.is_stuck(now, loop_ran=19.5)]
    assert stuck[0] == 24


def test_a_process_that_was_frozen_as_a_whole_is_not_stuck() -> None:
    rule = StuckRule(timeout_s=4, look_s=0.5)
    assert not rule.is_stuck(10, loop_ran=10)
    assert not rule.is_stuck(1000, loop_ran=10)
    stuck = [now for now in (1000 + number / 2 for number in range(12)) if rule.is_stuck(now, loop_ran=10)]
    assert stuck[0] == 1004.5, "it has the whole timeout to run again"


SHIPPED = ("03.00.00_01_pre_a", "03.00.00_50_post_a", "03.01.00_01_pre_b", "03.02.00_01_post_is_no_kind_here")


def test_migrations_are_applied_in_order_and_those_that_older_software_cannot_bear_wait_for_it() -> None:
    assert pending(SHIPPED, [], older_alive=False) == list(SHIPPED)
    assert pending(SHIPPED, SHIPPED[:1], older_alive=True) == []
    assert pending(SHIPPED, SHIPPED[:2], older_alive=True) == list(SHIPPED[2:])
    assert pending(SHIPPED, [*SHIPPED, "09.00.00_01_pre_of_newer_software"], older_alive=False) == []


def test_a_connection_notices_a_dead_peer_unless_its_url_says_otherwise() -> None:
    made = conninfo_of("postgresql://u:p@h:1/d?keepalives_idle=99&options=-c%20statement_timeout%3D5000", "app")
    for part in ("keepalives_idle=99", "tcp_user_timeout=10000", "application_name=app"):
        assert part in made
    assert "statement_timeout=5000" in made


@pytest.mark.parametrize("url", ["postgres//u:hunter2@h/d", "postgresql://u:hunter2@h:port%zz/d", "hunter2", "a=b"])
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(JobQueueUnusable) as raised:
        conninfo_of(url, "app")
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("schema", ["", "Upper", "1a", "a;b", "a" * 32, "ä", "a\n"])
def test_a_schema_has_a_plain_short_name(schema: str) -> None:
    with pytest.raises(ValueError, match="schema"):
        check_schema_name(schema)


def test_a_timeout_bears_a_late_heartbeat() -> None:
    with pytest.raises(ValueError, match="two heartbeats"):
        WorkerTimes(heartbeat_s=5, timeout_s=9)
    with pytest.raises(ValueError, match="above 0"):
        WorkerTimes(poll_s=0)
