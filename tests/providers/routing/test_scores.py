"""The order among candidates: tables, and what holds for all of them."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.policy.factors import POINTS
from providers.routing.scores import (
    Ordering,
    known_or_best,
    load,
    ordered,
    pace_value,
    paid,
    preference,
    price_values,
    replay,
    weight_in_effect,
)

VALUE = st.floats(0, 1).map(lambda value: round(value, 3))
ROWS = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.tuples(*[VALUE] * width), min_size=1, max_size=8).map(lambda rows: (width, rows))
)
POINT = st.floats(0.5, 40)


def ordering(rows, points=None, strategy="tier", draw=None) -> Ordering:
    width = len(rows[0])
    points = tuple(points or [10.0] * width) if strategy == "tier" else ()
    names = tuple(f"p{at}/m" for at in range(len(rows)))
    return Ordering(strategy, "worker", names, tuple(map(str, range(width))), points, tuple(map(tuple, rows)), draw)


class TestValues:
    @pytest.mark.parametrize(
        ("prices", "values"),
        [
            ([0.0, 5.0, 10.0, None], [1.0, 0.9, 0.45, 0.5]),
            ([None, None], [0.5, 0.5]),
            ([0, 0], [1.0, 1.0]),
            ([3.0], [0.9]),
            ([], []),
        ],
    )
    def test_price(self, prices, values):
        assert price_values(prices) == values

    @given(st.lists(st.none() | st.just(0.0) | st.floats(0.01, 1e6), max_size=6), st.sampled_from([0.5, 2.0, 1024.0]))
    def test_price_knows_no_currency(self, prices, rate):
        assert price_values(prices) == price_values([price and price * rate for price in prices])

    @pytest.mark.parametrize(("pace", "value"), [(0.0, 1.0), (10.0, 0.5), (30.0, 0.25)])
    def test_pace(self, pace, value):
        assert pace_value(pace) == value

    @pytest.mark.parametrize(
        ("known", "filled"),
        [
            ([None, None], [0.5, 0.5]),
            ([0.9, None], [0.9, 0.9]),
            ([0.25, None], [0.25, 0.5]),
            ([None, 0.9, 0.3], [0.9, 0.9, 0.3]),
        ],
    )
    def test_who_was_not_measured(self, known, filled):
        assert known_or_best(known) == filled

    def test_preference(self):
        assert [preference(name, ("a", "b")) for name in "abc"] == [1.0, 0.75, 0.0]

    def test_weight_in_effect(self):
        assert weight_in_effect(0.4, 0.0, 0.0) == 0.4
        assert weight_in_effect(0.4, 1.0, 10.0) == pytest.approx(0.1)

    def test_load(self):
        assert load(2.0, 0) < load(2.0, 1) < load(5.0, 1)
        assert load(None, 3) == load(0.0, 3) < load(0.005, 0)


class TestByScore:
    def test_the_default_points(self):
        assert POINTS == {"cost": 30, "quota": 20, "health": 30, "latency": 10, "task": 15, "environment": 20}

    @pytest.mark.parametrize(
        ("rows", "points", "order"),
        [
            ([(0.1,), (0.9,), (0.5,)], [10], [1, 2, 0]),
            ([(0.5,), (0.5,), (0.5,)], [10], [0, 1, 2]),
            ([(1.0, 0.0), (0.0, 1.0)], [10, 20], [1, 0]),
            ([(1.0, 0.0), (0.0, 1.0)], [20, 10], [0, 1]),
            ([(0.0, 1.0), (1.0, -1.0)], [30, 10], [1, 0]),
            ([(0.9,), (0.901,)], [10], [0, 1]),
            ([(0.1,), (0.9,)], [0], [0, 1]),
        ],
    )
    def test_orders(self, rows, points, order):
        assert list(ordered(ordering(rows, points))) == order

    @given(ROWS, st.data())
    def test_a_better_value_never_costs_a_place(self, rows, data):
        width, rows = rows
        points = data.draw(st.lists(POINT, min_size=width, max_size=width))
        who, which = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, width - 1))
        better = list(rows[who])
        better[which] = data.draw(st.floats(better[which], 1.0))
        raised = [*rows[:who], tuple(better), *rows[who + 1 :]]
        before, after = (list(ordered(ordering(r, points))).index(who) for r in (rows, raised))
        assert after <= before

    @given(ROWS, st.sampled_from([0.25, 2.0, 64.0]), st.data())
    def test_points_have_no_scale(self, rows, scale, data):
        width, rows = rows
        points = data.draw(st.lists(POINT, min_size=width, max_size=width))
        larger = [each * scale for each in points]
        assert list(ordered(ordering(rows, points))) == list(ordered(ordering(rows, larger)))

    @given(ROWS)
    def test_ties_keep_the_policys_order(self, rows):
        _, rows = rows
        doubled = [row for row in rows for _ in range(2)]
        order = list(ordered(ordering(doubled)))
        assert all(order.index(2 * at) < order.index(2 * at + 1) for at in range(len(rows)))

    def test_no_factor_was_read(self):
        assert list(ordered(ordering([(), ()], ()))) == [0, 1]


class TestByWeight:
    def picks(self, weights, turns):
        credit, count = [0.0] * len(weights), Counter()
        for _ in range(turns):
            rows = list(zip(weights, credit, strict=True))
            winner = ordered(ordering(rows, strategy="weighted"))[0]
            credit = paid(rows, winner)
            count[winner] += 1
        return count

    @given(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6))
    def test_no_share_is_ever_off_by_more_than_a_turn_each(self, weights):
        turns = 200
        count = self.picks(weights, turns)
        for at, weight in enumerate(weights):
            assert abs(count[at] - turns * weight / sum(weights)) <= len(weights)

    def test_the_heaviest_does_not_go_in_a_row(self):
        rows, credit, said = [3.0, 1.0, 1.0], [0.0, 0.0, 0.0], []
        for _ in range(5):
            pairs = list(zip(rows, credit, strict=True))
            said.append(ordered(ordering(pairs, strategy="weighted"))[0])
            credit = paid(pairs, said[-1])
        assert said == [0, 1, 0, 2, 0]

    def test_who_has_no_weight_comes_last_whatever_the_credit(self):
        assert list(ordered(ordering([(0.0, 5.0), (0.3, -2.0), (0.4, -9.0)], strategy="weighted"))) == [1, 2, 0]


class TestByLot:
    def test_two_are_drawn_and_the_less_loaded_one_goes_first(self):
        loads, dice, first = [(5.0,), (1.0,), (3.0,)], Random(4), Counter()
        for _ in range(3000):
            order = ordered(ordering(loads, strategy="latency", draw=dice.random()))
            assert sorted(order) == [0, 1, 2]
            first[order[0]] += 1
        assert 0 not in first, "the most loaded one loses against whomever it is drawn with"
        assert first[1] == pytest.approx(2000, abs=120)

    @given(st.lists(st.tuples(st.floats(0, 100)), min_size=1, max_size=6), st.floats(0, 1, exclude_max=True))
    def test_nobody_is_lost(self, loads, draw):
        assert sorted(ordered(ordering(loads, strategy="latency", draw=draw))) == list(range(len(loads)))


class TestRecord:
    @given(ROWS)
    def test_a_replay_out_of_json_is_the_same(self, rows):
        once = ordering(rows[1])
        again = Ordering.read(json.loads(json.dumps(once._asdict())))
        assert again == once
        assert replay(again) == replay(once)

    def test_without_a_provider(self):
        three = ordering([(0.1,), (0.9,), (0.5,)])
        assert replay(three) == ("p1/m", "p2/m", "p0/m")
        assert replay(three.without("p1")) == ("p2/m", "p0/m")
        assert replay(three.without("nobody")) == replay(three)
