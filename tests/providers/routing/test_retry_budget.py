"""What keeps an outage from multiplying traffic, and who is served first of those who wait."""

from __future__ import annotations

from collections import Counter
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadReply, Declined
from providers.routing.fair_queue import FairQueue
from providers.routing.retry_budget import FLOOR, WINDOW_S, RetryBudget, back_at


class TestRetryBudget:
    @given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 4)), max_size=300))
    def test_in_no_window_are_more_taken_than_the_share_and_the_floor(self, steps):
        budget, now, turns, taken = RetryBudget(0.2), 1000.0, [], []
        for pause, wanted in steps:
            now += pause
            budget.turn(now)
            turns.append(int(now))
            taken += [int(now) for _ in range(wanted) if budget.take(now)]
            recent = range(int(now) - WINDOW_S + 1, int(now) + 1)
            lately = sum(second in recent for second in turns)
            # A second's turns count for what was taken before them in it too.
            assert sum(second in recent for second in taken) <= FLOOR + 0.2 * (lately + turns.count(int(now))) + 1

    def test_what_succeeded_is_given_back(self):
        budget = RetryBudget(0.0)
        for _ in range(10 * FLOOR):
            assert budget.take(5.0)
            budget.give_back(5.0)
        assert [budget.take(6.0) for _ in range(FLOOR + 1)] == [True] * FLOOR + [False]

    def test_what_left_the_window_is_not_given_back_twice(self):
        budget = RetryBudget(0.0)
        assert budget.take(5.0)
        budget.turn(5.0 + WINDOW_S)
        budget.give_back(5.0)
        assert [budget.take(16.0) for _ in range(FLOOR + 1)] == [True] * FLOOR + [False]

    @pytest.mark.parametrize("jump", [-1000.0, 1000.0])
    def test_a_clock_that_is_set_begins_a_new_window(self, jump):
        budget = RetryBudget(0.0)
        while budget.take(5000.0):
            pass
        assert budget.take(5000.0 + jump)


class TestLine:
    def serve(self, line: FairQueue, waiting: Counter) -> list[str]:
        """Let all be served, the one who stands first each time; return the runs in that order."""
        served = []
        while waiting.total():
            first = min(waiting, key=lambda run: line.rank(run, 0.0))
            line.leave(first, served=True)
            waiting[first] -= 1
            waiting += Counter()
            served.append(first)
        return served

    def test_a_small_run_is_served_beside_a_large_one(self):
        line, waiting = FairQueue(), Counter(large=1000, small=3)
        for run, turns in waiting.items():
            for _ in range(turns):
                line.join(run)
        served = self.serve(line, waiting)
        assert Counter(served[:6]) == {"large": 3, "small": 3}
        assert not line._places

    def test_who_comes_late_does_not_wait_for_all_who_came_before(self):
        line, waiting = FairQueue(), Counter(large=500)
        for _ in range(500):
            line.join("large")
        for _ in range(200):
            line.leave("large", served=True)
        waiting["large"] -= 200
        line.join("late")
        waiting["late"] = 1
        assert "late" in self.serve(line, waiting)[:2]

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200), st.randoms())
    def test_whoever_leaves_nobody_is_lost(self, steps, random):
        line, waiting = FairQueue(), Counter()
        for run, joins in steps:
            if joins or not waiting[run]:
                line.join(run)
                waiting[run] += 1
            else:
                line.leave(run, served=random.random() < 0.5)
                waiting[run] -= 1
            assert len(line._tags) == waiting.total()
            assert all(0 <= line.rank(run, random.random()) < waiting.total() for run in +waiting)


def test_a_sound_answer_that_did_not_suit_is_asked_for_again_at_once():
    again = [back_at(BadReply("not as asked"), failures, 100.0, Random(1), sound=True) for failures in (1, 2, 3)]
    assert again == [100.0] * 3
    assert back_at(BadReply("empty"), 1, 100.0, Random(1)) > 100.0, "of one that was not sound who knows"
    assert back_at(Declined("no"), 1, 100.0, Random(1), sound=True) == inf
